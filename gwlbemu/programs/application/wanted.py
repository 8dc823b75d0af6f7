"""What the HAProxy of a node is told: what the core says, and what the keeper has found beside it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from gwlbemu.core.application.engine import Engine
from gwlbemu.core.elb.application_attributes import ApplicationAttributes
from gwlbemu.programs.application import pages, text
from gwlbemu.programs.application.jwks import Key
from gwlbemu.programs.haproxy.keeping import Language


@dataclass(frozen=True, slots=True)
class Wanted:
    """The engine of a node with the keys that were found at each JWKS endpoint, and where it tells of requests."""

    engine: Engine
    keys: Mapping[str, Sequence[Key]] = field(default_factory=dict)
    access_log: str = ""  # path of the socket, used while the load balancer's access logs are on

    @property
    def shape(self) -> Wanted:
        """The same without what changes with the states of targets."""
        return replace(self, engine=self.engine.shape)

    def with_states_of(self, other: Wanted) -> Wanted:
        """Return the same with what its servers have in `other`."""
        return replace(self, engine=self.engine.with_states_of(other.engine))


def _text(wanted: Wanted) -> str:
    is_logging = ApplicationAttributes.from_text(load_balancer=wanted.engine.attributes).access_logs
    return text.text(wanted.engine, access_log=wanted.access_log if is_logging else "", keys=wanted.keys)


def _changes(before: Wanted, after: Wanted) -> Iterator[str]:
    return text.changes(before.engine, after.engine)


def _ends(wanted: Wanted, names: Sequence[str]) -> Iterator[str]:
    return text.ends(wanted.engine, names)


LANGUAGE = Language(_text, _changes, _ends, tuple(pages.COUNTERS))
