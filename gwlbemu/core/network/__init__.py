"""The Network Load Balancer, pure: eligible targets -> slots -> what the kernel's tables shall hold, and what to flush.

The kernel carries every packet and chooses by a hash; this room decides what it chooses among, and can say beforehand
what it will choose. It knows no socket, clock or randomness.
"""
