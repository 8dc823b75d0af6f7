"""Decisions, pure: values and `now` in, one verdict out. No clock, socket, randomness or logging.

`elb` is what every load balancer has, `gateway` the Gateway Load Balancer. What AWS leaves open is in `emulation`.
"""
