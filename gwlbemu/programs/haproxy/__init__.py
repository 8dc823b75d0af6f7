"""Talking with a running HAProxy: what the keepers of every type with an engine share."""
