"""The changes of a lab that a topology file may name, in the words of the command line: "fail zone a"."""

from __future__ import annotations

import shlex
from collections.abc import Collection, Mapping
from typing import NamedTuple

KINDS = ("instance", "process", "link", "health", "zone", "node")  # of what `fail` breaks and `heal` mends
USAGE = {
    "fail": "fail KIND NAME",
    "heal": "heal KIND NAME",
    "register": "register GROUP TARGET",
    "deregister": "deregister GROUP TARGET",
    "set": "set RESOURCE KEY=VALUE...",
}


class Change(NamedTuple):
    """A change that can be meant: its verb and what stands behind it."""

    verb: str
    arguments: tuple[str, ...]

    @property
    def values(self) -> dict[str, str]:
        """The attributes of `set`."""
        return dict(pair.split("=", 1) for pair in self.arguments[1:])


def read_change(text: str) -> Change:
    """Return the change that a text such as "fail instance fw-a1" names. Raises ValueError with what was expected."""
    try:
        words = shlex.split(text)
    except ValueError:
        words = []
    verb, arguments = (words[0], tuple(words[1:])) if words else ("", ())
    if verb in ("fail", "heal", "register", "deregister") and len(arguments) == 2:
        return Change(verb, arguments)
    if verb == "set" and len(arguments) > 1 and all("=" in pair for pair in arguments[1:]):
        return Change(verb, arguments)
    raise ValueError(f"expected {USAGE.get(verb) or ', '.join(USAGE.values())}")


def refusal_of(change: Change, known: Mapping[str, Collection[str]]) -> str:
    """Return what is wrong with the names of a change; "" for nothing.

    `known` has the names that each of KINDS takes, and those of `group` and `resource`.
    """
    first, second = change.arguments[0], change.arguments[1]
    if change.verb == "set":
        return _unknown("load balancer or target group", first, known["resource"])
    if change.verb in ("register", "deregister"):
        return _unknown("target group", first, known["group"])
    if first not in KINDS:
        return f"kind {first!r}: expected one of {', '.join(KINDS)}"
    return _unknown("instance with a health check" if first == "health" else first, second, known[first])


def _unknown(what: str, name: str, known: Collection[str]) -> str:
    return "" if name in known else f"there is no {what} {name}: expected one of {', '.join(known) or 'none'}"
