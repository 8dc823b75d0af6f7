"""In and out of this process: AF_PACKET, memory twins, wrappers, health probes, control socket, the loop and THE clock."""
