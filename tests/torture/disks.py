"""A full disk under the state of a lab: each verb works or refuses in a sentence, and nobody dies."""

from __future__ import annotations

import random
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from gwlbemu import Lab
from gwlbemu.net.record import ROOT as STATE
from tests.paths import ROOT
from tests.small_disk import full, small_disk
from tests.torture.tally import Tally
from tests.torture.worlds import GOOD_PROGRAMS, PUBLIC, mend, settle, topology
from tests.waiting import wait_until

VERBS = (
    ("register", "firewalls", "pass"), ("deregister", "firewalls", "ids"),
    ("set", "firewalls", "stickiness.enabled=true"),
    ("set", "inspect", "tcp.idle_timeout.seconds=400"), ("fail", "link", "fw"), ("heal", "link", "fw"),
    ("fail", "instance", "ids"), ("heal", "instance", "ids"), ("fail", "zone", "a"), ("heal", "zone", "a"),
    ("fail", "health", "pass"), ("heal", "health", "pass"), ("status",), ("targets",), ("flows",), ("metrics",),
    ("inspect", "--last", "--limit", "3"), ("doctor",), ("advance", "5"), ("labs",), ("inject", "--tcp", "80"),
    ("up", "SECOND", "--lab", "second"),
)  # fmt: skip
SYNS = f"""
import socket
for port in [80, 22, 23] * 300:
    with socket.socket() as client:
        client.setblocking(False)
        client.connect_ex(("{PUBLIC}", port))
"""
CURL = ["curl", "-sf", "-m", "5", "-o", "/dev/null", f"http://{PUBLIC}/"]


@contextmanager
def disks(tally: Tally) -> Iterator[Callable[[int], None]]:
    """Give a round in which the disk of a lab that runs is full, and one after it in which it is not."""
    with small_disk(STATE, size=24 << 20), tempfile.TemporaryDirectory() as folder:
        second = Path(folder) / "second.yaml"
        second.write_text(topology(GOOD_PROGRAMS, lab="second"))
        with Lab(topology(GOOD_PROGRAMS, lab="disk"), wait=60) as lab:

            def one_round(seed: int) -> None:
                dice = random.Random(seed)
                with full(STATE):
                    lab.exec("client", [sys.executable, "-c", SYNS])
                    for words in dice.sample(VERBS, 7):
                        _say(tally, seed, *(str(second) if word == "SECOND" else word for word in words))
                if (STATE / "second").exists():
                    _say(tally, seed, "down", "--lab", "second")
                tally.counts["times the disk was full"] += 1
                mend(lab, GOOD_PROGRAMS)
                lab.wait_until_healthy(60)
                settle(lab, tally, "disks", seed)
                wait_until(lambda: lab.exec("client", CURL).code == 0, "a request to be answered")

            yield one_round


def _say(tally: Tally, seed: int, *words: str) -> None:
    which = () if words[0] in ("up", "labs") or "--lab" in words else ("--lab", "disk")
    argv = [sys.executable, "-m", "gwlbemu", *words, *which]
    done = subprocess.run(argv, capture_output=True, cwd=ROOT, timeout=120, check=False)
    said = done.stderr.decode(errors="replace")
    if done.returncode not in (0, 1, 3, 4, 5) or "Traceback" in said:
        tally.problem("disks", seed, f"{words} on a full disk ended with {done.returncode}: {said[-400:]}")
    tally.counts["verbs on a full disk"] += 1
