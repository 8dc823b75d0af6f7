"""Packets in and out of this process: AF_PACKET, memory twins, wrappers, health probes, the loop and THE clock."""
