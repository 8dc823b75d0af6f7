"""The resolver of a lab: names of instances and load balancers, answered in every VPC and on the internet.

Why a program of ours and no dnsmasq, unbound or Knot DNS: an answer depends on where the client is (its VPC, its zone),
on a weight (85 % under partial affinity) and on what the nodes' probes said a moment ago, and none of the three has
all of that at once: dnsmasq has no views, unbound no weights, Knot's geoip module either networks or weights. It
answers in the namespaces of all subnets, whose sockets one process can hold, where an engine would need a process for
each. It forwards nothing and reads one question, so that there is little for an engine to be better at.
"""
