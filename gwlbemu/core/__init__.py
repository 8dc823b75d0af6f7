"""Decisions, pure: a packet and `now` in, one verdict out. No clock, socket, randomness or logging."""
