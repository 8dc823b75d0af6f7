"""What is made of the secret that all nodes of a load balancer share."""

from __future__ import annotations

from base64 import b64encode
from hashlib import blake2b


def token(secret: bytes, what: str) -> str:
    """Return a name for `what` that says nothing about it: the same in all nodes."""
    return blake2b(what.encode(), key=secret[:64], digest_size=8).hexdigest()


def key(secret: bytes, what: str) -> str:
    """Return a key for `what`, in base64."""
    return b64encode(blake2b(what.encode(), key=secret[:64], digest_size=32).digest()).decode()
