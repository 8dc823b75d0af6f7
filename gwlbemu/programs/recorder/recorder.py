"""The lab's capture: all taps and all dropped packets into one pcapng, in the order of time.

    python -m gwlbemu.programs.recorder.recorder CONFIG.json

A frame is in the file some 200 ms after it passed: a tap hands its frames over every 40 ms, and they wait until no
other tap can bring an earlier one. What the capture itself loses is counted per tap, in `status` and in the file.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import sys
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from gwlbemu.capture.annotate import Annotator
from gwlbemu.capture.pcapng import enhanced_packet
from gwlbemu.errors import WireError
from gwlbemu.net.inside import inside
from gwlbemu.ports import privileges
from gwlbemu.ports.arguments import Arguments
from gwlbemu.ports.control import ControlServer, Verb
from gwlbemu.ports.loop import Loop
from gwlbemu.ports.ring import BLOCK_BYTES, RETIRE_MS, Ring, TappedFrame
from gwlbemu.programs import discards
from gwlbemu.programs.process import keep_logs_small, run_logged
from gwlbemu.programs.recorder.config import CaptureConfig
from gwlbemu.programs.recorder.files import CaptureFiles
from gwlbemu.programs.recorder.waiting import WaitingFrame, WaitingFrames

LOG = logging.getLogger("capture")
RINGS_BYTES = 256 << 20  # all taps together
FEWEST_BLOCKS, MOST_BLOCKS = 8, 64
WRITE_SECONDS = 0.05
SLICE = 2000  # frames that are written before somebody else has a turn
HELD_BACK_NS = (RETIRE_MS + 60) * 1_000_000
NICENESS = 5  # packets first, the record of them second


class Recorder:
    """Everything of the capture process, opened on `stack`."""

    def __init__(self, config: CaptureConfig, loop: Loop, stack: ExitStack) -> None:
        self._config, self._loop = config, loop
        self._annotator = Annotator(config.names())
        self._interfaces = [tap.name for tap in config.taps] + list(config.nodes)
        self._numbers = {name: number for number, name in enumerate(self._interfaces)}
        self._packets = [0] * len(self._interfaces)
        self._waiting = WaitingFrames()
        self._refused = 0
        self._rings = self._open_rings(stack)
        self._discards = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        stack.callback(self._discards.close)
        Path(config.discards).unlink(missing_ok=True)
        self._discards.bind(config.discards)
        privileges.give(config.discards)
        self._discards.setblocking(False)
        stack.callback(Path(config.discards).unlink, missing_ok=True)
        self._files = CaptureFiles(
            Path(config.folder), config.lab, self._interfaces, file_bytes=config.file_bytes, files=config.files
        )
        verbs: dict[str, Verb] = {"status": self.status, "flush": self.flush, "rotate": self.rotate}
        self._control = ControlServer(config.control, verbs, faults=loop.faults)
        stack.callback(self._control.close)

    def _open_rings(self, stack: ExitStack) -> list[Ring]:
        config, rings = self._config, []
        each = RINGS_BYTES // BLOCK_BYTES // max(len(config.taps), 1)
        blocks = min(max(each, FEWEST_BLOCKS), MOST_BLOCKS)
        for number, tap in enumerate(config.taps):
            with inside(Path(tap.namespace)):
                ring = Ring(tap.device, tap=number, snapshot_length=config.snapshot_length, blocks=blocks)
            stack.callback(ring.close)
            rings.append(ring)
        return rings

    def start(self) -> None:
        """Listen to the taps, the nodes and the control socket."""
        for ring in self._rings:
            self._loop.add_reader(ring.fileno(), lambda ring=ring: self._ready(ring))  # type: ignore[misc]
        self._loop.add_reader(self._discards.fileno(), self._take_discards)
        self._loop.run_until_complete(self._control.open())
        self._loop.call_at(self._loop.now, self._tick)
        if self._config.logs:
            keep_logs_small(self._loop, Path(self._config.logs))

    def stop(self) -> None:
        """Write what is there and end the file."""
        for ring in self._rings:
            self._loop.remove_reader(ring.fileno())
        self._loop.remove_reader(self._discards.fileno())
        self._collect()
        self._write(sys.maxsize)
        self._files.close(self._loop.clock.wall_ns(), self._seen())

    def _ready(self, ring: Ring) -> None:
        sightings = ring.read()
        if not sightings:
            ring.clear_error()
        self._add(sightings)
        while self._waiting.are_too_many:
            self._write(sys.maxsize, SLICE)

    def _add(self, sightings: list[TappedFrame]) -> None:
        self._waiting.add(WaitingFrame(*sighting) for sighting in sightings)

    def _take_discards(self) -> None:
        for _ in range(discards.PER_SECOND):
            try:
                data = self._discards.recv(discards.LARGEST)
                discard = discards.decode(data)
                number = self._numbers[discard.interface]
            except BlockingIOError:
                return
            except (WireError, KeyError):
                self._refused += 1
                continue
            kept = discard.frame[: self._config.snapshot_length]
            frame = WaitingFrame(discard.at_ns, number, None, kept, len(discard.frame), discard.comment)
            self._waiting.add([frame])

    def _tick(self) -> None:
        written = self._write(self._loop.clock.wall_ns() - HELD_BACK_NS, SLICE)
        self._loop.call_at(self._loop.now + (0 if written == SLICE else WRITE_SECONDS), self._tick)

    def _collect(self) -> None:
        for ring in self._rings:
            self._add(ring.read())
        self._take_discards()

    def _write(self, until_ns: int, most: int | None = None) -> int:
        """Write, in order, what passed up to `until_ns`, `most` frames of it at most; return how many they were."""
        ripe = self._waiting.take(until_ns, most)
        for each in ripe:
            self._packets[each.interface] += 1
            try:
                comments = self._annotator.comments(each.frame, each.length - len(each.frame))
            except Exception as error:  # the frame is recorded all the same
                self._loop.faults.note("a frame", error)
                comments = ("undecodable",)
            block = enhanced_packet(
                each.interface,
                each.at_ns,
                each.frame,
                original_length=each.length,
                direction="" if each.outgoing is None else "out" if each.outgoing else "in",
                comments=(*comments, each.comment) if each.comment else comments,
            )
            if self._files.write(block):
                self._files.rotate(self._loop.clock.wall_ns(), self._seen())
        if ripe:
            self._files.flush()
        return len(ripe)

    def _drops(self) -> list[int]:
        return [ring.drops() for ring in self._rings] + [0] * len(self._config.nodes)

    def _seen(self) -> list[tuple[int, int]]:
        drops = self._drops()
        return [(packets + drop, drop) for packets, drop in zip(self._packets, drops, strict=True)]

    def status(self, _: Arguments) -> Mapping[str, Any]:
        """Answer the file that is written, and per tap how many packets it has and how many were lost."""
        drops = self._drops()
        return {
            "file": str(self._files.path),
            "packets": sum(self._packets),
            "dropped": sum(drops),
            "waiting": len(self._waiting),
            "refused_records": self._refused,
            "unwritten": self._files.unwritten,
            "faults": dict(self._loop.faults.counts),
            "taps": [
                {"name": name, "packets": packets, "dropped": dropped}
                for name, packets, dropped in zip(self._interfaces, self._packets, drops, strict=True)
            ],
        }

    async def flush(self, _: Arguments) -> Mapping[str, Any]:
        """Answer when every frame that passed a tap before the request is in the file."""
        await asyncio.sleep(2 * RETIRE_MS / 1000)
        self._collect()
        self._write(sys.maxsize)
        return {"file": str(self._files.path)}

    async def rotate(self, arguments: Arguments) -> Mapping[str, Any]:
        """Flush, then go on in a new file; answers the file that is complete now."""
        await self.flush(arguments)
        done = self._files.path
        self._files.rotate(self._loop.clock.wall_ns(), self._seen())
        return {"file": str(done)}


def main(argv: list[str]) -> int:
    """Capture until a signal ends it; return the exit code."""

    def work(loop: Loop, stack: ExitStack) -> None:
        os.nice(NICENESS)
        recorder = Recorder(CaptureConfig.from_json(Path(argv[0]).read_text()), loop, stack)
        recorder.start()
        privileges.drop()
        LOG.info("capture is ready")
        loop.run()
        recorder.stop()

    return run_logged("capture", work)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
