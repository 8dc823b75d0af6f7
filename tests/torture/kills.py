"""SIGKILL at random moments: of `up`, of `down`, of the parts of a lab, of the commands that change it."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from gwlbemu.lab.running import open_lab
from gwlbemu.net.record import list_labs
from tests.paths import ROOT
from tests.torture.tally import Tally
from tests.torture.worlds import GOOD_PROGRAMS, note_leftovers, topology

CHANGES = (
    ("register", "firewalls", "pass"), ("deregister", "firewalls", "ids"),
    ("set", "firewalls", "stickiness.enabled=true"),
    ("fail", "instance", "fw"), ("heal", "instance", "fw"), ("fail", "link", "server-a"), ("heal", "link", "server-a"),
    ("fail", "process", "pass"), ("heal", "process", "pass"), ("exec", "client", "--", "sleep", "0.2"),
)  # fmt: skip
SLOWEST = 300.0  # seconds for a command that nobody kills


class Storm:
    """Kills of one lab's commands and parts."""

    def __init__(self, tally: Tally, folder: Path) -> None:
        self._tally, self._file = tally, folder / "storm.yaml"
        self._file.write_text(topology(GOOD_PROGRAMS, lab="storm"))
        self._took = {"up": 2.0, "down": 0.5}  # seconds, as of the last one that nobody killed

    def round(self, seed: int) -> None:
        """Bring a lab up and down, killing whatever there is to kill; look what is left."""
        dice = random.Random(seed)
        kind = dice.choice(("up", "down", "parts", "change", "up"))
        if kind == "up":
            for _ in range(dice.choice((1, 2, 3))):  # each time over the ruins of the one before
                self._killed(seed, dice, "up", "up", str(self._file), "--wait", "0")
                if list_labs():
                    self._killed(seed, dice, "down", "down")
        else:
            self._whole(seed, "up", "up", str(self._file), "--wait", "0")
            if kind == "parts":
                self._kill_parts(dice)
                self._whole(seed, "status", "status")
            elif kind == "change":
                for words in dice.sample(CHANGES, 3):
                    self._killed(seed, dice, "change", *words)
                self._whole(seed, "status", "status")
        for _ in range(dice.choice((0, 1, 1, 3)) if kind in ("down", "parts") else 0):
            if list_labs():
                self._killed(seed, dice, "down", "down")
        if list_labs():
            self._whole(seed, "down", "down")
        note_leftovers(self._tally, "kills", seed)

    def close(self) -> None:
        """Take down what a failed round has left."""
        if list_labs():
            _start("down").wait(SLOWEST)

    def _whole(self, seed: int, what: str, *words: str) -> None:
        began = time.monotonic()
        process = _start(*words)
        try:
            said = process.communicate(timeout=SLOWEST)[0].decode(errors="replace")
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
            self._tally.problem("kills", seed, f"{what} takes longer than {SLOWEST:g} s")
            return
        self._took[what] = time.monotonic() - began
        if process.returncode not in (0, 1) or "Traceback" in said:
            self._tally.problem("kills", seed, f"{what} ended with {process.returncode}: {said[-300:]}")

    def _killed(self, seed: int, dice: random.Random, what: str, *words: str) -> None:
        process = _start(*words)
        try:
            process.communicate(timeout=dice.uniform(0, 1.2) * self._took.get(what, 0.7))
            if process.returncode not in (0, 1, 3, 4):
                self._tally.problem("kills", seed, f"{words} ended with {process.returncode}")
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
            self._tally.counts["kills"] += 1
            self._tally.counts[f"kills of {what}"] += 1

    def _kill_parts(self, dice: random.Random) -> None:
        processes = open_lab("storm").processes()
        for process in dice.sample(processes, dice.randint(1, len(processes))):
            with suppress(ProcessLookupError):
                os.kill(process.pid, signal.SIGKILL)
                self._tally.counts["kills"] += 1
                self._tally.counts["kills of parts"] += 1


def _start(*words: str) -> subprocess.Popen[bytes]:
    argv = [sys.executable, "-m", "gwlbemu", *words]
    return subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, cwd=ROOT)


@contextmanager
def kills(tally: Tally) -> Iterator[Callable[[int], None]]:
    """Give a round of the storm."""
    with tempfile.TemporaryDirectory() as folder:
        storm = Storm(tally, Path(folder))
        try:
            yield storm.round
        finally:
            storm.close()
