"""In and out of this process: AF_PACKET, memory twins, wrappers, probes, the control socket, the loop and THE clock."""
