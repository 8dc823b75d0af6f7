"""Hostile requests at every control socket of a lab: each is answered or closed, and nothing changes who answers."""

from __future__ import annotations

import json
import random
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from gwlbemu import Lab
from gwlbemu.lab.running import CAPTURE
from gwlbemu.ports.control import FAULT
from tests.torture.tally import Tally
from tests.torture.worlds import GOOD_PROGRAMS, flat, settle, then, topology

EACH = 150  # requests of a round for each process
READ_SECONDS = 60.0  # for an answer on a busy machine
VERBS = (
    "status", "targets", "flows", "metrics", "register", "deregister", "set", "advance", "trace_start", "trace_read",
    "trace_renew", "trace_stop", "fail", "mode", "files", "reload", "flush", "", "\\ud800", "__init__",
)  # fmt: skip
KEYS = (
    "limit", "cursor", "newest", "id", "address", "zone", "resource", "attributes", "seconds", "match", "trace",
    "lease", "mode", "delay", "verb", "self", "offset", "after", "follow",
)  # fmt: skip
RAW = (
    "Infinity", "-Infinity", "NaN", "1e999", "-1", "1e308", "9" * 400, "9" * 5000, "0.1", "true", "null", '""', '"x"',
    '"\\u0000"', '"10.0.0.1"', '"::1"', "[]", "[[]]", "{}", "[" * 9 + "]" * 9, "[" * 2000, '{"a":{"b":[1,{"c":2}]}}',
    '["client", "fw"]', '{"stickiness.enabled": "true"}', '{"tcp.idle_timeout.seconds": 1e999}', f'"{"x" * 70_000}"',
)  # fmt: skip


def request(dice: random.Random) -> bytes:
    """Return one line for a control socket: mostly JSON, mostly a verb that exists, with arguments of any kind."""
    if dice.random() < 0.1:
        return dice.randbytes(dice.choice((1, 3, 200))).replace(b"\n", b"") + b"\n"
    pairs = [f'"verb": "{dice.choice(VERBS)}"'] if dice.random() < 0.95 else []
    pairs += [f'"{dice.choice(KEYS)}": {dice.choice(RAW)}' for _ in range(dice.choice((0, 1, 2, 4)))]
    line = "{" + ", ".join(pairs) + "}"
    if dice.random() < 0.1:
        line = line[: dice.randrange(len(line) + 1)]
    return line.encode() + b"\n"


@contextmanager
def controls(tally: Tally) -> Iterator[Callable[[int], None]]:
    """Give a round of requests for every process of a lab that has a control socket."""
    programs = {**GOOD_PROGRAMS, "odd": {"broken": {"mode": "half"}}}
    with Lab(topology(programs, lab="fuzzed"), wait=60) as lab:
        names = [CAPTURE, *programs, *(node.name for node in lab.plan.gateway_nodes)]
        for name in names:
            _fuzz(lab.running.state.control(name), random.Random(0), 20)

        def one_round(seed: int) -> None:
            for name in names:
                try:
                    sent, broken = _fuzz(lab.running.state.control(name), random.Random(f"{seed} {name}"), EACH)
                except OSError as error:
                    tally.problem("controls", seed, f"{name}: {error}")
                    continue
                tally.counts["requests"] += sent
                for answer in broken:
                    tally.problem("controls", seed, f"{name}: {answer}")
            settle(lab, tally, "controls", seed)

        with flat(lab, tally, "controls") as look:
            yield then(one_round, look)


def _fuzz(path: Path, dice: random.Random, count: int) -> tuple[int, list[str]]:
    """Send so many requests, some to nobody who reads the answer; return how many, and what is no good answer."""
    broken = []
    for _ in range(count):
        line = request(dice)
        with socket.socket(socket.AF_UNIX) as sock:
            sock.settimeout(READ_SECONDS)
            sock.connect(str(path))
            sock.sendall(line)
            if dice.random() < 0.1 or not line.strip():
                continue  # does not wait
            with sock.makefile("rb") as stream:
                answer = stream.readline()
        try:
            told = json.loads(answer)
            if not isinstance(told["ok"], bool) or told.get("code") == FAULT:
                broken.append(f"{line[:200]!r} -> {answer[:300]!r}")
        except (ValueError, KeyError, TypeError):
            broken.append(f"{line[:200]!r} -> {answer[:300]!r}")
    return count, broken
