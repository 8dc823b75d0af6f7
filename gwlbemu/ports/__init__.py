"""In and out of this process: AF_PACKET, memory twins, probes, the control socket, the loop and THE clock."""
