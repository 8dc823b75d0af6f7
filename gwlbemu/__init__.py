"""gwlbemu: a packet-level emulator of AWS load balancing, the Gateway Load Balancer first."""
