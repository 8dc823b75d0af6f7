"""A tiny run in real namespaces: packets go through, and nothing is left. No speed is asserted."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from gwlbemu.bench import loads, tools
from gwlbemu.bench.labs import MeasuredPath, PathLabs, path_labs
from gwlbemu.bench.loads import Flows
from gwlbemu.bench.results import Results
from gwlbemu.bench.session import Effort, Session
from gwlbemu.cli.main import main
from gwlbemu.errors import LabError
from gwlbemu.fastpath.build import available, compile_object
from gwlbemu.net.record import list_labs

pytestmark = pytest.mark.namespace
PYTHON_SENDER = [sys.executable, "-m", "gwlbemu.bench.sender"]
TINY = Effort(rounds=1, seconds=0.1, tcp_seconds=1, echoes=20)


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[PathLabs]:
    reflector = None if available(tmp_path) else compile_object(tmp_path)
    with path_labs(reflector, lambda _: None) as found:
        yield found
    assert list_labs() == []


def frames(way: MeasuredPath) -> dict[str, int]:
    assert way.node is not None
    return {port["name"]: port["frames_in"] for port in way.lab.call(way.node, "status")["ports"]}


def send(way: MeasuredPath, sender: list[str], count: int = 200) -> loads.Delivered:
    return loads.packets(way.ends, sender, Flows(10), seconds=3, rate=5000, count=count)


def test_a_load_reaches_the_server_through_the_node_and_is_counted_there(opened: PathLabs) -> None:
    way = opened.open("python")
    assert way is not None
    sent = send(way, PYTHON_SENDER)
    assert (sent.offered, sent.delivered) == (200, 200)
    assert frames(way) == {"vpce": 200, "eni": 200}
    assert way.known() == 10


@pytest.mark.skipif(shutil.which("gcc") is None, reason="no gcc")
def test_both_senders_send_the_same_flows(opened: PathLabs, tmp_path: Path) -> None:
    way = opened.open("python")
    assert way is not None
    for sender in (PYTHON_SENDER, tools.sender(tmp_path)):
        assert send(way, sender).delivered == 200
    assert way.known() == 10  # the second sender's flows are the first one's


@pytest.mark.parametrize("name", ["hops", "vxlan"])
def test_a_kernel_path_goes_through_the_appliance(opened: PathLabs, name: str) -> None:
    way = opened.open(name)
    assert way is not None, opened.missing
    appliance = way.ends.server.replace("server", "appliance")

    before, _ = loads.received(appliance)
    assert send(way, PYTHON_SENDER).delivered == 200
    assert loads.received(appliance)[0] - before >= 200
    assert loads.round_trip(way.ends, count=5) > 0


def test_a_plain_path_has_no_node_in_it(opened: PathLabs) -> None:
    way = opened.open("plain")
    assert way is not None
    assert send(way, PYTHON_SENDER).delivered == 200
    assert frames(way) == {"vpce": 0, "eni": 0}


def test_an_experiment_fills_the_series_of_every_path_there_is(opened: PathLabs, tmp_path: Path) -> None:
    results = Results()
    Session(opened, PYTHON_SENDER, TINY, results, tmp_path, lambda _: None).run("round-trip")
    measured = results.series["round-trip"]
    assert {"plain", "hops", "vxlan", "python"} <= set(measured)
    assert all(len(values) == 1 and values[0] > 0 for values in measured.values())
    assert set(measured) | set(opened.missing) >= {"ovs", "fast"}


def test_somebody_elses_lab_of_that_name_is_left_alone(opened: PathLabs) -> None:
    assert opened.open("plain") is not None
    with path_labs(None, lambda _: None) as second, pytest.raises(LabError, match="bench-plain is up already"):
        second.open("plain")
    assert list_labs() == ["bench-plain"]


def test_a_figure_that_does_not_exist_is_refused_before_anything_is_built(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "--only", "colour"]) == 2
    assert "no figure colour" in capsys.readouterr().err


def test_an_earlier_result_that_is_none_is_refused_first(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "old.json").write_text("{}")
    assert main(["bench", "--compare", str(tmp_path / "old.json")]) == 3
    assert "not a result" in capsys.readouterr().err


def test_the_command_prints_and_keeps_what_it_measured(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, restored_sigterm: None
) -> None:
    monkeypatch.setattr("gwlbemu.bench.session.QUICK", TINY)
    words = ["--quick", "--only", "round-trip", "--json", str(tmp_path / "new.json"), "--plot", str(tmp_path / "plots")]
    assert main(["bench", *words]) == 0
    assert "added round-trip time" in capsys.readouterr().out
    kept = Results.from_json((tmp_path / "new.json").read_text())
    assert kept.series["round-trip"]["plain"]
    assert (tmp_path / "plots" / "round-trip.svg").read_text().startswith("<svg")
    assert list_labs() == []


@pytest.mark.namespace
@pytest.mark.parametrize("words", [("--json", "/nowhere/x.json"), ("--plot", "/proc/nowhere")])
def test_results_that_could_not_be_written_are_not_measured(
    words: tuple[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["bench", "--only", "lab-up", *words]) == 3
    assert capsys.readouterr().err == f"gwlbemu: {words[1]}: No such file or directory\n"
