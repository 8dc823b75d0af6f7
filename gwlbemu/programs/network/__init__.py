"""A node of a Network Load Balancer: the keeper of the kernel's tables. No packet passes through it."""
