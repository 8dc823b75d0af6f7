"""A frame of `gwlbemu watch` from two snapshots: pure, so that every line of it can be tested without a lab.

A section is a heading and rows of text; what does not fit is cut, rows are counted. Rates are differences of two
snapshots by the seconds between them; without an earlier one they are shown as "-".
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from rich.text import Text

from gwlbemu.cli.columns import fitted, shorten, wrapped
from gwlbemu.cli.flow_text import destination_text, protocol_text, source_text
from gwlbemu.errors import plain
from gwlbemu.views.flows import LiveFlow
from gwlbemu.views.metrics import drop_counts
from gwlbemu.views.snapshot import NodeSnapshot, Snapshot
from gwlbemu.views.status import LabStatus
from gwlbemu.views.targets import TargetState

Cell = tuple[str, str]  # text and style
STATES = {"healthy": "green", "unhealthy": "bold red", "draining": "yellow", "initial": "cyan", "unused": "dim"}
QUIET = "dim"
# Metrics that count what was lost at nodes which clients know by their addresses; a gateway's have names of their own.
_REASONS = {
    "PortAllocationErrorCount": "no port was left",
    "HTTPCode_ELB_500_Count": "requests answered with 500",
    "HTTPCode_ELB_502_Count": "requests answered with 502",
    "HTTPCode_ELB_503_Count": "requests answered with 503",
    "HTTPCode_ELB_504_Count": "requests answered with 504",
}


@dataclass(frozen=True, slots=True)
class Section:
    """`rows` under `heading`; where there is little room, `floor` of the rows come before other sections' rest.

    On a narrow screen the columns of `spare` are left out, the first one first, then names are cut in the middle.
    """

    heading: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    floor: int
    numbers: frozenset[int] = frozenset()  # columns that are aligned to the right
    spare: tuple[int, ...] = ()


def frame(
    now: Snapshot, before: Snapshot | None, hint: Callable[..., str], *, width: int, height: int, title: str = ""
) -> Text:
    """Return the whole screen, at most `height` lines of at most `width` columns.

    `hint` makes a command line for this lab of a verb and its arguments.
    """
    seconds = now.at - before.at if before is not None else 0.0
    earlier = {node.name: node for node in before.nodes} if before is not None else {}
    sections = [
        _traffic(now, earlier, seconds),
        _targets(now, earlier, seconds),
        _drops(now, before, seconds),
        _flows(now, earlier, seconds),
    ]
    lines = [_title(now, title, width), *_alerts(now.status, hint, width)]
    for section, room in zip(sections, _share(sections, height - len(lines)), strict=True):
        if room >= 3:
            lines.append(Text(""))
            lines += _table(section, room - 1, width)
    return Text("\n", no_wrap=True).join(_cut(line, width) for line in lines[:height])


def rate(new: float, old: float | None, seconds: float) -> str:
    """Something per second, in few characters; "-" without a difference to make it from."""
    if old is None or seconds <= 0:
        return "-"
    return short(max(new - old, 0) / seconds)


def short(value: float) -> str:
    """7, 3.2k, 45k, 1.2M: at most four characters for anything below a thousand billion."""
    for unit in ("", "k", "M"):
        if value < 999.5:
            return f"{value:.1f}{unit}" if 0 < value < 9.95 and (unit or value != int(value)) else f"{value:.0f}{unit}"
        value /= 1000
    return f"{value:.1f}G" if value < 9.95 else f"{value:.0f}G"


def _title(now: Snapshot, title: str, width: int) -> Text:
    targets = [target for node in now.nodes for target in node.status.targets]
    healthy = sum(target.state == "healthy" for target in targets)
    text = Text(now.status.lab, style="bold")
    text.append(
        f"   targets healthy {healthy}/{len(targets)}", style="green" if healthy == len(targets) else "bold red"
    )
    capture = now.status.capture
    if capture is not None and not capture.silent:
        text.append(f"   captured {short(capture.packets)}, lost {short(capture.dropped)}")
    text.append(" " * max(width - len(text) - len(title), 3) + title, style=QUIET)
    return text


def _alerts(status: LabStatus, hint: Callable[..., str], width: int) -> list[Text]:
    """What is not as it should be: processes that do not run, nodes that are silent, failures."""
    told = [(f"! {broken} is broken on purpose ({hint('heal', *broken)})", "bold yellow") for broken in status.failures]
    stopped = {process.name for process in status.stopped}
    told += [(f"! {each.name} is {each.state}   {each.log}", "bold red") for each in status.stopped]
    told += [
        (f"! {node.name}: its tables are {node.tables} ({hint('heal', 'node', node.name)})", "bold red")
        for node in status.nodes
        if node.broken_tables
    ]
    told += [
        (f"! {node.name}: its proxy {node.proxy} ({hint('heal', 'node', node.name)})", "bold red")
        for node in status.nodes
        if node.broken_proxy
    ]
    silent = [node.silent for node in status.nodes if node.silent and node.name not in stopped]
    told += [(f"! {each.process}: {each.reason}", "bold red") for each in silent]
    return [Text(line, style=style) for text, style in told for line in wrapped(plain(text), width)]


def _traffic(now: Snapshot, earlier: Mapping[str, NodeSnapshot], seconds: float) -> Section:
    rows = []
    for node in now.nodes:
        if node.status.silent:
            continue
        counts = node.counts
        before = earlier[node.name].counts if node.name in earlier and earlier[node.name].metrics else None
        rates = [rate(each, before[at] if before else None, seconds) for at, each in enumerate(counts[:4])]
        bits = rate(counts.bytes * 8, before.bytes * 8 if before else None, seconds)
        lost = sum(port.socket_drops + port.unsent for port in node.status.ports)
        rows.append(
            (
                (node.name, "bold"),
                (node.status.datapath, QUIET),
                (short(counts.live_flows), ""),
                *((text, QUIET if text in ("0", "-") else "") for text in rates[:3]),
                (rates[3], QUIET if rates[3] in ("0", "-") else "red"),
                (bits, QUIET if bits in ("0", "-") else ""),
                (short(lost), "bold red" if lost else QUIET),
            )
        )
    heading = ("NODE", "DATAPATH", "FLOWS", "NEW/s", "TO/s", "BACK/s", "LOST/s", "BIT/s", "OVERRUN")
    return Section(heading, tuple(rows), 4, frozenset(range(2, 9)), spare=(1,))


def _targets(now: Snapshot, earlier: Mapping[str, NodeSnapshot], seconds: float) -> Section:
    """One row per target and node that uses it; those that are not healthy come first."""
    found = []
    for node in now.nodes:
        targets = earlier[node.name].status.targets if node.name in earlier else ()
        old = {(each.target_group, each.id): each for each in targets}
        for target in node.status.targets:
            was = old.get((target.target_group, target.id))
            rates = [
                rate(new, old_count, seconds)
                for new, old_count in zip(_to_and_from(target), _to_and_from(was) if was else (None, None), strict=True)
            ]
            found.append((target, rates))
    found.sort(key=lambda each: each[0].state == "healthy")
    # A target may be in several groups of a network load balancer.
    several = any(len({target.target_group for target in node.status.targets}) > 1 for node in now.nodes)
    rows = tuple(
        (
            (f"{target.target_group}/{target.id}" if several else target.id, "bold"),
            (target.zone, ""),
            (target.node, ""),
            (target.state, STATES.get(target.state, "")),
            (short(target.flows), ""),
            *((text, QUIET if text in ("0", "-") else "") for text in rates),
            (target.description, QUIET),
        )
        for target, rates in found
    )
    heading = ("TARGET", "ZONE", "FOR NODE", "STATE", "FLOWS", "TO/s", "BACK/s", "WHY")
    return Section(heading, rows, 4, frozenset((4, 5, 6)), spare=(4,))


def _to_and_from(target: TargetState) -> tuple[int, int]:
    """Packets there and back, or requests and their answers: a node counts one of both."""
    return target.packets_to + target.requests, target.packets_from + target.requests - target.in_flight


def _drops(now: Snapshot, before: Snapshot | None, seconds: float) -> Section:
    """Every reason for which something was lost, what grows first."""
    new, old = _losses(now), _losses(before) if before is not None else None
    found = sorted(new, key=lambda what: -(new[what] - (old or {}).get(what, 0)))
    rows = []
    for where, reason in found:
        change = rate(new[where, reason], None if old is None else old.get((where, reason), 0), seconds)
        style = QUIET if change in ("0", "-") else "bold red"
        rows.append(((where, ""), (reason, style), (short(new[where, reason]), ""), (change, style)))
    return Section(("LOST AT", "REASON", "COUNT", "/s"), tuple(rows), 2, frozenset((2, 3)))


def _losses(snapshot: Snapshot) -> dict[tuple[str, str], int]:
    found: dict[tuple[str, str], int] = {}
    for node in snapshot.nodes:
        found |= {(node.name, reason): count for reason, count in drop_counts(node.metrics).items()}
        found |= {(node.name, reason): node.metrics.get(name, 0) for name, reason in _REASONS.items()}
        for port in node.status.ports:
            found[node.name, f"{port.name}: the node was too slow"] = port.socket_drops
            found[node.name, f"{port.name}: the interface took no more"] = port.unsent
    for tap in snapshot.status.capture.taps if snapshot.status.capture else ():
        found["capture", f"{tap.name}: not recorded"] = tap.dropped
    return {what: value for what, value in found.items() if value}


def _flows(now: Snapshot, earlier: Mapping[str, NodeSnapshot], seconds: float) -> Section:
    """The busiest flows, then the newest."""
    found = []
    for node in now.nodes:
        old = {_identity(flow): flow for flow in earlier[node.name].flows} if node.name in earlier else {}
        for flow in node.flows:
            packets, size = _earlier_counts(flow, old.get(_identity(flow)), seconds)
            rates = [
                rate(flow.packets, packets, seconds),
                rate(flow.bytes * 8, None if size is None else size * 8, seconds),
            ]
            found.append(((flow.bytes if size is None else size) - flow.bytes, flow, rates))
    found.sort(key=lambda each: (each[0], each[1].age_seconds))
    more = any(node.more for node in now.nodes)
    rows = tuple(
        (
            (protocol_text(flow), ""),
            (f"{source_text(flow)} > {destination_text(flow)}", ""),
            (flow.endpoint or flow.listener, ""),
            (flow.target, "bold"),
            *((text, QUIET if text in ("0", "-") else "") for text in rates),
            *((text, QUIET) for text in _age_and_idle(flow)),
            (f"{flow.moves}" if flow.moves else "", "yellow"),
        )
        for _, flow, rates in found
    )
    name = "FLOW (among the newest)" if more else "FLOW"
    entry = "LISTENER" if any(flow.listener for _, flow, _ in found) else "ENDPOINT"
    heading = ("", name, entry, "TARGET", "PKT/s", "BIT/s", "AGE", "IDLE", "MOVED")
    return Section(heading, rows, 3, frozenset((4, 5, 6, 7, 8)), spare=(8, 2, 7))


def _earlier_counts(flow: LiveFlow, was: LiveFlow | None, seconds: float) -> tuple[int | None, int | None]:
    """Packets and bytes of a flow at the earlier look: none where it began since, unknown where it was not listed."""
    if was is not None:
        return was.packets, was.bytes
    return (0, 0) if flow.has_age and flow.age_seconds < seconds else (None, None)


def _age_and_idle(flow: LiveFlow) -> tuple[str, str]:
    """The kernel does not tell how old a connection of a network load balancer is."""
    return (_seconds(flow.age_seconds), _seconds(flow.idle_seconds)) if flow.has_age else ("", "")


def _identity(flow: LiveFlow) -> tuple[object, ...]:
    entry = flow.endpoint or flow.listener
    return (entry, flow.protocol, flow.source, flow.source_port, flow.destination, flow.destination_port)


def _seconds(value: float) -> str:
    return f"{value:.0f}s" if value < 600 else f"{value / 60:.0f}m" if value < 36000 else f"{value / 3600:.0f}h"


def _share(sections: Sequence[Section], height: int) -> list[int]:
    """Lines for each section (a blank one and the heading included): in order, first its floor, then what it wants."""
    wants = [len(section.rows) + 2 if section.rows else 0 for section in sections]
    rooms = [0] * len(sections)
    for most in ([section.floor + 2 for section in sections], wants):
        for number, want in enumerate(wants):
            rooms[number] += min(min(want, most[number]) - rooms[number], height - sum(rooms))
    return rooms


def _table(section: Section, room: int, width: int) -> Iterable[Text]:
    """The section in `room` lines; when rows are left out, the last line counts them."""
    space = room - 1
    shown = section.rows if len(section.rows) <= space else section.rows[: space - 1]
    shown = tuple(tuple((plain(text), style) for text, style in row) for row in shown)
    head = tuple((name, "bold underline" if name else "") for name in section.heading)
    lines = [head, *shown]
    widest = {column: max(len(line[column][0]) for line in lines) for column in range(len(head))}
    for column in section.spare:
        if sum(widest.values()) + 2 * (len(widest) - 1) > width:
            del widest[column]
    widths = dict(zip(widest, fitted([*widest.values()], width), strict=True))
    yield from (_line(line, widths, section.numbers) for line in lines)
    if len(shown) < len(section.rows):
        yield Text(f"... {len(section.rows) - len(shown)} more", style=QUIET)


def _line(cells: Sequence[Cell], widths: Mapping[int, int], numbers: frozenset[int]) -> Text:
    line = Text()
    for column, width in widths.items():
        text, style = shorten(cells[column][0], width), cells[column][1]
        padding = " " * (width - len(text))
        if column in numbers:
            line.append(padding)
        line.append(text, style=style)
        line.append("  " if column in numbers else padding + "  ")
    line.rstrip()
    return line


def _cut(line: Text, width: int) -> Text:
    line.truncate(width, overflow="ellipsis")
    return line
