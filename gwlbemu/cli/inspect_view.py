"""What `inspect` prints: packets or journeys as they are read, or the last of them; then what is not among them."""

from __future__ import annotations

import gc
import heapq
import json
import sys
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from itertools import chain, islice
from operator import attrgetter
from pathlib import Path
from types import TracebackType
from typing import BinaryIO

import click

from gwlbemu.capture.checks import State, judge
from gwlbemu.capture.dissect import Dissection, dissect
from gwlbemu.capture.http_journeys import HttpJourneys, may_join
from gwlbemu.capture.journey import Journey, PacketIdentity, Sighting, follow, journey_lines, sighting
from gwlbemu.capture.link import ethertype_name
from gwlbemu.capture.packet import CapturedPacket
from gwlbemu.capture.reader import CaptureReader
from gwlbemu.capture.render import count_text, dictionary, framed, line, losses
from gwlbemu.capture.translations import Translations
from gwlbemu.capture.usual import UsualPacket, UsualPackets
from gwlbemu.cli.common import echo
from gwlbemu.cli.output import stream
from gwlbemu.errors import WireError, plain

OTHER_FLOW, HEALTH_CHECK = "other flow", "health checks"
_BLOCK = 256  # texts that are written at once
LONG = 10 << 20  # bytes that deserve a progress bar
_STEP = 2000  # packets between two moves of it
_MOST_REASONS, _MOST_REASONS_KEPT = 5, 1000
_COLLECT_AFTER = 100_000  # objects


@contextmanager
def few_collections() -> Iterator[None]:
    """Let Python look for cycles rarely: packets are tuples, which have none, and there are many."""
    usual = gc.get_threshold()
    gc.set_threshold(_COLLECT_AFTER)
    try:
        yield
    finally:
        gc.set_threshold(*usual)


class CaptureFile:
    """A file that is iterated once; WireError names it when the machine refuses. `total` packets were read."""

    def __init__(self, path: Path, stack: ExitStack) -> None:
        self.name, self.total = str(path), 0
        try:
            file: BinaryIO = stack.enter_context(path.open("rb"))
            self.size = path.stat().st_size
        except OSError as error:
            raise self._refused(error) from error
        self.reader = CaptureReader(file)

    def __iter__(self) -> Iterator[CapturedPacket]:
        try:
            for captured in self.reader:
                self.total = captured.number
                yield captured
        except OSError as error:
            raise self._refused(error) from error

    def _refused(self, error: OSError) -> WireError:
        return WireError(f"{self.name}: cannot be read: {error.strerror}")


def shows_progress(captures: Sequence[CaptureFile], *, at_end: bool) -> bool:
    """Return whether somebody waits: long files, a terminal for errors, and no packets on it before the end."""
    long = sum(capture.size for capture in captures) >= LONG
    return long and sys.stderr.isatty() and (at_end or not sys.stdout.isatty())


class Progress:
    """A bar on the error output while long files are read, where that is a terminal which packets do not fill."""

    def __init__(self, captures: Sequence[CaptureFile], *, at_end: bool) -> None:
        seen = shows_progress(captures, at_end=at_end)
        size = sum(capture.size for capture in captures)
        self._bar = click.progressbar(length=size, label="reading", file=sys.stderr) if seen else None
        self._captures = captures

    def __enter__(self) -> Progress:
        if self._bar:
            self._bar.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar:
            self._bar.__exit__(kind, error, trace)

    def move(self) -> None:
        """Show how far the files were read."""
        if self._bar:
            self._bar.update(sum(capture.reader.offset for capture in self._captures) - self._bar.pos)


class View:
    """Prints packets or journeys as they come, or keeps the last `limit` of them until all are read."""

    def __init__(
        self,
        refuse: Callable[[Dissection], str],
        progress: Progress,
        *,
        limit: int | None,
        as_json: bool,
        verbose: bool,
        translations: Translations | None = None,
    ) -> None:
        self._refuse, self._progress = refuse, progress
        self._limit, self._as_json, self._verbose = limit, as_json, verbose
        self._usual, self._translations = UsualPackets(refuse), translations
        self._shown = self._unfinished = 0
        self._left_out: Counter[str] = Counter()
        self._view = ""  # that packets are left out of
        self._http = HttpJourneys()
        self._others: set[PacketIdentity] = set()  # of another flow, and perhaps joined to the one that is looked for

    def show_packets(self, captures: Iterable[CaptureFile]) -> None:
        """Print a line for each packet."""
        self._print(chain.from_iterable(map(self._texts, captures)))

    def show_journeys(self, captures: Sequence[CaptureFile]) -> None:
        """Print a paragraph for each journey, through all files."""
        self._view = " of journeys"
        sightings = [self._noted(capture) for capture in captures]
        merged = heapq.merge(*sightings, key=attrgetter("at_ns")) if len(sightings) > 1 else sightings[0]
        found = (each for each in self._http.joined(follow(merged)) if not self._is_other_flows(each))
        self._print(("\n".join(journey_lines(each)) + "\n", len(each.sightings)) for each in found)

    def _is_other_flows(self, journey: Journey) -> bool:
        """Whether nothing of it is of the flow that is looked for."""
        if not self._others:
            return False
        others = {each.identity for each in journey.sightings} & self._others
        self._others -= others
        return all(each.identity in others for each in journey.sightings)

    def _other(self, seen: Sighting) -> Sighting:
        """Note that a packet is of another flow than the one that is looked for."""
        self._others.add(seen.identity)
        return seen

    def close(self, captures: Sequence[CaptureFile]) -> None:
        """Print the counts, and what is not among what was shown."""
        if self._as_json:
            return
        echo(count_text(self._shown, sum(capture.total for capture in captures)))
        if self._left_out:
            most = self._left_out.most_common(_MOST_REASONS)
            reasons = [f"{count} {plain(reason)}" for reason, count in most]
            if others := self._left_out.total() - sum(count for _, count in most):
                reasons.append(f"{others} for other reasons")
            echo(f"left out{self._view}: {', '.join(reasons)}")
        if self._http.remark:
            echo(self._http.remark)
        if self._unfinished:
            echo(f"{self._unfinished} with checksums left to a network card that was not there (offload)")
        for capture in captures:
            for loss in losses(capture.reader, capture.name):
                echo(loss)

    def _print(self, texts: Iterator[tuple[str, int]]) -> None:
        """Print texts in blocks, and count the packets that they tell of."""
        kept = iter(deque(texts, self._limit)) if self._limit else texts
        while block := list(islice(kept, _BLOCK)):
            stream("\n".join(text for text, _ in block))
            self._shown += sum(count for _, count in block)

    def _texts(self, capture: CaptureFile) -> Iterator[tuple[str, int]]:
        careful = self._as_json or self._verbose
        for captured in capture:
            if captured.number % _STEP == 0:
                self._progress.move()
            usual = None if careful else self._usual.read(captured)
            if usual is not None:
                reason = self._usual_refusal(captured, usual)
                if reason:
                    self._leave_out(reason)
                else:
                    self._unfinished += usual.unfinished
                    yield framed(captured, usual.text), 1
                continue
            dissection = dissect(captured)
            if reason := self._refusal(captured, dissection):
                self._leave_out(reason)
                continue
            if self._as_json:
                yield json.dumps(dictionary(captured, dissection)), 1
                continue
            checks = judge(dissection)
            self._unfinished += any(check.state is State.UNFINISHED for check in checks)
            yield line(captured, dissection, checks, verbose=self._verbose), 1

    def _noted(self, capture: CaptureFile) -> Iterator[Sighting]:
        for captured, seen in self._sightings(capture):
            self._http.see(captured, seen)
            yield seen

    def _sightings(self, capture: CaptureFile) -> Iterator[tuple[CapturedPacket, Sighting]]:
        for captured in capture:
            if captured.number % _STEP == 0:
                self._progress.move()
            usual = self._usual.read(captured)
            if usual is not None:
                reason = self._usual_refusal(captured, usual)
                if not reason:
                    self._unfinished += usual.unfinished
                    yield captured, usual.sighting(captured)
                elif reason == OTHER_FLOW and may_join(captured):
                    yield captured, self._other(usual.sighting(captured))
                else:
                    self._leave_out(reason)
                continue
            dissection = dissect(captured)
            reason = self._refusal(captured, dissection)
            joins = reason == OTHER_FLOW and may_join(captured)
            seen = sighting(captured, dissection) if joins or not reason else None
            if seen is not None:
                yield captured, self._other(seen) if joins else seen
            else:
                self._leave_out(reason or _without_flow(dissection))

    def _usual_refusal(self, captured: CapturedPacket, usual: UsualPacket) -> str:
        """Why a packet is not shown; of another flow is not what was translated from a wanted one."""
        head, known = usual.head, self._translations
        if known is None or head.refused not in ("", OTHER_FLOW):
            return head.refused
        seen = usual.sighting(captured)
        return self._translated(known, seen, head.refused)

    def _refusal(self, captured: CapturedPacket, dissection: Dissection) -> str:
        reason = self._refuse(dissection)
        if self._translations is None or reason not in ("", OTHER_FLOW):
            return reason
        seen = sighting(captured, dissection)
        return self._translated(self._translations, seen, reason) if seen else reason

    @staticmethod
    def _translated(known: Translations, seen: Sighting, reason: str) -> str:
        if reason and not known.is_known(seen.identity.protocol, seen.look) and not known.learns(seen):
            return reason
        known.note(seen)
        return ""

    def _leave_out(self, reason: str) -> None:
        """Count a packet that is not shown, if not because it is of another flow; reasons with numbers may be many."""
        if reason == OTHER_FLOW:
            return
        known = reason in self._left_out or len(self._left_out) < _MOST_REASONS_KEPT
        self._left_out[reason if known else "unreadable"] += 1


def _without_flow(dissection: Dissection) -> str:
    """Why a packet belongs to no flow."""
    if dissection.trouble:
        return f"unreadable ({dissection.trouble})"
    return ethertype_name(dissection.ethertype)
