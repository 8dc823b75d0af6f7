"""The traces of a node: several at once, each with an owner and a lease.

Whoever starts a trace is given its id, and is its owner: nobody else reads, renews or stops it by accident. The lease
runs out `lease_seconds` after the last start, read or renewal; then the trace is gone, so that a client that was
killed keeps the fast path off for a few seconds and not for ever. Leases go by real time, whatever `advance` adds.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass

from gwlbemu.errors import SettingError, TraceGoneError
from gwlbemu.programs.gateway.trace import Trace

LEASE_SECONDS = 5.0
SHORTEST_LEASE, LONGEST_LEASE = 0.1, 60.0
CHECK_SECONDS = 0.25  # between two looks for a lease that has run out
MOST_TRACES = 32  # live at once; each keeps at most `trace.KEPT` events


@dataclass(slots=True)
class _Lease:
    trace: Trace
    seconds: float
    ends_at: float


class Traces:
    """The live traces.

    `now` is real time in seconds, `later(seconds, callback)` calls back after so many of them. `active(True)` is called
    when the first trace begins, `active(False)` when the last one has ended.
    """

    def __init__(
        self,
        *,
        now: Callable[[], float],
        later: Callable[[float, Callable[[], None]], object],
        active: Callable[[bool], None],
    ) -> None:
        self._now, self._later, self._active = now, later, active
        self._leases: dict[str, _Lease] = {}
        self._check_at: float | None = None
        self.live: list[Trace] = []

    def start(self, trace: Trace, lease_seconds: float = LEASE_SECONDS) -> str:
        """Begin to note for `trace`; return its id. Raises SettingError (TooManyTraces; a lease out of bounds)."""
        if not SHORTEST_LEASE <= lease_seconds <= LONGEST_LEASE:
            bounds = f"from {SHORTEST_LEASE:g} to {LONGEST_LEASE:g}"
            raise SettingError(f"lease_seconds {lease_seconds!r}: expected seconds {bounds}")
        if len(self._leases) >= MOST_TRACES:
            raise SettingError(f"{MOST_TRACES} traces run on this node already", "TooManyTraces")
        identity = secrets.token_hex(8)
        self._leases[identity] = _Lease(trace, lease_seconds, self._now() + lease_seconds)
        self._changed()
        if self._check_at is None:
            self._check_later()
        return identity

    def renew(self, identity: str) -> Trace:
        """Let the lease begin anew and return the trace. Raises TraceGoneError when it is gone."""
        lease = self._lease(identity)
        lease.ends_at = self._now() + lease.seconds
        return lease.trace

    def stop(self, identity: str) -> Trace:
        """End a trace and return it for a last reading. Raises TraceGoneError when it is gone."""
        trace = self._lease(identity).trace
        del self._leases[identity]
        self._changed()
        return trace

    def _lease(self, identity: str) -> _Lease:
        if identity not in self._leases:
            raise TraceGoneError(
                f"trace {identity} is over: it was stopped, or its owner stood still for longer than its lease"
            )
        return self._leases[identity]

    def _changed(self) -> None:
        before = bool(self.live)
        self.live[:] = [lease.trace for lease in self._leases.values()]
        if bool(self.live) != before:
            self._active(bool(self.live))

    def _check_later(self) -> None:
        self._check_at = self._now() + CHECK_SECONDS
        self._later(CHECK_SECONDS, self._check)

    def _check(self) -> None:
        assert self._check_at is not None
        now = self._now()
        stood_still = max(now - self._check_at - CHECK_SECONDS, 0.0)  # frozen or starved: no renewal could be answered
        for identity, lease in list(self._leases.items()):
            if lease.ends_at + stood_still <= now:
                del self._leases[identity]
            else:
                lease.ends_at += stood_still
        self._changed()
        self._check_at = None
        if self._leases:
            self._check_later()
