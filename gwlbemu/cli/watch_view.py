"""A frame of `gwlbemu watch` from two snapshots: pure, so that every line of it can be tested without a lab.

A section is a heading and rows of text; what does not fit is cut and counted. Rates are differences of two snapshots by
the seconds between them; without an earlier one they are shown as "-".
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rich.text import Text

from gwlbemu.cli.flow_text import end_text, protocol_text

Snapshot = Mapping[str, Any]
Cell = tuple[str, str]  # text and style
STATES = {"healthy": "green", "unhealthy": "bold red", "draining": "yellow", "initial": "cyan", "unused": "dim"}
QUIET = "dim"


@dataclass(frozen=True, slots=True)
class Section:
    """`rows` under `heading`; where there is little room, `floor` of the rows come before other sections' rest."""

    heading: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    floor: int
    numbers: frozenset[int] = frozenset()  # columns that are aligned to the right


def frame(now: Snapshot, before: Snapshot | None, *, width: int, height: int, title: str = "") -> Text:
    """The whole screen, at most `height` lines of at most `width` columns."""
    seconds = now["at"] - before["at"] if before is not None else 0.0
    earlier = {node["name"]: node for node in (before or {"nodes": []})["nodes"]}
    sections = [
        _traffic(now, earlier, seconds),
        _targets(now, earlier, seconds),
        _drops(now, before, seconds),
        _flows(now, earlier, seconds),
    ]
    lines = [_title(now, title, width), *_alerts(now)]
    for section, room in zip(sections, _share(sections, height - len(lines)), strict=True):
        if room >= 3:
            lines.append(Text(""))
            lines += _table(section, room - 1)
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
    healthy = sum(target["state"] == "healthy" for node in now["nodes"] for target in node.get("targets", ()))
    views = sum(len(node.get("targets", ())) for node in now["nodes"])
    text = Text(now["lab"], style="bold")
    text.append(f"   targets healthy {healthy}/{views}", style="green" if healthy == views else "bold red")
    capture = now["capture"]
    if capture is not None and "error" not in capture:
        text.append(f"   captured {short(capture['packets'])}, lost {short(capture['dropped'])}")
    text.append(" " * max(width - len(text) - len(title), 3) + title, style=QUIET)
    return text


def _alerts(now: Snapshot) -> list[Text]:
    """What is not as it should be, one line each: processes that do not run, nodes that are silent, failures."""
    broken = [f"{kind} {name}" for kind, name in now["failures"]]
    found = [Text(f"! {words} is broken on purpose (gwlbemu heal {words})", style="bold yellow") for words in broken]
    stopped = {process["name"]: process for process in now["processes"] if process["state"] != "running"}
    found += [Text(f"! {name} is {each['state']}   {each['log']}", style="bold red") for name, each in stopped.items()]
    silent = [node for node in now["nodes"] if "error" in node and node["name"] not in stopped]
    return found + [Text(f"! {node['name']}: {node['error']}", style="bold red") for node in silent]


def _traffic(now: Snapshot, earlier: Mapping[str, Any], seconds: float) -> Section:
    rows = []
    for node in now["nodes"]:
        if "error" in node:
            continue
        new, old = node["metrics"], earlier.get(node["name"], {}).get("metrics", {})
        names = ("NewFlowCount", "verdicts_to_target", "verdicts_to_endpoint", "verdicts_drop")
        rates = [rate(new[name], old.get(name), seconds) for name in names]
        bits = rate(new["ProcessedBytes"] * 8, old["ProcessedBytes"] * 8 if old else None, seconds)
        lost = sum(port["socket_drops"] + port["unsent"] for port in node["ports"])
        rows.append(
            (
                (node["name"], "bold"),
                (node["datapath"], QUIET),
                (short(new["ActiveFlowCount"]), ""),
                *((text, QUIET if text in ("0", "-") else "") for text in rates[:3]),
                (rates[3], QUIET if rates[3] in ("0", "-") else "red"),
                (bits, QUIET if bits in ("0", "-") else ""),
                (short(lost), "bold red" if lost else QUIET),
            )
        )
    heading = ("NODE", "DATAPATH", "FLOWS", "NEW/s", "TO TARGETS/s", "BACK/s", "DROPPED/s", "BIT/s", "OVERRUN")
    return Section(heading, tuple(rows), 4, frozenset(range(2, 9)))


def _targets(now: Snapshot, earlier: Mapping[str, Any], seconds: float) -> Section:
    """One row per target and node that uses it; those that are not healthy come first."""
    found = []
    for node in now["nodes"]:
        old = {each["id"]: each for each in earlier.get(node["name"], {}).get("targets", ())}
        for target in node.get("targets", ()):
            was = old.get(target["id"], {})
            rates = [rate(target[name], was.get(name), seconds) for name in ("packets_to", "packets_from")]
            found.append((target["state"] == "healthy", node["name"], target, rates))
    found.sort(key=lambda each: each[0])
    rows = tuple(
        (
            (target["id"], "bold"),
            (target["zone"], ""),
            (name, ""),
            (target["state"], STATES.get(target["state"], "")),
            (short(target["flows"]), ""),
            *((text, QUIET if text in ("0", "-") else "") for text in rates),
            (target["description"], QUIET),
        )
        for _, name, target, rates in found
    )
    heading = ("TARGET", "ZONE", "FOR NODE", "STATE", "FLOWS", "TO/s", "BACK/s", "WHY")
    return Section(heading, rows, 4, frozenset((4, 5, 6)))


def _drops(now: Snapshot, before: Snapshot | None, seconds: float) -> Section:
    """Every reason for which something was lost, what grows first."""
    new, old = _losses(now), _losses(before) if before is not None else None
    found = sorted(new, key=lambda what: -(new[what] - (old or {}).get(what, 0)))
    rows = []
    for where, reason in found:
        change = rate(new[where, reason], None if old is None else old.get((where, reason), 0), seconds)
        style = QUIET if change in ("0", "-") else "bold red"
        rows.append(((where, ""), (reason, style), (short(new[where, reason]), ""), (change, style)))
    return Section(("LOST AT", "REASON", "PACKETS", "/s"), tuple(rows), 2, frozenset((2, 3)))


def _losses(snapshot: Snapshot) -> dict[tuple[str, str], int]:
    found: dict[tuple[str, str], int] = {}
    for node in snapshot["nodes"]:
        for name, value in node.get("metrics", {}).items():
            for prefix in ("PacketsDroppedCount_", "Dropped_"):
                if name.startswith(prefix):
                    found[node["name"], name.removeprefix(prefix)] = value
        for port in node.get("ports", ()):
            found[node["name"], f"{port['name']}: the node was too slow"] = port["socket_drops"]
            found[node["name"], f"{port['name']}: the interface took no more"] = port["unsent"]
    for tap in (snapshot["capture"] or {}).get("taps", ()):
        found["capture", f"{tap['name']}: not recorded"] = tap["dropped"]
    return {what: value for what, value in found.items() if value}


def _flows(now: Snapshot, earlier: Mapping[str, Any], seconds: float) -> Section:
    """The busiest flows, then the newest."""
    found = []
    for node in now["nodes"]:
        old = {_identity(flow): flow for flow in earlier.get(node["name"], {}).get("flows", ())}
        for flow in node.get("flows", ()):
            was = old.get(_identity(flow), {"packets": 0, "bytes": 0} if flow["age_seconds"] < seconds else {})
            rates = [
                rate(flow["packets"], was.get("packets"), seconds),
                rate(flow["bytes"] * 8, was["bytes"] * 8 if was else None, seconds),
            ]
            found.append((was.get("bytes", flow["bytes"]) - flow["bytes"], flow["age_seconds"], flow, rates))
    found.sort(key=lambda each: each[:2])
    more = any(node.get("more") for node in now["nodes"])
    rows = tuple(
        (
            (protocol_text(flow), ""),
            (f"{end_text(flow, 'source')} > {end_text(flow, 'destination')}", ""),
            (flow["endpoint"], ""),
            (flow["target"], "bold"),
            *((text, QUIET if text in ("0", "-") else "") for text in rates),
            (_seconds(flow["age_seconds"]), QUIET),
            (_seconds(flow["idle_seconds"]), QUIET),
            (f"{flow['moves']}" if flow["moves"] else "", "yellow"),
        )
        for _, _, flow, rates in found
    )
    name = "FLOW (among the newest)" if more else "FLOW"
    heading = ("", name, "ENDPOINT", "TARGET", "PKT/s", "BIT/s", "AGE", "IDLE", "MOVED")
    return Section(heading, rows, 3, frozenset((4, 5, 6, 7, 8)))


def _identity(flow: Mapping[str, Any]) -> tuple[Any, ...]:
    ends = [flow[key] for key in ("source", "source_port", "destination", "destination_port")]
    return (flow["endpoint"], flow["protocol"], *ends)


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


def _table(section: Section, room: int) -> Iterable[Text]:
    """The section in `room` lines; when rows are left out, the last line counts them."""
    space = room - 1
    shown = section.rows if len(section.rows) <= space else section.rows[: space - 1]
    head = tuple((name, "bold underline" if name else "") for name in section.heading)
    lines = [head, *shown]
    widths = [max(len(line[column][0]) for line in lines) for column in range(len(head))]
    yield from (_line(line, widths, section.numbers) for line in lines)
    if len(shown) < len(section.rows):
        yield Text(f"... {len(section.rows) - len(shown)} more", style=QUIET)


def _line(cells: Sequence[Cell], widths: Sequence[int], numbers: frozenset[int]) -> Text:
    line = Text()
    for column, ((text, style), width) in enumerate(zip(cells, widths, strict=True)):
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
