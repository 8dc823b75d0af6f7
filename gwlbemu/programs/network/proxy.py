"""The proxy of a network load balancer's node: what its HAProxy is told, its connections, its metrics.

Two things are as HAProxy has them, not AWS: a connection that is ended ends by a FIN where it has sent everything, and
the idle time of a connection ends it at once, not at the next packet.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

from gwlbemu.core.network.proxy import Proxy, number_of, server_name
from gwlbemu.ports.loop import Loop
from gwlbemu.programs.haproxy.keeping import HaproxyKeeper, Language
from gwlbemu.programs.haproxy.master import Session
from gwlbemu.programs.network import proxy_text
from gwlbemu.programs.network.config import PROXY_CONFIGURATION, PROXY_SOCKET

LONGEST_IDLE_SECONDS = 6000  # NLB guide, Idle timeout
_LANGUAGE = Language(proxy_text.text, proxy_text.changes, proxy_text.ends)


class _Jump(NamedTuple):
    at: float
    seconds: float
    seen: frozenset[tuple[int, str, int]]  # the connections that there were


class ProxyKeeper:
    """Keeps the HAProxy of the node whose own folder is `folder` as it is wanted. `now` is seconds of real time."""

    def __init__(self, loop: Loop, folder: Path, now: Callable[[], float]) -> None:
        self._now = now
        self._haproxy = HaproxyKeeper(
            loop, folder / PROXY_SOCKET, folder / PROXY_CONFIGURATION, _LANGUAGE, Proxy(), now
        )
        self._jumps: list[_Jump] = []

    @property
    def state(self) -> str:
        """`keeping.RUNNING`, or in words why it is not."""
        return self._haproxy.state

    def apply(self, wanted: Proxy, ended: Iterable[int] = ()) -> None:
        """Let it be `wanted` as soon as it can be told, and end the connections to the targets with these numbers."""
        self._haproxy.apply(wanted, map(server_name, ended))

    async def flows(self) -> list[Session]:
        """Return every connection that has a target, in no order; none where HAProxy does not answer."""
        return [each for each in await self._haproxy.sessions() if number_of(each.server)]

    async def metrics(self) -> dict[str, int]:
        """Return CloudWatch's metrics (AWS/NetworkELB) of what goes through the proxy: totals, and what is now."""
        found = dict.fromkeys(
            (f"{what}_{each}" for what in ("ActiveFlowCount", "NewFlowCount", "ProcessedBytes") for each in _PROTOCOLS),
            0,
        ) | {"ClientTLSNegotiationErrorCount": 0, "TargetTLSNegotiationErrorCount": 0}
        counted = await self._haproxy.counted()
        for row in counted.ever:
            protocol = "TLS" if row.proxy.startswith("TLS") else "TCP"
            if row.server:
                found["TargetTLSNegotiationErrorCount"] += row.failed_handshakes
                continue
            found[f"NewFlowCount_{protocol}"] += row.total
            found[f"ProcessedBytes_{protocol}"] += row.bytes
            found["ClientTLSNegotiationErrorCount"] += row.failed_handshakes
        for row in counted.living:
            if not row.server:
                found[f"ActiveFlowCount_{'TLS' if row.proxy.startswith('TLS') else 'TCP'}"] += row.now
        return found

    async def advance(self, seconds: float) -> list[Session]:
        """Let `seconds` pass for all connections: end those whose idle time is over by then, and return them."""
        flows = await self.flows()
        oldest = self._now() - LONGEST_IDLE_SECONDS
        self._jumps = [each for each in self._jumps if each.at > oldest]
        self._jumps.append(_Jump(self._now(), seconds, frozenset(map(_identity, flows))))
        idle = {each.name: each.idle_seconds for each in self._haproxy.wanted.frontends}
        over = [each for each in flows if self._is_over(each, idle.get(each.frontend))]
        await self._haproxy.shut(over)
        return over

    def _is_over(self, session: Session, idle_seconds: int | None) -> bool:
        if idle_seconds is None:  # of a listener that is no more
            return False
        quiet_since = self._now() - (idle_seconds - session.expires_in_seconds)
        who = _identity(session)
        jumped = sum(each.seconds for each in self._jumps if who in each.seen and each.at >= quiet_since)
        return jumped >= session.expires_in_seconds


_PROTOCOLS = ("TCP", "TLS")


def _identity(session: Session) -> tuple[int, str, int]:
    return session.worker, session.pointer, session.source_port
