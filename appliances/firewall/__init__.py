"""A stateful firewall: rules (YAML -> values), judge (state and decision), log (decisions as JSON lines)."""
