"""Decisions, pure: a packet and `now` in, one verdict out. No clock, socket, randomness or logging.

`balancer` composes. `hot` carries the usual packets of live flows, a batch of frames at a time, and finds a flow by
`lookup`; everything else a packet can be goes through `entry` (from an endpoint) and `returns` (from a target), and
`judged` collects what is to be sent. Entry and returns ask `placement`, the only writer of the flow table (`flows`),
which asks `targets`, the gateway's half of `elb`'s target group, who takes a new flow; `marks` are the cookie and the
outer source port of a flow, `changes` what the fast path has to learn. The rules from outside are tables: what becomes
of the flows of a failed target in `fates`, return checks in `returns`, keys in `key`, TTL in `ttl_steps`. What AWS
leaves open is in `core/emulation`.
"""
