"""What a lab may take of the machine: logs that stay small, limits of its processes that bite, a capture that died."""

from __future__ import annotations

import os
import resource
import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from gwlbemu import Lab
from gwlbemu.net.limits import LIMITS
from gwlbemu.ports.logfile import KEPT, LARGEST
from tests.lab.worlds import world
from tests.waiting import wait_until

pytestmark = pytest.mark.namespace

TALKER = """
import os, signal
signal.signal(signal.SIGUSR1, lambda *_: os.write(1, bytes(9 << 20) + b"last words"))
print("ready", flush=True)
while True:
    signal.pause()
"""
HUNGRY = """
import signal
got = []
def eat(*_):
    try:
        while True:
            got.append(bytearray(64 << 20))
    except MemoryError:
        size = len(got) * 64
        got.clear()
        print(f"refused after {size} MiB", flush=True)
signal.signal(signal.SIGUSR1, eat)
print("ready", flush=True)
while True:
    signal.pause()
"""


def lab_with(program: str, **options: Any) -> Lab:
    data = yaml.safe_load(world())
    data["internet"]["instances"].append(
        {"name": "guest", "address": "198.51.100.77", "program": {"command": ["{python}", "-c", program]}}
    )
    return Lab(yaml.safe_dump(data, sort_keys=False), **options)


def kick(lab: Lab, name: str, number: signal.Signals = signal.SIGUSR1) -> None:
    wait_until(lambda: "ready" in lab.log(name), f"{name} is ready")
    os.kill(pid_of(lab, name), number)


def pid_of(lab: Lab, name: str) -> int:
    (pid,) = (process.pid for process in lab.running.processes() if process.name == name)
    return pid


@pytest.mark.parametrize("capture", [True, False], ids=["with a capture", "without"])
def test_what_a_program_prints_stays_small_and_its_last_words_are_kept(capture: bool) -> None:
    with lab_with(TALKER, capture=capture) as lab:
        log = lab.running.state.log("guest")
        kick(lab, "guest")
        older = log.with_name("guest.log.1")
        wait_until(lambda: older.exists() and older.read_bytes().endswith(b"last words"), "the log was cut")
        assert log.stat().st_size < LARGEST
        assert older.stat().st_size == KEPT


@pytest.fixture(scope="module")
def hungry() -> Iterator[Lab]:
    with lab_with(HUNGRY) as lab:
        yield lab


def limit(pid: int, name: str) -> list[str]:
    (line,) = (line for line in Path(f"/proc/{pid}/limits").read_text().splitlines() if line.startswith(name))
    return line.removeprefix(name).split()[:2]


def test_every_process_of_a_lab_has_its_limits(hungry: Lab) -> None:
    for process in hungry.running.processes():
        soft, hard = limit(process.pid, "Max data size")
        assert int(soft) <= int(hard) == LIMITS[resource.RLIMIT_DATA][1], process.name
        assert int(limit(process.pid, "Max open files")[0]) == LIMITS[resource.RLIMIT_NOFILE][0], process.name
        assert limit(process.pid, "Max core file size")[0] == "0"


def test_what_is_run_in_an_instance_has_the_limits_too_and_they_bite(hungry: Lab) -> None:
    most = LIMITS[resource.RLIMIT_DATA][0]
    eat = f"import resource as r; print(r.getrlimit(r.RLIMIT_CORE)[0], flush=True); bytearray({most} + (1 << 20))"
    done = hungry.exec("client", [sys.executable, "-c", eat])
    assert done.stdout == "0\n"
    assert done.stderr.strip().endswith("MemoryError")
    command = [sys.executable, "-m", "gwlbemu", "exec", "--lab", hungry.name, "client", "--", sys.executable, "-c", eat]
    done_there = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done_there.stdout == "0\n"
    assert done_there.stderr.strip().endswith("MemoryError")


def test_no_process_leaves_the_cgroup_of_its_starter(hungry: Lab) -> None:
    own = Path("/proc/self/cgroup").read_text()
    assert {Path(f"/proc/{each.pid}/cgroup").read_text() for each in hungry.running.processes()} == {own}


def test_the_limit_of_memory_bites_and_the_others_go_on(hungry: Lab) -> None:
    """With a limit that is lowered from outside, so that the test itself takes little."""
    pid = pid_of(hungry, "guest")
    resource.prlimit(pid, resource.RLIMIT_DATA, (300 << 20, LIMITS[resource.RLIMIT_DATA][1]))
    kick(hungry, "guest")
    wait_until(lambda: "refused after" in hungry.log("guest"), "the program was refused memory")
    refused_at = int(hungry.log("guest").rpartition("after ")[2].split()[0])
    assert 0 < refused_at <= 300
    assert hungry.exec("client", ["curl", "-s", "-m", "5", "http://203.0.113.10/"]).code == 0


def test_inspect_says_that_the_capture_died(hungry: Lab, gwlbemu: Any) -> None:
    assert gwlbemu("inspect", "--last").err == ""
    fd = os.pidfd_open(pid_of(hungry, "capture"))
    try:
        signal.pidfd_send_signal(fd, signal.SIGKILL)
        assert select.select([fd], [], [], 20)[0]
    finally:
        os.close(fd)
    said = gwlbemu("inspect", "--last")
    assert said.code == 1
    assert said.err.startswith("! the capture is dead: its files end where it died; its log is ")
