"""The life of labs on a real machine: killed at any moment, taken down, brought up twice, side by side."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from gwlbemu import Lab
from gwlbemu.cli.main import main
from gwlbemu.errors import LabError
from gwlbemu.net.record import list_labs, read
from gwlbemu.net.remove import down
from tests.lab.oracles import curl
from tests.lab.worlds import world
from tests.paths import TOPOLOGIES
from tests.waiting import PATIENCE, wait_until

pytestmark = pytest.mark.namespace

GWLBEMU = [sys.executable, "-m", "gwlbemu.cli.main"]
FILE = str(TOPOLOGIES / "two-zones.yaml")


@pytest.fixture
def keeps_sigterm() -> Iterator[None]:
    """`up` takes SIGTERM over for its process, which is ours here."""
    handler = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, handler)


def namespaces() -> list[str]:
    return os.listdir("/run/netns") if Path("/run/netns").exists() else []


def pid_of(lab: Lab, name: str) -> int:
    return next(process.pid for process in lab.status().processes if process.name == name)


@pytest.mark.parametrize("entries", [0, 12, 25, 28, 37])
def test_an_up_that_is_killed_at_any_moment_leaves_nothing_that_down_does_not_remove(
    entries: int, capsys: pytest.CaptureFixture[str], keeps_sigterm: None
) -> None:
    """`entries` is how much the lab owned when `up` was killed: 25 namespaces, then 12 processes."""
    up = subprocess.Popen([*GWLBEMU, "up", "--no-capture", FILE], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    record = Path("/run/gwlbemu/two-zones/record.jsonl")
    try:
        while not record.exists() or record.read_text().count("\n") < entries:
            assert up.poll() is None
    finally:
        up.kill()
        up.wait()
    assert main(["up", "--no-capture", FILE]) == 4
    assert "gwlbemu down --lab two-zones" in capsys.readouterr().err
    assert main(["down"]) == 0
    assert (namespaces(), list_labs()) == ([], [])


@pytest.mark.parametrize("delay", [0.0, 0.3])
def test_an_up_that_is_asked_to_end_takes_back_what_it_made(delay: float) -> None:
    up = subprocess.Popen([*GWLBEMU, "up", "--no-capture", FILE], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    record = Path("/run/gwlbemu/two-zones/record.jsonl")
    try:
        while not record.exists():
            assert up.poll() is None
        time.sleep(delay)  # any moment will do
        up.terminate()
        up.wait(PATIENCE)
    finally:
        up.kill()
        up.wait()
    # Until the last process is started it unwinds; after that the lab is there, whole, and `down` removes it.
    if list_labs():
        assert len(read("two-zones").processes) == 12
        down("two-zones")
    assert (namespaces(), list_labs()) == ([], [])


@pytest.mark.topology(FILE, capture=False)
def test_a_node_that_is_killed_is_shown_as_dead_and_the_other_zone_goes_on(
    lab: Lab, capsys: pytest.CaptureFixture[str]
) -> None:
    os.kill(pid_of(lab, "firewall-node-a"), signal.SIGKILL)
    wait_until(lambda: {p.name: p.state for p in lab.status().processes}["firewall-node-a"] == "dead")
    assert main(["status"]) == 1
    text = capsys.readouterr().out
    assert "! firewall-node-a is dead" in text
    (dead,) = [node for node in lab.status().nodes if node.error]
    assert dead.name == "firewall-node-a"
    assert curl(lab, "http://203.0.113.10/", seconds=1) == 28
    assert curl(lab, "http://203.0.113.11/") == 0
    for words in (["targets"], ["flows"], ["metrics"], ["inject", "--to", "web-b", "--tcp", "80"]):
        assert main(words) == 1
        said = capsys.readouterr()
        assert "! firewall-node-a" in said.err
        assert "firewall-node-b" in said.out or "ZONE b" in said.out or "vpce-fw-b" in said.out
    (fate,) = lab.inject(destination="web-a", tcp=80)
    assert fate.why.startswith("no node that answers saw it; firewall-node-a is dead; its log is /run/gwlbemu/")
    with pytest.raises(LabError, match="firewall-node-a is dead"):
        lab.advance(1)


@pytest.mark.topology(world(), capture=False)
def test_an_appliance_that_is_killed_comes_back_when_it_is_healed(lab: Lab, capsys: pytest.CaptureFixture[str]) -> None:
    lab.fail("process", "fw")
    assert main(["status"]) == 1
    assert "! fw is frozen; its log is /run/gwlbemu/world-test/logs/fw.log\n" in capsys.readouterr().out
    os.kill(pid_of(lab, "fw"), signal.SIGKILL)
    wait_until(lambda: {p.name: p.state for p in lab.status().processes}["fw"] == "dead")
    assert main(["status"]) == 1
    assert "! fw is dead; its log is /run/gwlbemu/world-test/logs/fw.log\n" in capsys.readouterr().out
    with pytest.raises(LabError, match=r"fw is dead.*gwlbemu heal --lab world-test instance fw starts it again"):
        lab.heal("process", "fw")
    assert curl(lab, seconds=0.7) == 28
    lab.heal("instance", "fw")
    lab.wait_until(lambda: curl(lab, seconds=3) == 0, timeout=PATIENCE)
    assert {p.name: p.state for p in lab.status().processes}["fw"] == "running"
    assert main(["status"]) == 0


@pytest.mark.topology(world(), capture=False)
def test_a_second_up_of_the_same_lab_is_refused_and_the_first_goes_on(lab: Lab) -> None:
    second = Lab(lab.plan, capture=False)
    with pytest.raises(LabError, match="already there"):
        second.up()
    second.down()
    assert curl(lab) == 0


def test_two_labs_run_side_by_side_and_the_end_of_one_leaves_the_other_alone() -> None:
    with Lab(world(), name="one", capture=False) as one:
        with Lab(world(), name="other", capture=False) as other:
            assert curl(one) == curl(other) == 0
            assert list_labs() == ["one", "other"]
            assert main(["status"]) == 4  # which?
            assert main(["status", "--lab", "one"]) == 0
        assert list_labs() == ["one"]
        assert curl(one) == 0
        assert all(name.startswith("one-") for name in namespaces())


def test_a_lab_with_strangers_in_its_namespaces_still_goes_away() -> None:
    with Lab(world(), capture=False) as lab:
        stranger = lab.spawn("client", ["sleep", "1000"])
        assert main(["down"]) == 0
        assert stranger.wait().code in (137, 143)
    assert (namespaces(), list_labs()) == ([], [])


def test_an_appliance_that_ends_at_once_is_told_at_once_with_its_last_words(
    keeps_sigterm: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rule = 'alert tcp any any -> any 80 (msg:"m"; pcre:"/x/"; sid:1;)'
    file = tmp_path / "pcre.yaml"
    file.write_text(world(program={"ids": {"rules": rule}}))
    started = time.monotonic()
    try:
        assert main(["up", "--no-capture", "--wait", "300", str(file)]) == 1
        assert time.monotonic() - started < 100
        (line,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("! fw is dead")]
        assert "pcre" in line
        assert line.endswith("; see /run/gwlbemu/world/logs/fw.log")
    finally:
        down("world")


def test_an_up_that_fails_leaves_nothing() -> None:
    text = world(program={"command": ["/no/such/program"]})
    with pytest.raises(Exception, match="no/such/program"), Lab(text, capture=False):
        pass
    assert (namespaces(), list_labs()) == ([], [])
