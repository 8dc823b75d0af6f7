"""Damaged files: what users write, and what labs keep. Each is refused in one sentence, or means nothing."""

from __future__ import annotations

import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from appliances.firewall import rules as firewall_rules
from appliances.ids import rules as ids_rules
from gwlbemu.capture.dissect import dissect
from gwlbemu.capture.reader import CaptureReader
from gwlbemu.errors import GwlbemuError
from gwlbemu.lab.running import RunningLab
from gwlbemu.lab.state import State
from gwlbemu.lab.up import up
from gwlbemu.net.record import open_new
from gwlbemu.topology.plan.resolve import load
from tests.cli.test_damaged_state import GOOD as STATE_FILES
from tests.cli.test_damaged_state import PIECES, PLAN, look
from tests.hostile_yaml import REFUSED
from tests.paths import ROOT, TOPOLOGIES
from tests.torture.tally import Tally
from tests.torture.worlds import GOOD_PROGRAMS, IDS_RULES, note_leftovers, topology

EACH = 30  # files of one kind in a round
SLOWEST = 20.0  # seconds for one file on a busy machine
POLICY = "default: deny\nrules:\n  - {name: web, action: allow, protocol: tcp, ports: 80-90, source: 10.0.0.0/8}\n"
YAML_PIECES = [*PIECES, "!!int x", "&a", "*a", "<<: ", "- ", "{", ": ", "2001-99-99", "\x1b[2J", "\t", "0x", "'", "|\n"]
KEPT = ("plan.json", "failures.json", "shortcuts.json", "record.jsonl", "plan.before", "topology.yaml", "directory")


def damaged(dice: random.Random, good: str) -> str:
    """Return the text with a few pieces put in, cut out or written twice."""
    text = good
    for _ in range(dice.choice((1, 1, 2, 5))):
        at = dice.randrange(len(text) + 1)
        over = dice.choice((0, 0, 1, 7, 40, len(text)))
        again = text[dice.randrange(len(text) + 1) :][: dice.choice((3, 30))]
        text = text[:at] + dice.choice((dice.choice(YAML_PIECES), again)) + text[at + over :]
    return text


def mangled(dice: random.Random, good: bytes) -> bytes:
    """Return the bytes with a few of them changed, or cut."""
    data = bytearray(good)
    for _ in range(dice.choice((1, 1, 3, 9))):
        data[dice.randrange(len(data))] = dice.randrange(256)
    return bytes(data[: dice.choice((len(data), dice.randrange(len(data))))])


@contextmanager
def files(tally: Tally) -> Iterator[Callable[[int], None]]:
    """Give a round of damaged files for every reader, and a lab whose state is damaged."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "root"
        open_new(PLAN.lab, root=root).close()
        lab = RunningLab(PLAN, State(PLAN.lab, root))
        lab.state.make_folders()

        def one_round(seed: int) -> None:
            dice = random.Random(seed)
            for name, good, reader in _readers(lab):
                for _ in range(EACH):
                    _try(tally, seed, name, reader, damaged(dice, good))
            capture = _capture(Path(folder))
            for _ in range(EACH):
                data = mangled(dice, capture)
                _try(tally, seed, "capture", _read_capture(Path(folder) / "damaged.pcapng"), data)
            _damage_a_lab(tally, seed, dice)

        yield one_round


Reader = Callable[[str], object]


def _readers(lab: RunningLab) -> Iterator[tuple[str, str, Reader]]:
    for path in sorted(TOPOLOGIES.glob("*.yaml")):
        yield path.name, path.read_text(), lambda text: load(text, "f.yaml")
    for name, text, _ in REFUSED:
        if len(text) < 10_000:
            yield f"yaml: {name}", text, lambda text: load(text, "f.yaml")
    yield "firewall rules", POLICY, lambda text: firewall_rules.parse(text, "rules.yaml")
    yield "ids rules", IDS_RULES, lambda text: ids_rules.parse(text, "ids.rules")
    for name, good in STATE_FILES.items():
        yield name, good, _state_reader(lab, name)


def _state_reader(lab: RunningLab, name: str) -> Reader:
    def read(text: str) -> None:
        path = lab.state.folder / name
        path.write_bytes(text.encode(errors="surrogatepass"))
        try:
            look(lab, name)
        finally:
            path.write_text(STATE_FILES[name])

    return read


def _capture(folder: Path) -> bytes:
    from gwlbemu.capture.pcapng import enhanced_packet, interface_description, section_header
    from tests.appliances.test_hostile import GOOD

    blocks = [section_header(), interface_description("eth0")]
    return b"".join([*blocks, *(enhanced_packet(0, 1, frame, comments=["told"]) for frame in GOOD)])


def _read_capture(path: Path) -> Callable[[bytes], None]:
    def read(data: bytes) -> None:
        path.write_bytes(data)
        with path.open("rb") as file:
            for captured in CaptureReader(file):
                dissect(captured)

    return read


def _try(
    tally: Tally, seed: int, name: str, reader: Callable[[str], object] | Callable[[bytes], object], data: str | bytes
) -> None:
    began = time.monotonic()
    try:
        reader(data)  # type: ignore[arg-type]
    except GwlbemuError as error:
        if not str(error).strip():
            tally.problem("files", seed, f"{name}: refused without a word")
    except Exception as error:
        tally.problem("files", seed, f"{name}: {type(error).__name__}: {error}: {data[:300]!r}")
    if time.monotonic() - began > SLOWEST:
        tally.problem("files", seed, f"{name}: took longer than {SLOWEST:g} s: {data[:300]!r}")
    tally.counts["files"] += 1


def _damage_a_lab(tally: Tally, seed: int, dice: random.Random) -> None:
    """Bring a lab up, damage one of its files, ask it this and that; `down` ends it, or says what it cannot know."""
    lab = up(load(topology(GOOD_PROGRAMS, lab="damaged"), "damaged.yaml"))
    name = dice.choice(KEPT)
    path = lab.state.folder / name
    good = path.read_bytes() if path.exists() else b"{}"
    path.write_bytes(mangled(dice, good))
    tally.counts["files"] += 1
    try:
        for words in (
            ("status",),
            ("targets",),
            ("set", "firewalls", "stickiness.enabled=true"),
            ("fail", "link", "fw"),
        ):
            _say(tally, seed, f"{name} damaged", (0, 1, 3, 4, 5), *words)
    finally:
        code = _say(tally, seed, f"{name} damaged", (0, 5) if name == "record.jsonl" else (0,), "down")
        if code != 0:  # the record does not name everything, which `down` has said: with a whole one it can
            path.write_bytes(good)
            _say(tally, seed, f"{name} mended", (0,), "down")
    note_leftovers(tally, "files", seed)


def _say(tally: Tally, seed: int, what: str, allowed: tuple[int, ...], *words: str) -> int:
    argv = [sys.executable, "-m", "gwlbemu", *words]
    done = subprocess.run(argv, capture_output=True, cwd=ROOT, timeout=120, check=False)
    said = done.stderr.decode(errors="replace")
    if done.returncode not in allowed or "Traceback" in said:
        tally.problem("files", seed, f"{what}: {words} ended with {done.returncode}: {said[-400:]}")
    return done.returncode
