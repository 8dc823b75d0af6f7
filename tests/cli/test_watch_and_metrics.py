"""`gwlbemu watch` and `gwlbemu metrics` on a lab that is up, the former at a terminal too."""

from __future__ import annotations

import json
import os
import pty
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from gwlbemu.cli.main import main
from gwlbemu.lab.failure import fail, heal
from gwlbemu.lab.running import RunningLab
from gwlbemu.lab.up import up
from gwlbemu.net.namespaces import path_of
from gwlbemu.net.remove import down
from gwlbemu.topology.plan.resolve import load
from gwlbemu.views.waiting import wait_until_healthy
from tests.inside import run_inside
from tests.paths import TOPOLOGIES
from tests.waiting import PATIENCE, wait_until

pytestmark = pytest.mark.namespace
MINIMAL = TOPOLOGIES / "minimal.yaml"
COMMAND = [sys.executable, "-m", "gwlbemu.cli.main"]


@pytest.fixture(scope="module")
def lab() -> Iterator[RunningLab]:
    plan = load(MINIMAL.read_text(), "minimal.yaml")
    try:
        running = up(plan)
        assert wait_until_healthy(running, PATIENCE) == []
        yield running
    finally:
        down(plan.lab)


def curl() -> None:
    assert run_inside(path_of("minimal-client"), ["curl", "-s", "-o", "/dev/null", "http://203.0.113.10/"]) == 0


def test_one_frame_shows_the_target_and_the_flow_that_just_was(
    lab: RunningLab, capsys: pytest.CaptureFixture[str]
) -> None:
    curl()
    assert main(["watch", "--once", "--interval", "0.3"]) == 0
    shown = capsys.readouterr().out
    assert "targets healthy 1/1" in shown
    assert "> 10.0.1.10:80" in shown
    assert "\x1b" not in shown


def test_a_frozen_node_is_shown_at_once_and_not_waited_for(lab: RunningLab, capsys: pytest.CaptureFixture[str]) -> None:
    fail(lab, "process", "inspect-node-a")
    try:
        started = time.monotonic()
        assert main(["watch", "--once", "--interval", "0.2"]) == 0
        assert main(["metrics"]) == 1
        assert time.monotonic() - started < 25  # a control socket is given 30 s to answer
    finally:
        heal(lab, "process", "inspect-node-a")
    shown, said = capsys.readouterr()
    assert said.startswith("! inspect-node-a is frozen; its log is /run/gwlbemu/minimal/logs/inspect-node-a.log")
    assert "! process inspect-node-a is broken on purpose" in shown
    assert "! inspect-node-a is frozen" in shown


@pytest.mark.parametrize("key", [b"q", b"\x03"], ids=["q", "ctrl-c"])
def test_at_a_terminal_it_draws_until_a_key_and_gives_the_terminal_back(lab: RunningLab, key: bytes) -> None:
    pid, fd = pty.fork()
    if pid == 0:
        os.environ["TERM"] = "xterm"
        os.execv(COMMAND[0], [*COMMAND, "watch", "--interval", "0.2"])
    status: int | None = None
    try:
        drawn = _read(fd, b"targets healthy")
        os.write(fd, key)
        drawn += _read(fd, b"\x1b[?1049l")  # xterm: back from the alternate screen
        (status,) = wait_until(lambda: [code for ended, code in [os.waitpid(pid, os.WNOHANG)] if ended])
    finally:
        if status is None:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
        os.close(fd)
    assert b"\x1b[?1049h" in drawn
    assert os.waitstatus_to_exitcode(status) == 0


def _read(fd: int, until: bytes) -> bytes:
    found, give_up_at = b"", time.monotonic() + PATIENCE
    while until not in found:
        assert time.monotonic() < give_up_at, found
        if select.select([fd], [], [], 0.1)[0]:
            found += os.read(fd, 65536)
    return found


def test_watch_without_a_terminal_is_refused(lab: RunningLab) -> None:
    done = subprocess.run([*COMMAND, "watch"], capture_output=True, text=True, stdin=subprocess.DEVNULL)
    assert done.returncode == 2
    assert "--once" in done.stderr


@pytest.mark.contract("TG-14")
def test_metrics_of_a_request_stand_under_awss_names_and_dimensions(
    lab: RunningLab, capsys: pytest.CaptureFixture[str]
) -> None:
    curl()
    assert main(["metrics", "--json"]) == 0
    points = json.loads(capsys.readouterr().out)
    dimension = next(point["dimensions"]["LoadBalancer"] for point in points)
    kind, name, number = dimension.split("/")
    assert (kind, name, len(bytes.fromhex(number))) == ("gateway", "inspect", 8)
    found = {(point["metric"], *point["dimensions"]): point["statistics"] for point in points}
    assert found["NewFlowCount", "LoadBalancer"]["Sum"] >= 1
    assert found["ProcessedBytes", "AvailabilityZone", "LoadBalancer"]["Sum"] > 0
    assert found["HealthyHostCount", "AvailabilityZone", "LoadBalancer", "TargetGroup"] == {"Minimum": 1, "Maximum": 1}


def test_metrics_are_served_on_a_unix_socket_while_the_lab_is_up_and_sigterm_ends_it(
    lab: RunningLab, tmp_path: Path
) -> None:
    path = tmp_path / "m.sock"
    server = subprocess.Popen([*COMMAND, "metrics", "--serve", str(path)], stderr=subprocess.DEVNULL)
    try:
        curl_it = ["curl", "-sS", "--unix-socket", str(path), "http://minimal/metrics"]
        text = wait_until(lambda: subprocess.run(curl_it, capture_output=True, text=True).stdout)
        listening = subprocess.run(["ss", "-Hltn"], capture_output=True, text=True, check=True).stdout
        server.terminate()
        assert server.wait(PATIENCE) == 0
    finally:
        server.kill()
        server.wait()
    assert 'gwlbemu_node_up{availability_zone="a",node="inspect-node-a"} 1.0' in text
    assert listening == ""  # no port of the namespace that we are in
    assert not path.exists()


def test_a_path_that_cannot_be_listened_on_is_an_error_by_itself(lab: RunningLab, tmp_path: Path) -> None:
    path = tmp_path / "nowhere" / "m.sock"
    done = subprocess.run([*COMMAND, "metrics", "--serve", str(path)], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (5, "")
    assert done.stderr == f"gwlbemu: cannot listen on {path}: No such file or directory\n"
