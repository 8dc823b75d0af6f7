"""Optional: the eBPF program that remembers what the core decided, its loader and the mirror of the flow map."""
