"""Text of packets, captures, topology files and appliances commands no terminal and forges no line."""

from __future__ import annotations

import json
import re
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest
from rich.text import Text

from gwlbemu.capture.pcapng import enhanced_packet, interface_description, section_header
from gwlbemu.cli.common import echo, name_silent, table
from gwlbemu.cli.main import main
from gwlbemu.cli.watch_view import Section, _table
from gwlbemu.errors import plain, plain_lines
from gwlbemu.lab.running import Process, RunningLab
from gwlbemu.views import appliance_logs
from gwlbemu.views.appliance_logs import ApplianceLogs, LoggedFlow
from gwlbemu.views.last_words import last_words
from gwlbemu.wire.udp import build_udp

HOSTILE = "x\x1b]0;owned\x07\x1b[2J\x9b31m\u202eevil\u2066\r\nforged: line\x08\x7f\x00\ud800\u2028"
FORBIDDEN = {each for each in HOSTILE if not each.isprintable()}


def harmless(printed: str, *, lines: int | None = None) -> None:
    assert not set(printed) & (FORBIDDEN - {"\n"}), repr(printed)
    assert lines is None or printed.rstrip("\n").count("\n") + 1 == lines, printed


def test_what_is_not_printable_is_escaped_and_the_rest_is_left_alone() -> None:
    assert plain(HOSTILE).isprintable()
    assert plain("\x1b[2Ja\u202eb\n") == "\\x1b[2Ja\\u202eb\\n"
    for usual in ("", "a b", "schön, 日本, 🙂", "C:\\path"):
        assert plain(usual) == usual
    assert plain_lines("one\ntwo\x1b") == "one\ntwo\\x1b"
    plain(HOSTILE).encode()


def test_what_the_verbs_print_is_plain(capsys: pytest.CaptureFixture[str]) -> None:
    """status, targets and flows print tables, doctor and drill and the others `echo`, who is silent is named."""
    echo(table([[HOSTILE, "b"]], ["A", "B"]))
    echo(HOSTILE.replace("\n", ""))
    name_silent([HOSTILE])
    said = capsys.readouterr()
    harmless(said.out, lines=3)
    harmless(said.err, lines=1)


def test_no_verb_prints_text_past_echo() -> None:
    """A new line of output has to choose: `echo`, or a reason to be in this list."""
    folder = Path(main.__code__.co_filename).parent
    past = {
        path.stem: len(re.findall(r"\b(?:click\.echo|say)\(", path.read_text()))
        for path in folder.glob("*.py")
        if path.stem not in ("output", "common", "main", "bench", "watch", "reach")
    }
    assert set(past.values()) == {0}, past


def capture(folder: Path) -> Path:
    file = folder / "hostile.pcapng"
    packet = bytes(12) + b"\x08\x00" + build_udp(bytes([10, 0, 0, 1]), bytes([10, 0, 0, 2]), 5, 53, b"q")
    name = HOSTILE.replace("\ud800", "").replace("\x00", "")
    file.write_bytes(section_header() + interface_description(name) + enhanced_packet(0, 1, packet, comments=[name]))
    return file


@pytest.mark.parametrize("options", [[], ["--json"], ["--journeys"]], ids=["lines", "json", "journeys"])
def test_inspect(tmp_path: Path, capsys: pytest.CaptureFixture[str], options: list[str]) -> None:
    assert main(["inspect", *options, str(capture(tmp_path))]) == 0
    printed = capsys.readouterr().out
    harmless(printed.replace("\x7f", "") if options == ["--json"] else printed)
    assert "forged" in printed
    assert not any(line.startswith("forged") for line in printed.splitlines())


def test_a_topology_that_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "hostile.yaml"
    file.write_text(f"lab: {json.dumps(HOSTILE)}\nvpcs: {json.dumps([{'name': HOSTILE, HOSTILE: 5}])}\n")
    for verb in (["plan", str(file)], ["doctor", str(file)]):
        assert main(verb) != 0
        said = capsys.readouterr()
        harmless(said.out + said.err)


def test_a_name_that_nothing_has(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    missing = tmp_path / HOSTILE.replace("\x00", "").replace("\ud800", "")
    for verb in (["plan", str(missing)], ["inspect", str(missing)], ["status", "--lab", HOSTILE]):
        assert main(verb) != 0
        said = capsys.readouterr()
        harmless(said.out + said.err)


@pytest.mark.parametrize("words", [["labs", HOSTILE], ["status", f"--{HOSTILE}"], [HOSTILE]])
def test_a_command_line_that_is_not_understood(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main([word.replace("\n", "") for word in words]) == 2
    harmless(capsys.readouterr().err)


def test_watch() -> None:
    lines = _table(Section(("A", "B"), (((HOSTILE, "bold"), ("b", "")),), 4, frozenset()), 10, 80)
    for line in cast(list[Text], list(lines)):
        harmless(line.plain, lines=1)


def test_the_last_words_of_a_dead_process(tmp_path: Path) -> None:
    log = tmp_path / "web.log"
    log.write_bytes(HOSTILE.encode(errors="surrogatepass") + b"\xff\x1b[0m")
    words = last_words(cast(Process, SimpleNamespace(state="dead", log=str(log))))
    assert words
    harmless(words, lines=1)


def test_what_inject_says_of_an_appliances_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "logs").mkdir()
    decisions = tmp_path / "logs" / "fw.jsonl"
    state = SimpleNamespace(folder=tmp_path, decisions=lambda name: decisions, all_decisions=list)
    plan = SimpleNamespace(namespaces=(), programs=(), instances=(), interfaces=())
    logs = ApplianceLogs(cast(RunningLab, SimpleNamespace(state=state, plan=plan)))
    flow = {
        "protocol": "udp",
        "source": "10.0.0.1",
        "destination": "10.0.0.2",
        "source_port": 5,
        "destination_port": 53,
    }
    decisions.write_text(json.dumps({"rule": HOSTILE, "action": "deny", "flow": flow}) + "\n")
    monkeypatch.setattr(appliance_logs, "owner_of", lambda plan, target: None)
    sentence = logs.sentence("fw", LoggedFlow(17, "10.0.0.1", 5, "10.0.0.2", 53))
    assert "dropped it: rule x" in sentence
    harmless(sentence, lines=1)
