"""What a node counts. Names and meaning: guide, CloudWatch metrics (namespace AWS/GatewayELB); names that are ours are
in their own table.

AWS publishes sums per minute; these are totals since the node began, a reader takes the difference. Bytes are those of
inner packets. Health checks are in the packets and not in the bytes, each as one packet: its kernel exchanges more of
them, AWS does not say how it counts.
"""

from __future__ import annotations

import math

from gwlbemu.core.gateway.refusals import Refusals
from gwlbemu.core.gateway.targets import GatewayMember, GatewayTargetGroup
from gwlbemu.core.gateway.verdict import Drop, Reason
from gwlbemu.wire.mismatch import Mismatch

MOST_FAULTS = 100  # exceptions that wait to be taken
PEAK_SECONDS = 10.0  # "calculated over 10-second intervals"
AWS_REASONS = (
    Reason.INVALID_GENEVE_TUNNEL,
    Reason.INVALID_ENDPOINT_ID,
    Reason.INVALID_FLOW_COOKIE,
    Reason.MISSING_FLOW_ENTRY,
)
_DROPS = {reason: Drop(reason) for reason in Reason}


class Counters:
    """Everything that is not counted per target.

    Packets to and from targets are counted there, where the hot path is anyway.
    """

    def __init__(self, now: float) -> None:
        self.received = 0
        self.drops = dict.fromkeys(Reason, 0)
        self.faults: list[Exception] = []  # what judging packets has raised, until somebody takes it
        self.refusals = Refusals()
        self.resets = 0
        self.new_flows = 0
        self.rejected = self.rejected_tcp = 0
        self.probes = 0
        self.moved = 0
        self._gone = (0, 0, 0, 0, 0, 0)  # what members that are no more had counted
        self._window_at, self._window_received = now, 0
        self._window = (0, 0)
        self._peak = (0, 0)

    def drop(self, reason: Reason, wrong: Mismatch | None = None, *, is_late: bool = False) -> Drop:
        """Count a drop and return it; `wrong` is what did not fit, for `is_late` see Drop."""
        self.drops[reason] += 1
        return _DROPS[reason] if wrong is None else Drop(reason, wrong, is_late)

    def fault(self, error: Exception) -> Drop:
        """Drop a packet whose judging raised `error`, and keep that for whoever writes the log."""
        if len(self.faults) < MOST_FAULTS:
            self.faults.append(error)
        return self.drop(Reason.UNDECODABLE)

    def retire(self, member: GatewayMember) -> None:
        """Keep what a member counted that is about to be forgotten."""
        self._gone = _add(self._gone, _member(member))
        self.refusals.forget(member.id)

    def add_late(self, packets: int, back: int, size: int, size_back: int) -> None:
        """Count what the fast path has carried, to the target and back, of a member that is no more."""
        self._gone = _add(self._gone, (packets, back, size, size_back, 0, 0))

    def totals(self, group: GatewayTargetGroup) -> tuple[int, int, int, int, int, int]:
        """Return packets to and from targets, bytes to and from, bytes that crossed zones to and from."""
        result = self._gone
        for member in group.members.values():
            result = _add(result, _member(member))
        return result

    def close_windows(self, group: GatewayTargetGroup, now: float) -> None:
        """Close the 10-second windows that are over."""
        if now - self._window_at < PEAK_SECONDS:
            return
        packets, back, size, size_back, *_ = self.totals(group)
        total = (packets + back + self.probes, size + size_back)
        elapsed = (now - self._window_at) // PEAK_SECONDS * PEAK_SECONDS
        # A late call spreads what it finds over one window: nobody was looking when it happened.
        self._peak = (
            max(self._peak[0], int((total[0] - self._window[0]) / PEAK_SECONDS)),
            max(self._peak[1], int((total[1] - self._window[1]) / PEAK_SECONDS)),
        )
        self._window_at += elapsed
        self._window, self._window_received = total, self.received

    def next_deadline(self) -> float:
        """Return when a window with packets in it ends; math.inf without packets."""
        return self._window_at + PEAK_SECONDS if self.received != self._window_received else math.inf

    def report(self, group: GatewayTargetGroup, active_flows: int) -> dict[str, int]:
        """Return every metric by name; `active_flows` is how many flows the table has."""
        packets, back, size, size_back, crossed, crossed_back = self.totals(group)
        probed = list(group.to_probe())
        return {
            "ActiveFlowCount": active_flows,
            "NewFlowCount": self.new_flows,
            "ProcessedBytes": size + size_back,
            "ProcessedPackets": packets + back + self.probes,
            "PeakPacketsPerSecond": self._peak[0],
            "PeakBytesPerSecond": self._peak[1],
            "RejectedFlowCount": self.rejected,
            "RejectedFlowCount_TCP": self.rejected_tcp,
            "HealthyHostCount": sum(member.health.healthy is True for member in probed),
            "UnHealthyHostCount": sum(member.health.healthy is False for member in probed),
            **{reason.value: self.drops[reason] for reason in AWS_REASONS},
            "TCP_GWLB_Reset_Count": self.resets,
            # ours
            **{f"Dropped_{reason.value}": self.drops[reason] for reason in Reason if reason not in AWS_REASONS},
            "MovedFlowCount": self.moved,
            "CrossZoneBytes_ToTargets": crossed,
            "CrossZoneBytes_FromTargets": crossed_back,
            "packets_received": self.received,
            "verdicts_to_target": packets,
            "verdicts_to_endpoint": back,
            "verdicts_reset": self.resets,
            "verdicts_drop": sum(self.drops.values()),
            "verdicts": packets + back + self.resets + sum(self.drops.values()),
        }


def _member(member: GatewayMember) -> tuple[int, int, int, int, int, int]:
    totals = member.totals()
    return (*totals, *((0, 0) if member.is_local else totals[2:]))


def _add(
    one: tuple[int, int, int, int, int, int], other: tuple[int, int, int, int, int, int]
) -> tuple[int, int, int, int, int, int]:
    a, b, c, d, e, f = one
    g, h, i, j, k, m = other
    return a + g, b + h, c + i, d + j, e + k, f + m
