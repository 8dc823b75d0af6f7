"""What runs inside a lab: told by JSON at its start, asked and told by its control socket; never asks the plan."""
