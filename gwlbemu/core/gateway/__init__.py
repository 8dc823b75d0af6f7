"""Decisions, pure: a packet and `now` in, one verdict out. No clock, socket, randomness or logging.

`balancer` composes. `hot` carries the usual packets of live flows, a batch of frames at a time, and finds a flow by
`lookup`; everything else a packet can be goes through `entry` (from an endpoint) and `returns` (from a target), and
`judged` collects what is to be sent. Entry and returns ask `placement`, the only writer of the flow table (`flows`),
which asks `targets` who may take a new flow and `choice` which of them does. The rules from outside are tables:
attribute keys in `attributes`, target states and fates in `states`, health check ranges in `health`, return checks in
`returns`, keys in `key`. What AWS leaves open is in `emulation`.
"""
