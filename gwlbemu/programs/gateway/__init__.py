"""The process of a Gateway Load Balancer node: core, ports, fast path and control socket in one loop."""
