"""What the three types of load balancer share: attributes by type, health, target states, membership, zones, choice.

A target group (`target_group`) has members (`member`), which are registered targets (`target`); what probes say of them
is counted in `health`, what people are told is in `states`, AWS's keys are in `attributes` and one table per type, and
`choice` picks one of several targets for a connection. Nothing here knows GENEVE, a packet or a flow table: a load
balancer of any type asks who may take new connections, and derives its own member and group where it keeps more.
"""
