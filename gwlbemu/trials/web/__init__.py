"""Requests from inside a lab, and what became of each."""
