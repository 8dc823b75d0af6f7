"""One node of a Gateway Load Balancer, pure: packets, probe results and the time go in, verdicts and the next deadline
come out.

This file composes. One packet at a time goes the careful way of `entry` and `returns`; a batch of them goes the hot
way of `hot`, which gives the same bytes and falls back on the careful one.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

from gwlbemu.core.elb.gateway_attributes import FIVE_TUPLE
from gwlbemu.core.elb.states import Membership
from gwlbemu.core.elb.target import Target
from gwlbemu.core.gateway import key as keys
from gwlbemu.core.gateway.counters import Counters
from gwlbemu.core.gateway.endings import Endings
from gwlbemu.core.gateway.entry import Entry
from gwlbemu.core.gateway.flows import Flow
from gwlbemu.core.gateway.hot import HotPaths
from gwlbemu.core.gateway.judged import Judged
from gwlbemu.core.gateway.placement import Placement
from gwlbemu.core.gateway.records import FlowChange, FlowPage, FlowRecord, ProbeTarget, TargetChange, TargetHealth
from gwlbemu.core.gateway.refusals import Refused
from gwlbemu.core.gateway.returns import Return
from gwlbemu.core.gateway.settings import Settings
from gwlbemu.core.gateway.tally import Traffic
from gwlbemu.core.gateway.targets import GatewayTargetGroup
from gwlbemu.core.gateway.verdict import Verdict
from gwlbemu.errors import SettingError

EXPIRE_BUDGET = 512  # flows that one call of expire looks at: some milliseconds, with a fast path too
_PAGE = 1000
_CURSOR = re.compile(r"(\d{1,18})-(\d{1,18})")


class Balancer:
    """One node. Times are seconds on one clock that never goes back.

    Every packet gets exactly one verdict and is counted once. With a fast path, `fetch_carried` is called with the
    key of a flow that is about to be let go, and calls `add_carried` when the fast path has carried something of it.
    """

    def __init__(self, settings: Settings, *, now: float, fetch_carried: Callable[[bytes], None] | None = None) -> None:
        self._settings = settings
        self._counters = Counters(now)
        self._group = GatewayTargetGroup(settings, settings.attributes, now)
        self._placement = Placement(settings, settings.attributes, self._group, self._counters, fetch_carried)
        self._entry = Entry(self._placement)
        self._return = Return(self._placement)
        self._hot = HotPaths(settings, self._placement.table.lookups, self._entry, self._return)
        self._choose_paths()
        self._placement.note_held_targets()

    # ---- packets ----
    def receive_packet(self, endpoint: int, packet: bytes, *, now: float) -> Verdict:
        """Judge an inner IP packet from endpoint `endpoint` (its 64-bit id)."""
        self._counters.received += 1
        return self._entry.receive(endpoint, packet, now)

    def receive_return(self, source: bytes, datagram: bytes, *, now: float) -> Verdict:
        """Judge an outer IPv4 datagram that came to the node's address from `source`."""
        self._counters.received += 1
        return self._return.receive(source, datagram, now)

    def receive_frames(self, endpoint: int, frames: Sequence[bytes], *, now: float) -> Judged:
        """Judge frames from an endpoint, in order."""
        self._counters.received += len(frames)
        return self._hot.receive(endpoint, frames, now)

    def receive_returned_frames(self, frames: Sequence[bytes], *, now: float) -> Judged:
        """Judge frames that came to the node's address, in order."""
        self._counters.received += len(frames)
        return self._hot.receive_returns(frames, now)

    # ---- time and health ----
    def receive_probe_result(
        self, target: str, ok: bool, *, now: float, reason: str = "", description: str = ""
    ) -> None:
        """Count the result of a probe of `target`.

        Of one that failed, `reason` may be the code that AWS has for it and `description` say what was seen (see
        `states`).
        """
        self._counters.close_windows(self._group, now)
        self._counters.probes += 1
        if target in self._group.members:
            self._group.members[target].note_answers()
        self._group.observe(target, ok, now, reason, description)
        self._placement.advance(now)

    def expire(self, *, now: float) -> None:
        """Do what is due by `now`, a bounded part of it: while more is left, next_deadline stays in the past."""
        self._placement.advance(now)
        self._counters.close_windows(self._group, now)
        for flow in self._placement.table.overdue(now, EXPIRE_BUDGET):
            self._placement.end(flow)

    def next_deadline(self) -> float:
        """Return when expire has something to do next; math.inf when nothing waits."""
        return min(self._placement.table.next_deadline(), self._group.next_deadline(), self._counters.next_deadline())

    @contextmanager
    def ending(self, began_at: float, reached_at: float, limit: int) -> Iterator[Endings]:
        """While it is open, count the flows that a jump of the clock ends; `expire` has to be called until it is done.

        It may be called a slice at a time, with packets in between: the count is the same. One at a time.
        """
        self._placement.endings = Endings(began_at, reached_at, limit)
        self._placement.table.hasten(reached_at)
        try:
            yield self._placement.endings
        finally:
            self._placement.endings = None

    # ---- management ----
    def register(self, target: Target, *, now: float) -> None:
        """Register a target. Raises AwsError (TooManyTargets, InvalidTarget)."""
        self._group.register(target, now)
        self._placement.advance(now)

    def deregister(self, target_id: str, *, now: float) -> None:
        """Let a target drain, then leave. Raises AwsError (InvalidTarget)."""
        self._group.deregister(target_id, now)
        self._placement.advance(now)

    def set_attributes(self, resource: str, attributes: Mapping[str, str], *, now: float) -> None:
        """Change attributes (AWS's keys and texts) of "load-balancer", "listener" or "target-group".

        Raises AwsError and changes nothing. With another stickiness packets have other keys: the flows that were
        there stay until their idle timeout is over, and meet no packet unless a key is the same both ways.
        """
        changed = self._placement.attributes.changed(resource, attributes)
        self._placement.attributes = changed
        self._group.change_attributes(changed, now)
        self._choose_paths()
        self._placement.advance(now)

    # ---- reads ----
    def take_faults(self) -> list[Exception]:
        """Return what judging packets has raised since the last call; each packet was dropped as UNDECODABLE."""
        faults = self._counters.faults
        if faults:
            self._counters.faults = []
        return faults

    @property
    def stickiness(self) -> str:
        """What a flow is at the moment: `five_tuple`, `source_ip_dest_ip_proto` or `source_ip_dest_ip`."""
        return self._placement.attributes.stickiness

    def attributes(self, resource: str) -> dict[str, str]:
        """Return every attribute of "load-balancer", "listener" or "target-group", key and value as AWS writes them."""
        return self._placement.attributes.as_text(resource)

    def target_health(self, *, now: float) -> list[TargetHealth]:
        """Describe every target that this node uses, or cannot use because its zone is not enabled."""
        self._placement.advance(now)
        return [
            TargetHealth(
                member.id,
                member.address,
                member.zone,
                *member.status,
                member.flows,
                *member.totals()[:2],
            )
            for member in self._group.members.values()
            if self._group.is_in_scope(member) or member.flows or member.membership is Membership.NOT_IN_USE
        ]

    def traffic(self, *, now: float) -> list[Traffic]:
        """Return the tallies of every target of which packets were counted, and begin to look for new answers."""
        self._placement.advance(now)
        found = [
            Traffic(member.id, *which, tally.packets_to, tally.packets_from, tally.unanswered)
            for member in self._group.members.values()
            for which, tally in member.tallies.items()
        ]
        for member in self._group.members.values():
            member.note_answers()
        return found

    def refused(self) -> list[Refused]:
        """Return what targets sent back and was refused."""
        return self._counters.refusals.rows()

    def flow_page(self, *, now: float, limit: int, cursor: str = "", newest_first: bool = False) -> FlowPage:
        """Return at most `limit` live flows in the order in which they were placed, `newest_first` in the other.

        `cursor` is that of the page before, "" begins. The work goes by the page and not by the table; the table may
        change between pages. A page may have fewer flows than `limit`, or none, and still a cursor. The last page
        ends with the flow that was the last one when the first page was read. Raises SettingError for a cursor that
        none of ours is.
        """
        table = self._placement.table
        if cursor:
            known = _CURSOR.fullmatch(cursor)
            if known is None:
                raise SettingError(f"cursor {cursor!r} is not one of an earlier page")
            start, end = int(known[1]), int(known[2])
        else:
            start, end = (table.order.next_number - 1, 0) if newest_first else (0, table.order.next_number - 1)
        if end < 0 or start < 0:
            return FlowPage([], "")
        found, following = table.order.page(start, end, limit)
        live = [self._placement.record(flow) for flow in found if not table.is_over(flow, now)]
        return FlowPage(live, "" if following is None else f"{following}-{end}")

    def flows(self, *, now: float, newest_first: bool = False) -> Iterator[FlowRecord]:
        """Yield the live flows, page by page."""
        page = self.flow_page(now=now, limit=_PAGE, newest_first=newest_first)
        yield from page.flows
        while page.cursor:
            page = self.flow_page(now=now, limit=_PAGE, cursor=page.cursor)
            yield from page.flows

    def metrics(self, *, now: float) -> dict[str, int]:
        """Return every metric by AWS's name, and ours; ActiveFlowCount is the flows not yet swept."""
        self._placement.advance(now)
        self._counters.close_windows(self._group, now)
        return self._counters.report(self._group, len(self._placement.table))

    def probe_targets(self, *, now: float) -> list[ProbeTarget]:
        """Return whom to probe."""
        self._placement.advance(now)
        return [
            ProbeTarget(member.id, member.address, member.health.healthy is None) for member in self._group.to_probe()
        ]

    # ---- for the fast path ----
    def take_flow_changes(self) -> list[FlowChange | TargetChange]:
        """Return what changed since the last call, in order; nothing unless Settings.track_changes.

        To be applied after the packets that caused it have been sent.
        """
        return self._placement.changes.take()

    def add_carried(
        self,
        key: bytes,
        *,
        last_seen_at: float,
        packets: int,
        bytes: int,
        returned_packets: int = 0,
        returned_bytes: int = 0,
        target: bytes | None = None,
    ) -> None:
        """Add what the fast path has carried of a flow since the last call, towards the target and back.

        `key` is a FlowChange's, `last_seen_at` seconds on the core's clock, bytes are inner ones.
        `target` is the address that it was carried to, which the flow may have left meanwhile; None: the flow's. The
        flow may be gone; its target's packets count all the same.
        """
        flow = self._flow(key)
        if flow is not None:
            flow.last_seen_at = max(flow.last_seen_at, last_seen_at)
            flow.packets_to += packets
            flow.packets_from += returned_packets
            flow.bytes += bytes + returned_bytes
        elif target is None:
            return
        self._counters.received += packets + returned_packets
        member = flow.target if flow is not None and target is None else self._group.by_address.get(target or b"")
        if member is None:
            self._counters.add_late(packets, returned_packets, bytes, returned_bytes)
            return
        tally = flow.tally if flow is not None and member is flow.target else member.tally(*keys.from_key_bytes(key))
        tally.packets_to += packets
        tally.bytes_to += bytes
        tally.packets_from += returned_packets
        tally.bytes_from += returned_bytes

    def report_again(self, key: bytes, *, last_seen_at: float) -> None:
        """Report a flow as updated if it has been seen here after `last_seen_at`, its last packet on the fast path.

        The fast path carries nothing of a flow that has been silent there for its idle timeout.
        """
        flow = self._flow(key)
        if flow is not None and flow.last_seen_at > last_seen_at and flow.state.is_carriable:
            self._placement.changes.flow_updated(flow)

    def _flow(self, key: bytes) -> Flow | None:
        endpoint, number = keys.from_key_bytes(key)
        return self._placement.table.by_endpoint.get(endpoint, {}).get(number)

    def _choose_paths(self) -> None:
        """Use the hot paths where flows are 5-tuples and the TTL does not depend on who sent first."""
        five_tuple = self._placement.attributes.stickiness == FIVE_TUPLE
        self._hot.usable = five_tuple and self._settings.emulation.ttl_decrement != 1
