"""The way of a packet and of its answer through a plan, hop by hop, without sending one.

`values` has what goes in and comes out, `walk` the two questions: `way` and `exchange`. What each element does with a
packet is what the lab's namespaces do: `machine` (where frames go), `step` (routers and hosts), `balancers`. Where a
load balancer's node ends a connection, `onward` follows the one that it begins. Real packets are the judge: the
differential test.
"""
