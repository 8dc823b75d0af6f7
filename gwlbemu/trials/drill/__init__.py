"""A failure under live connections, and what became of each."""
