"""Processes of the lab: recorded before they run, on their own, inside their namespace."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from gwlbemu.errors import NetError
from gwlbemu.net import namespaces, processes, record, remove
from gwlbemu.net.inside import in_fresh_namespace, inside
from gwlbemu.net.record import Entry, OwnedNamespace, Record
from gwlbemu.net.spawn import spawn
from tests.inside import run_inside
from tests.waiting import PATIENCE, wait_until

pytestmark = pytest.mark.namespace


@pytest.fixture
def opened(root: Path) -> Iterator[Record]:
    """A lab that holds one empty namespace, `place`."""
    namespaces.prepare_directory()
    lab = record.open_new("lab", root=root)
    with in_fresh_namespace():
        identity = namespaces.current_identity()
        lab.add(OwnedNamespace("place", identity.inode, identity.cookie))
        namespaces.name_current("place")
    try:
        yield lab
    finally:
        lab.close()
        remove.down("lab", root=root, grace=0.5)


def wait_for(log: Path, text: str) -> str:
    wait_until(lambda: text in (log.read_text() if log.exists() else ""), repr(text))
    return log.read_text()


def test_a_process_runs_in_its_namespace_on_its_own(opened: Record, tmp_path: Path) -> None:
    log = tmp_path / "log"
    show = (
        "readlink /proc/self/ns/net /proc/$$/fd/0; echo ppid $PPID; ls /proc/$$/fd; echo $MARK; echo done >&2; sleep 60"
    )
    environment = {"PATH": os.environ["PATH"], "MARK": "marked"}
    place = namespaces.path_of("place")
    with (tmp_path / "open").open("w") as stray:
        os.set_inheritable(stray.fileno(), True)
        entry = spawn(opened, "show", ("sh", "-c", show), namespace=place, log=log, environment=environment)
    lines = wait_for(log, "done").split("\n")
    assert lines[0] == f"net:[{place.stat().st_ino}]"
    assert lines[1] == "/dev/null"
    assert lines[2] != f"ppid {os.getpid()}"
    assert lines[3:6] == ["0", "1", "2"]
    assert lines[6] == "marked"
    assert os.getsid(entry.pid) == entry.pid != os.getsid(0)
    assert processes.state(entry.id) == "running"


def test_it_is_in_the_record_before_its_first_instruction(opened: Record, tmp_path: Path) -> None:
    look = f"cat {opened.folder}/record.jsonl; exec sleep 60"
    log = tmp_path / "log"
    entry = spawn(opened, "look", ("sh", "-c", look), namespace=namespaces.path_of("place"), log=log)
    assert f'"pid": {entry.pid}, "started": {entry.started}' in wait_for(log, "look")
    assert opened.contents().processes == (entry,)


class DiesBeforeWriting(Record):
    def add(self, entry: Entry) -> None:
        os.kill(os.getpid(), signal.SIGKILL)


def test_it_never_runs_when_its_starter_dies_before_the_record(opened: Record, tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    child = os.fork()
    if child == 0:
        try:
            dying = DiesBeforeWriting("lab", opened.folder, -1)
            spawn(dying, "x", ("touch", str(mark)), namespace=namespaces.path_of("place"), log=tmp_path / "log")
        finally:
            os._exit(1)
    _, status = os.waitpid(child, 0)
    assert os.WTERMSIG(status) == signal.SIGKILL
    owned = opened.contents().namespaces
    wait_until(lambda: not remove.inhabitants(owned))
    assert not mark.exists()


def test_a_program_that_is_not_there_is_named(opened: Record, tmp_path: Path) -> None:
    with pytest.raises(NetError, match="cannot start probe: no-such-program: No such file"):
        spawn(opened, "probe", ("no-such-program",), namespace=namespaces.path_of("place"), log=tmp_path / "log")


def test_a_namespace_that_is_not_there_is_named(opened: Record, tmp_path: Path) -> None:
    with pytest.raises(NetError, match="cannot enter network namespace /run/netns/nowhere"):
        spawn(opened, "probe", ("true",), namespace=namespaces.path_of("nowhere"), log=tmp_path / "log")


def test_freeze_and_resume(opened: Record, tmp_path: Path) -> None:
    entry = spawn(opened, "x", ("sleep", "60"), namespace=namespaces.path_of("place"), log=tmp_path / "log")
    assert processes.freeze(entry.id)
    wait_until(lambda: processes.state(entry.id) == "frozen")
    assert processes.resume(entry.id)
    assert processes.state(entry.id) == "running"
    assert processes.end([entry.id], grace=PATIENCE) == [entry.id]
    assert not processes.freeze(entry.id)
    assert processes.state(entry.id) == "dead"


@pytest.mark.parametrize(
    ("argv", "code"),
    [(("true",), 0), (("sh", "-c", "exit 7"), 7), (("sh", "-c", "kill -9 $$"), 137)],
)
def test_the_foreground_gives_the_exit_code_back(opened: Record, argv: tuple[str, ...], code: int) -> None:
    assert run_inside(namespaces.path_of("place"), argv) == code


def test_the_foreground_runs_in_the_namespace(opened: Record, capfd: pytest.CaptureFixture[str]) -> None:
    run_inside(namespaces.path_of("place"), ("readlink", "/proc/self/ns/net"))
    assert capfd.readouterr().out == f"net:[{namespaces.path_of('place').stat().st_ino}]\n"


def test_the_thread_is_back_home_after_a_failure_inside(opened: Record) -> None:
    home = os.readlink("/proc/thread-self/ns/net")
    with pytest.raises(NetError, match="nowhere"), inside(namespaces.path_of("place")):
        run_inside(Path("/run/netns/nowhere"), ("true",))
    assert os.readlink("/proc/thread-self/ns/net") == home


def test_what_is_no_namespace_cannot_be_entered(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(NetError, match="cannot enter"), inside(tmp_path / "file"):
        pass


def test_a_stat_line_with_brackets_in_the_name_is_read(tmp_path: Path) -> None:
    odd = tmp_path / "a) S 1 (b"
    odd.symlink_to("/bin/sleep")
    process = subprocess.Popen((str(odd), "60"))
    try:
        found = processes.identify(process.pid)
        assert found is not None
        assert processes.state(found) == "running"
        assert processes.send_signal(found, signal.SIGTERM)
    finally:
        process.kill()
        process.wait()
