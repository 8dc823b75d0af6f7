"""inspect: a capture file, packet by packet or journey by journey; ours or anybody's."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

import click

from gwlbemu.capture.dissect import Dissection
from gwlbemu.capture.flowfilter import FlowFilter, parse_flow
from gwlbemu.capture.journey import Record, journey_lines, journeys
from gwlbemu.capture.packet import CapturedPacket
from gwlbemu.capture.reader import CaptureReader
from gwlbemu.capture.render import closing, dictionary, line, selected
from gwlbemu.cli.common import lab_option
from gwlbemu.errors import LabError, WireError
from gwlbemu.run.lab import CAPTURE, RunningLab, open_lab

Shown = tuple[CapturedPacket, Dissection]


@click.command("inspect")
@click.argument("files", nargs=-1, metavar="[FILE]...", type=click.Path(path_type=Path))
@click.option(
    "--last", is_flag=True, help="The capture of the running lab instead of a FILE, without its health checks."
)
@lab_option
@click.option(
    "--flow", metavar="EXPRESSION", help="Only these packets: 'tcp 198.51.100.10-10.0.1.10:80', 'cookie=0x..'."
)
@click.option("--journeys", "by_journey", is_flag=True, help="Group by packet: every tap it crossed, and what changed.")
@click.option("--limit", type=click.IntRange(1), metavar="N", help="Only the last N packets (or journeys).")
@click.option("--json", "as_json", is_flag=True, help="One JSON object per packet and line.")
def inspect_command(
    files: tuple[Path, ...],
    last: bool,
    lab_name: str | None,
    flow: str | None,
    by_journey: bool,
    limit: int | None,
    as_json: bool,
) -> int:
    """Show captured packets, one line each: outer, GENEVE options, inner.

    Reads pcap and pcapng, from anywhere. A broken file is shown as far as it goes; then the exit code is 1.
    """
    if last == bool(files):
        raise click.UsageError("say what to inspect: capture FILEs, or --last for the running lab's capture")
    lab = open_lab(lab_name) if last else None
    wanted = parse_flow(flow) if flow else None
    whole = True
    for path in _last_files(lab) if lab else list(files):
        try:
            with path.open("rb") as file:
                reader = CaptureReader(file)
                _show(reader, _packets(reader, wanted, _probe_ends(lab)), by_journey, limit, as_json)
        except OSError as error:
            raise WireError(f"{path}: cannot be read: {error.strerror}") from error
        whole = whole and reader.ending.complete
    return 0 if whole or last else 1


def _last_files(lab: RunningLab) -> list[Path]:
    """The capture's files, oldest first, with everything in them that was captured until now."""
    if not lab.plan.capture.enabled:
        raise LabError(f"lab {lab.plan.lab} records no packets (capture is off)")
    with suppress(LabError):  # without root the socket cannot be asked; a fraction of a second may be missing then
        lab.call(CAPTURE, "flush")
    found = sorted(lab.state.capture_folder.glob("*.pcapng"), key=lambda path: path.stat().st_mtime_ns)
    if not found:
        raise LabError(f"lab {lab.plan.lab} has no capture file yet")
    return found


def _probe_ends(lab: RunningLab | None) -> tuple[set[bytes], set[int]]:
    """The addresses of a lab's nodes and the ports they probe: who talks there over TCP is a health check."""
    if lab is None:
        return set(), set()
    nodes = {bytes(map(int, node.address.split("."))) for node in lab.plan.nodes}
    return nodes, {group.health_check.port for group in lab.plan.target_groups}


def _packets(
    reader: CaptureReader, flow: FlowFilter | None, probes: tuple[set[bytes], set[int]]
) -> Iterator[Shown | int]:
    """The packets to show, then how many there were in all."""
    nodes, ports = probes
    total = 0
    for captured, dissection in selected(reader, flow):
        total = captured.number
        if dissection is None:
            continue
        layer = dissection.flow_layer
        if nodes and flow is None and layer is not None and not dissection.tunnel:
            ip = layer.ip
            if nodes & {ip.source, ip.destination} and ports & {ip.source_port, ip.destination_port}:
                continue
        yield captured, dissection
    yield total


def _show(
    reader: CaptureReader, found: Iterable[Shown | int], by_journey: bool, limit: int | None, as_json: bool
) -> None:
    kept: deque[Shown] = deque(maxlen=None if by_journey else limit)
    total = shown = 0
    for each in found:
        if isinstance(each, int):
            total = each
        elif limit or by_journey:
            kept.append(each)
        else:
            shown += 1
            click.echo(_text(each, as_json))
    if by_journey:
        records = [Record(c.interface.name, c.at_ns, c.data, c.direction) for c, d in kept if d.flow_layer is not None]
        groups = journeys(records)
        groups = groups[-limit:] if limit else groups
        for journey in groups:
            click.echo("\n".join(journey_lines(journey)) + "\n")
        shown = sum(len(journey.sightings) for journey in groups)
    else:
        for each in kept:
            click.echo(_text(each, as_json))
        shown += len(kept)
    if not as_json:
        click.echo("\n".join(closing(reader, shown, total)))


def _text(each: Shown, as_json: bool) -> str:
    return json.dumps(dictionary(*each)) if as_json else line(*each)
