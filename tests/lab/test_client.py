"""Commands inside a namespace of a lab: what they print, how they end, and what is refused."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from gwlbemu.errors import LabError, NetError, SettingError, UnknownNameError
from gwlbemu.lab import client
from gwlbemu.lab.client import Client, Completed
from gwlbemu.lab.running import RunningLab
from gwlbemu.lab.state import State
from gwlbemu.net import namespaces, record
from gwlbemu.net.inside import in_fresh_namespace
from gwlbemu.net.record import OwnedNamespace
from gwlbemu.net.remove import down
from gwlbemu.topology.plan.resolve import load
from tests.lab.worlds import world
from tests.waiting import wait_until

pytestmark = pytest.mark.namespace


@pytest.fixture
def lab() -> Iterator[RunningLab]:
    """A lab of which the client's namespace is there, and nothing else."""
    plan = load(world(), "here")
    namespaces.prepare_directory()
    with record.open_new(plan.lab) as opened, in_fresh_namespace():
        identity = namespaces.current_identity()
        opened.add(OwnedNamespace("world-client", identity.inode, identity.cookie))
        namespaces.name_current("world-client")
    try:
        yield RunningLab(plan, State(plan.lab))
    finally:
        down(plan.lab)


@contextmanager
def started(lab: RunningLab, *argv: str, directory: Path | None = None) -> Iterator[Client]:
    running = client.start(lab, "client", argv, directory=directory)
    try:
        yield running
    finally:
        running.kill()


def test_a_command_runs_in_the_namespace_of_its_instance(lab: RunningLab) -> None:
    there = client.execute(lab, "client", ["readlink", "/proc/self/ns/net"], timeout=60)
    assert there.code == 0
    assert there.stdout.strip() != os.readlink("/proc/self/ns/net")
    with started(lab, "readlink", "/proc/self/ns/net") as running:
        assert running.wait(60) == there


def test_the_last_whole_line_is_read_from_the_end(lab: RunningLab) -> None:
    script = "import sys; print('a' * 100_000); print('é' * 50_000); print('unfinished', end='', flush=True); input()"
    with started(lab, "sh", "-c", 'exec "$0" -c "$1" < /dev/zero', sys.executable, script) as running:
        wait_until(lambda: running.output().endswith("unfinished"))
        assert running.last_line() == "é" * 50_000
        running.kill()
        assert running.last_line() == "é" * 50_000
    with started(lab, "printf", "one") as running:
        running.wait(60)
        assert running.last_line() == ""


def test_input_output_errors_and_the_exit_code_are_all_there(lab: RunningLab) -> None:
    done = client.execute(lab, "client", ["sh", "-c", "cat; echo oops >&2; exit 3"], timeout=60, stdin="given")
    assert done == Completed(3, "given", "oops\n")
    assert client.execute(lab, "client", ["sh", "-c", "kill -9 $$"], timeout=60).code == 128 + signal.SIGKILL


def test_what_takes_too_long_is_killed_and_its_output_told(lab: RunningLab) -> None:
    with pytest.raises(LabError, match=r"^sh in client still ran after 0.3 s; it printed: 'half"):
        client.execute(lab, "client", ["sh", "-c", "echo half; exec sleep 1000"], timeout=0.3)


def test_a_started_command_has_no_input_and_can_be_read_while_it_runs(lab: RunningLab, tmp_path: Path) -> None:
    fifo = tmp_path / "go"
    os.mkfifo(fifo)
    with started(lab, "sh", "-c", f"cat; echo before; echo oops >&2; cat {fifo}") as running:
        with fifo.open("w") as go:  # opens when the other side has come as far as that
            assert (running.output(), running.errors(), running.running) == ("before\n", "oops\n", True)
            go.write("after\n")
        done = running.wait(60)
        assert done == Completed(0, "before\nafter\n", "oops\n")
        assert not running.running
        assert (running.output(), running.errors()) == (done.stdout, done.stderr)
        assert running.wait() == done


def test_a_command_that_goes_on_can_be_waited_for_again_and_be_killed(lab: RunningLab) -> None:
    with started(lab, "sleep", "1000") as running:
        with pytest.raises(LabError, match=r"^sleep in client still runs after 0.1 s$"):
            running.wait(0.1)
        assert running.running
        assert os.readlink(f"/proc/{running.pid}/ns/net") != os.readlink("/proc/self/ns/net")
        assert running.kill(signal.SIGTERM).code == 128 + signal.SIGTERM
        assert running.kill().code == 128 + signal.SIGTERM


def test_a_command_may_be_given_its_working_directory(lab: RunningLab, tmp_path: Path) -> None:
    with started(lab, "pwd", directory=tmp_path) as running:
        assert running.wait(60).stdout == f"{tmp_path}\n"
    with started(lab, "pwd") as running:
        assert running.wait(60).stdout == f"{Path.cwd()}\n"


def test_names_programs_and_words_that_there_are_none_of_are_refused(lab: RunningLab) -> None:
    with pytest.raises(UnknownNameError, match=r"^nothing called nobody in lab world; there are: .*client"):
        client.execute(lab, "nobody", ["true"], timeout=60)
    with pytest.raises(NetError, match=r"^cannot run no-such-program in client: No such file"):
        client.execute(lab, "client", ["no-such-program"], timeout=60)
    with pytest.raises(NetError, match=r"^cannot start no-such-program in client: No such file"):
        client.start(lab, "client", ["no-such-program"])
    for words in ("curl -s x", [], ["sleep", 1]):
        with pytest.raises(SettingError, match="expected a list of words"):
            client.start(lab, "client", words)  # type: ignore[arg-type]
