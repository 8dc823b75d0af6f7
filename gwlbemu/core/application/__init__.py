"""The Application Load Balancer, pure: what its engine is to do, and what it would do with a request.

Rule inside: `settings` is what a node is told, `balancer` keeps targets and their states, `engine` is what the node's
HAProxy shall do; `requests` says what becomes of one request (the oracle of the engine).
"""
