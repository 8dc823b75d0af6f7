"""The description in a text of HAProxy's: how a running one tells which text it has read."""

from __future__ import annotations

from hashlib import blake2b

UNKNOWN = "GENERATION"  # what a text is made with
_LINE = "  description "


def described(text: str) -> str:
    """Return a text, whose description is UNKNOWN, with a description that no other text has."""
    description = blake2b(text.encode(), digest_size=8).hexdigest()
    return text.replace(f"{_LINE}{UNKNOWN}\n", f"{_LINE}{description}\n", 1)


def description_of(configuration: str) -> str:
    """Return the description in a text that `described` made."""
    return next(line.split()[1] for line in configuration.splitlines() if line.startswith(_LINE))
