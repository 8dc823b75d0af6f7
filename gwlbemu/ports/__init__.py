"""Packets in and out of this process: AF_PACKET, memory twins, tap and fault wrappers, health probes, the loop and THE clock."""
