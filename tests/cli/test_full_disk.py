"""A disk that is full, in a lab that runs: what is refused changes nothing, what runs goes on."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gwlbemu.errors import NetError
from gwlbemu.lab import failure
from gwlbemu.lab.running import open_lab
from gwlbemu.net.namespaces import DIRECTORY
from gwlbemu.net.record import ROOT, list_labs
from tests.paths import TOPOLOGIES
from tests.small_disk import full, small_disk
from tests.waiting import wait_until

pytestmark = pytest.mark.namespace

FIREWALL = "{firewall: {default: allow, rules: [{name: no-telnet, action: deny, protocol: tcp, ports: 23}]}}"
TEXT = (TOPOLOGIES / "minimal.yaml").read_text().replace(
    "program: passthrough}]",
    f"program: {FIREWALL}}}, {{name: fw2, subnet: appliances, address: 10.254.1.12, program: passthrough}}]",
)  # fmt: skip


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("topology") / "minimal.yaml"
    path.write_text(TEXT)
    return path


@pytest.fixture
def disk(gwlbemu: Any, file: Path) -> Iterator[Path]:
    """A lab whose state is on a small disk."""
    with small_disk(ROOT, size=32 << 20) as folder:
        try:
            assert gwlbemu("up", str(file)).code == 0
            yield folder
        finally:
            assert gwlbemu("down").code == 0
            assert list_labs() == []


def written(disk: Path) -> dict[str, bytes]:
    """Everything in the state folder that only commands write."""
    folder = disk / "minimal"
    paths = [*folder.glob("*"), *folder.glob("programs/*")]
    return {str(path): path.read_bytes() for path in paths if path.is_file()}


CURL = ("exec", "client", "--", "curl", "-s", "-m", "5", "-o", "/dev/null", "http://203.0.113.10/")
CHANGES = [
    ("register", "firewalls", "fw2"), ("deregister", "firewalls", "fw"),
    ("set", "inspect", "tcp.idle_timeout.seconds=400"), ("set", "firewalls", "stickiness.enabled=true"),
    ("fail", "health", "fw"), ("fail", "link", "web"), ("fail", "zone", "a"), ("fail", "process", "fw"),
    ("fail", "instance", "fw"),
]  # fmt: skip
TELNETS = """
import socket
for port in range(400):
    with socket.socket() as client:
        client.setblocking(False)
        client.connect_ex(("203.0.113.10", 23))
"""


def test_no_change_is_made_on_a_full_disk_and_all_of_them_afterwards(gwlbemu: Any, disk: Path) -> None:
    before, targets = written(disk), gwlbemu("targets", "--json").json
    processes = gwlbemu("status", "--json").json["processes"]
    with full(disk):
        for words in CHANGES:
            said = gwlbemu(*words)
            assert (words, said.code, said.out) == (words, 5, "")
            assert said.err.count("\n") == 1
            assert "cannot be written: No space left on device; nothing was changed" in said.err
        assert written(disk) == before
        assert [(t["id"], t["state"]) for t in gwlbemu("targets", "--json").json] == [
            (t["id"], t["state"]) for t in targets
        ]
        status = gwlbemu("status", "--json").json
        assert (status["processes"], status["failures"], status["interrupted"]) == (processes, [], False)
        assert gwlbemu(*CURL).code == 0
    for words in CHANGES:
        assert gwlbemu(*words).code == 0, words
        for kind, name in (words[1:] for _ in range(words[0] == "fail")):
            assert gwlbemu("heal", kind, name).code == 0
        if words[0] == "deregister":
            gwlbemu("register", "firewalls", "fw")


def test_what_is_broken_stays_broken_when_healing_cannot_be_written(gwlbemu: Any, disk: Path) -> None:
    for kind, name in (("health", "fw"), ("link", "web"), ("instance", "fw")):
        assert gwlbemu("fail", kind, name).code == 0
    failures = gwlbemu("status", "--json").json["failures"]
    before = written(disk)
    with full(disk):
        for kind, name in (("link", "web"), ("instance", "fw")):
            said = gwlbemu("heal", kind, name)
            assert (said.code, said.err.count("\n")) == (5, 1)
        assert gwlbemu("status", "--json").json["failures"] == failures
        assert gwlbemu("exec", "web", "--", "ping", "-c1", "-W1", "10.0.1.1").code == 1
    assert written(disk) == before
    for kind, name in (("link", "web"), ("instance", "fw")):
        assert gwlbemu("heal", kind, name).code == 0
    assert gwlbemu("status", "--json").json["failures"] == []


def test_what_cannot_be_healed_whole_is_as_broken_as_before(
    gwlbemu: Any, disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert gwlbemu("fail", "instance", "fw").code == 0

    def refuse(*_: object) -> None:
        raise NetError("no room for a program")

    with monkeypatch.context() as patched:
        patched.setattr(failure, "start_program", refuse)
        said = gwlbemu("heal", "instance", "fw")
    assert (said.code, said.err) == (5, "gwlbemu: no room for a program\n")
    assert gwlbemu("status", "--json").json["failures"] == [{"kind": "instance", "name": "fw"}]
    healed = gwlbemu("heal", "instance", "fw").out
    assert "plugged in" in healed
    assert "program of fw started again" in healed


def test_up_on_a_full_disk_leaves_nothing(gwlbemu: Any, disk: Path, file: Path) -> None:
    names = set(os.listdir(DIRECTORY))
    with full(disk):
        said = gwlbemu("up", str(file), "--lab", "second")
        assert (said.code, said.out, said.err.count("\n")) == (5, "", 1)
        assert "No space left on device" in said.err
        assert list_labs() == ["minimal"]
        assert set(os.listdir(DIRECTORY)) == names


def test_the_firewall_and_the_capture_outlive_a_full_disk_and_count_what_they_lost(gwlbemu: Any, disk: Path) -> None:
    decisions = open_lab().state.decisions("fw")
    with full(disk):
        gwlbemu("exec", "client", "--", sys.executable, "-c", TELNETS)

        def counted() -> bool:
            status = gwlbemu("status", "--json").json
            lost = {each["appliance"]: each["failed"] for each in status["lost_lines"]}
            return bool(lost.get("fw", 0) > 0 and status["capture"]["unwritten"] > 0)

        wait_until(counted, "what was lost is counted")
        status = gwlbemu("status")
        assert "! the log of fw lacks 0 lines over its rate and" in status.out
        assert "! the disk had no room for" in status.out
        assert gwlbemu(*CURL).code == 0
    assert all(json.loads(line) for line in decisions.read_text().splitlines())
    assert gwlbemu("inspect", "--last", "--limit", "3").code == 0
    assert {each["state"] for each in gwlbemu("status", "--json").json["processes"]} == {"running"}
