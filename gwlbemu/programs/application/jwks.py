"""The keys that tokens are signed with: from the JSON of a JWKS endpoint to files that HAProxy reads.

RFC 7517 (JWK, JWK Set), RFC 7518, 6.3 (RSA).
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Key:
    """A public key: its id, "" where it has none, and the PEM file, named after what is in it."""

    kid: str
    file: str
