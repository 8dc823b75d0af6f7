"""What became of a flow in a drill, and what the contract says should have: numbers in, words out.

    kept   data goes on, every load balancer on its way still uses the target it used before
    moved  data goes on, through another target
    reset  the client was told by a RST
    lost   no more data, and nobody was told

What is expected (guide, Edit target group attributes; Health checks). `hit` flows had the failed target on their way:

    event             no_rebalance  rebalance  reset
    flow not hit      kept          kept       kept
    deregister        kept          moved      reset     when the deregistration delay is over, not before
    kill, freeze      lost          moved      reset     when the target is declared unhealthy
    zone, one end in it, or its endpoint: lost; a target in it: as kill

Of a network load balancer (NLB guide, Health checks; Edit target group attributes) no connection ever moves:

    event             terminate     keep
    flow not hit      kept          kept
    deregister        reset         kept       when the deregistration delay is over, not before
    kill, freeze      reset         lost       when the target is declared unhealthy
    zone, its node in it: lost; a target in it: as kill
    tables, its node's: reset, as the kernel of the node knows of no such connection (of Linux, not of AWS)
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

EVENTS = ("kill", "deregister", "zone", "freeze")
POLICIES = ("no_rebalance", "rebalance", "reset")
NETWORK_EVENTS = (*EVENTS, "tables")
ENGINE = "engine"
APPLICATION_EVENTS = (*EVENTS, ENGINE)
APPLICATION_POLICIES = ("",)  # there is none
TERMINATE, KEEP = NETWORK_POLICIES = ("terminate", "keep")
OUTCOMES = ("kept", "moved", "reset", "lost")
STALL_SECONDS = 0.5  # a shorter pause between two records is no outage
SILENT_SECONDS = 1.5  # without data for so long at the end: not alive
_BY_POLICY = dict(zip(POLICIES, ("lost", "moved", "reset"), strict=True)) | {TERMINATE: "reset", KEEP: "lost"}

NodeEndpoint = tuple[str, str]  # node, endpoint; of a network load balancer node, listener
Carriers = Mapping[NodeEndpoint, str]  # which target carries a flow, at each node and endpoint on its way


@dataclass(frozen=True, slots=True)
class ClockJump:
    """The nodes' clocks were moved forward by `seconds` at the instant `at`."""

    at: float
    seconds: float


@dataclass(frozen=True, slots=True)
class FlowObservation:
    """What was seen of one flow until `until`. `silent` is the longest time without data (from, to)."""

    end: str  # open, reset, closed, ...: see `programs.traffic`
    last_at: float
    until: float
    silent: tuple[float, float]
    before: Carriers
    after: Carriers


def outcome(seen: FlowObservation) -> str:
    """Return what became of a flow: kept, moved, reset or lost (see the top of this file)."""
    if seen.end == "reset":
        return "reset"
    if seen.end != "open" or seen.until - seen.last_at > SILENT_SECONDS:
        return "lost"
    return "moved" if is_moved(seen.before, seen.after) else "kept"


def is_moved(before: Carriers, after: Carriers) -> bool:
    """Return whether an endpoint of a node that both know has another target."""
    return any(after[hop] != target for hop, target in before.items() if hop in after)


def silent_seconds(silent: tuple[float, float], jumps: Iterable[ClockJump]) -> float:
    """Return the longest time without data on the nodes' clock: what was measured, and what was skipped meanwhile.

    A jump during ordinary traffic falls between two records as well: only one in a silence that has lasted counts.
    """
    start, end = silent
    return end - start + sum(jump.seconds for jump in jumps if start + STALL_SECONDS < jump.at <= end)


def expected(event: str, policy: str, *, hit: bool, cut_off: bool, noticed: bool) -> str:
    """Return the outcome that the contract wants.

    `hit`: the failed target was on the flow's way; `cut_off`: it is in a failed zone; `noticed`: the health checks
    found the failure.
    """
    if cut_off:
        return "lost"
    if not hit:
        return "kept"
    if event == "tables":
        return "reset"
    if event == "deregister" and policy in ("no_rebalance", KEEP):
        return "kept"
    return _BY_POLICY[policy] if noticed else "lost"


def holds(wanted: str, seen: FlowObservation) -> bool:
    """Return whether the load balancer did its part: a flow that it moved and that the new target refuses was moved."""
    return outcome(seen) == wanted or (wanted == "moved" and is_moved(seen.before, seen.after))
