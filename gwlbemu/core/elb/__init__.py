"""What the three types of load balancer share: attributes by type, health, target states, membership, zones, choice.

Nothing here knows GENEVE, a packet or a flow table: a balancer of any type asks who may take new connections and what
becomes of those of a target that failed.
"""
