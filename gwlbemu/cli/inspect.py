"""inspect: a capture file, packet by packet or journey by journey; ours or anybody's."""

from __future__ import annotations

import json
from collections import deque
from dataclasses import dataclass, field
from pathlib import Path

import click

from gwlbemu.capture.dissect import Dissection
from gwlbemu.capture.flowfilter import FlowFilter, parse_flow
from gwlbemu.capture.journey import TapFrame, journey_lines, journeys
from gwlbemu.capture.packet import CapturedPacket
from gwlbemu.capture.reader import CaptureReader
from gwlbemu.capture.render import count_text, dictionary, line, losses, selected
from gwlbemu.cli.common import echo, lab_option
from gwlbemu.errors import WireError
from gwlbemu.lab.running import RunningLab, open_lab
from gwlbemu.views.capture import capture_files, capture_trouble

Shown = tuple[CapturedPacket, Dissection]
MOST_TAPS = 64  # sightings of one packet that are kept when only the last journeys are wanted


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

    Reads pcap and pcapng, from anywhere. A broken file is shown as far as it goes; then the exit code is 1, or 3 when
    nothing in it could be read. With --last it is 1 when the lab's capture is dead or frozen.
    """
    if last == bool(files):
        raise click.UsageError("say what to inspect: capture FILEs, or --last for the running lab's capture")
    if by_journey and as_json:
        raise click.UsageError("--journeys is text for people: choose it or --json")
    lab = open_lab(lab_name) if last else None
    wanted = parse_flow(flow) if flow else None
    paths = capture_files(lab) if lab else list(files)
    if lab and limit:
        paths = paths[-2:]  # the newest may have been begun a moment ago
    show = _Show(wanted, _probe_ends(lab), by_journey, limit, as_json)
    for path in paths:
        try:
            with path.open("rb") as file:
                show.read(CaptureReader(file), str(path))
        except BrokenPipeError:  # the reader of our output went away
            raise
        except OSError as error:
            raise WireError(f"{path}: cannot be read: {error.strerror}") from error
    show.finish()
    if lab:
        if not as_json:
            echo("each packet stands once per tap: in Wireshark, choose one with frame.interface_name")
        if trouble := capture_trouble(lab):
            echo(f"! {trouble}", err=True)
            return 1
        return 0
    if any(not reader.ending.complete and not total for _, reader, total in show.read_so_far):
        return 3
    return 0 if all(reader.ending.complete for _, reader, _ in show.read_so_far) else 1


def _probe_ends(lab: RunningLab | None) -> tuple[set[bytes], set[int]]:
    """The addresses of a lab's nodes and the ports they probe: who talks there over TCP is a health check."""
    if lab is None:
        return set(), set()
    nodes = {bytes(map(int, node.address.split("."))) for node in lab.plan.gateway_nodes}
    return nodes, {group.health_check.port for group in lab.plan.target_groups}


@dataclass(slots=True)
class _Show:
    """Prints packets as they are read, or keeps the last of them (all of them for journeys) until `finish`."""

    flow: FlowFilter | None
    probes: tuple[set[bytes], set[int]]
    by_journey: bool
    limit: int | None
    as_json: bool
    read_so_far: list[tuple[str, CaptureReader, int]] = field(default_factory=list)
    shown: int = 0
    _kept: deque[Shown] = field(default_factory=deque)

    def read(self, reader: CaptureReader, name: str) -> None:
        total = 0
        for captured, dissection in selected(reader, self.flow):
            total = captured.number
            if dissection is None or self._is_health_check(dissection):
                continue
            if self.by_journey or self.limit:
                self._kept.append((captured, dissection))
                if self.limit and len(self._kept) > self.limit * (MOST_TAPS if self.by_journey else 1):
                    self._kept.popleft()
            else:
                self._print((captured, dissection))
        self.read_so_far.append((name, reader, total))

    def finish(self) -> None:
        if self.by_journey:
            self._print_journeys()
        else:
            for each in self._kept:
                self._print(each)
        if not self.as_json:
            total = sum(count for _, _, count in self.read_so_far)
            echo(count_text(self.shown, total))
            for name, reader, _ in self.read_so_far:
                for loss in losses(reader):
                    echo(f"{name}: {loss}" if len(self.read_so_far) > 1 else loss)

    def _print(self, each: Shown) -> None:
        self.shown += 1
        echo(json.dumps(dictionary(*each)) if self.as_json else line(*each))

    def _print_journeys(self) -> None:
        records = [TapFrame(c.interface.name, c.at_ns, c.data, c.direction) for c, d in self._kept if d.flow_layer]
        groups = journeys(records)
        for journey in groups[-self.limit :] if self.limit else groups:
            self.shown += len(journey.sightings)
            echo("\n".join(journey_lines(journey)) + "\n")

    def _is_health_check(self, dissection: Dissection) -> bool:
        """Whether a packet is between a node and a health check port; who asks for a flow gets it whatever it is."""
        nodes, ports = self.probes
        if self.flow is not None or dissection.tunnel or dissection.outer is None:
            return False
        ip = dissection.outer.ip
        return bool(nodes & {ip.source, ip.destination} and ports & {ip.source_port, ip.destination_port})
