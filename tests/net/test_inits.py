"""What runs in an instance: it sees and reaches nothing but its own, and ends with its init."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from gwlbemu.errors import NetError
from gwlbemu.fastpath.build import cache_folder
from gwlbemu.net import namespaces, processes, record, remove
from gwlbemu.net.inits import ensure_init, living, start_init, within
from gwlbemu.net.inside import in_fresh_namespace
from gwlbemu.net.processes import ProcessId
from gwlbemu.net.record import Entry, OwnedInit, OwnedNamespace, Record
from gwlbemu.net.spawn import spawn
from tests.waiting import PATIENCE, wait_until

pytestmark = pytest.mark.namespace
# Daemons of every kind: a session of its own; network, mount and pid namespaces of its own; no parent.
STRAYS = (
    "exec >/dev/null 2>&1; setsid sleep 1000 & unshare -n sleep 1001 & unshare -n -m -p -f sleep 1002 &"
    " (setsid setsid sleep 1003 &) &"
)


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[Record]:
    """A lab of one empty namespace, `place`, with a folder for what is to be seen in there."""
    namespaces.prepare_directory()
    root = Path("/run/gwlbemu")
    lab = record.open_new("lab", root=root)
    (lab.folder / "own").mkdir()
    (lab.folder / "secret").touch()
    with in_fresh_namespace():
        identity = namespaces.current_identity()
        lab.add(OwnedNamespace("place", identity.inode, identity.cookie))
        namespaces.name_current("place")
    try:
        yield lab
    finally:
        lab.close()
        remove.down("lab", root=root, grace=0.5)


def start(lab: Record) -> OwnedInit:
    return ensure_init(lab, "place", own=lab.folder / "own", cache=cache_folder())


def run(init: OwnedInit, script: str) -> str:
    with within(init) as joined:
        done = subprocess.Popen(["sh", "-c", script], stdout=subprocess.PIPE, text=True, preexec_fn=joined.enter)
    with done:
        return done.communicate(timeout=PATIENCE)[0]


def alive(seconds: int) -> list[int]:
    """The processes that sleep for so many seconds, wherever they are."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                words = (entry / "cmdline").read_bytes().split(b"\0")
                ours = f"GWLBEMU_TEST_RUN={os.getpid()}".encode() in (entry / "environ").read_bytes()
            except OSError:
                continue
            if ours and words[:2] == [b"sleep", str(seconds).encode()]:
                found.append(int(entry.name))
    return found


def test_there_is_one_init_and_it_stands_in_the_record(opened: Record) -> None:
    first = start(opened)
    assert start(opened) == first == living(opened.contents(), "place")
    assert opened.contents().inits == (first,)
    processes.end_inits([first.id])
    assert living(opened.contents(), "place") is None
    assert start(opened) != first


def test_the_view_has_the_own_folder_and_no_other_of_the_labs(opened: Record) -> None:
    (opened.folder / "own" / "file").touch()
    seen = run(start(opened), "cd /run; find . -type f -o -type s; ls; ls /sys/class/net")
    assert seen.split() == ["./gwlbemu/lab/own/file", "gwlbemu", "lo"]
    assert (opened.folder / "secret").exists()


def test_the_view_has_a_bpf_file_system_of_its_own_where_iproute2_looks_for_one(opened: Record) -> None:
    """A machine's is hidden by the view's /sys and still in its list of mounts; without another no program loads."""
    subprocess.run(["mount", "-t", "bpf", "bpf", "/sys/fs/bpf"], check=True)  # the mount namespace is the tests' own
    try:
        Path("/sys/fs/bpf/secret").mkdir()
        kind, *names = run(start(opened), "stat -f -c %T /sys/fs/bpf; ls /sys/fs/bpf").split()
        assert (kind, "secret" in names) == ("bpf_fs", False)
    finally:
        subprocess.run(["umount", "/sys/fs/bpf"], check=True)


def test_init_knows_whether_anything_runs_beside_it(opened: Record) -> None:
    init = start(opened)
    assert not processes.has_children(init.id)
    run(init, "sleep 1004 >/dev/null 2>&1 &")
    wait_until(lambda: processes.has_children(init.id))
    processes.end_inits([init.id])
    wait_until(lambda: not processes.has_children(init.id))


def test_what_the_view_mounts_is_not_seen_outside_and_keeps_no_namespace_alive(opened: Record, tmp_path: Path) -> None:
    before = Path("/proc/self/mountinfo").read_text()
    init = start(opened)
    run(init, f"mount -t tmpfs none {tmp_path}")
    assert Path("/proc/self/mountinfo").read_text() == before
    assert "/run/netns" not in Path(f"/proc/{init.pid}/mountinfo").read_text()


def test_processes_outside_are_neither_seen_nor_signalled(opened: Record) -> None:
    init = start(opened)
    seen = run(init, "ls /proc | grep -x '[0-9]*' | sort -n | head -1; ls /proc | grep -cx '[0-9]*'").split()
    assert seen[0] == "1"
    assert int(seen[1]) < 12
    innocent = subprocess.Popen(["sleep", "1000"])
    try:
        assert "refused" in run(init, f"kill -9 {innocent.pid} 2>/dev/null || echo refused")
        assert "gwlbemu-init" in run(init, "cat /proc/1/cmdline; kill -9 1")
        assert innocent.poll() is None
        assert processes.state(init.id) == "running"
    finally:
        innocent.kill()
        innocent.wait()


def test_a_program_of_the_instance_is_in_there_too_and_leaves_no_zombie(opened: Record, tmp_path: Path) -> None:
    init, log = start(opened), tmp_path / "log"
    entry = spawn(
        opened, "x", ["sh", "-c", "echo ppid $PPID; exec sleep 1000"],
        namespace=namespaces.path_of("place"), log=log, init=init,
    )  # fmt: skip
    wait_until(lambda: "ppid 1" in log.read_text())
    assert os.readlink(f"/proc/{entry.pid}/ns/pid") == os.readlink(f"/proc/{init.pid}/ns/pid")
    assert os.readlink(f"/proc/{entry.pid}/ns/mnt") == os.readlink(f"/proc/{init.pid}/ns/mnt")
    processes.end([entry.id], grace=0)
    wait_until(lambda: not Path(f"/proc/{entry.pid}").exists())
    assert "still there" in run(init, "echo still there")


def test_everything_ends_with_init(opened: Record) -> None:
    init = start(opened)
    run(init, STRAYS)
    wait_until(lambda: all(alive(number) for number in (1000, 1001, 1002, 1003)))
    processes.end_inits([init.id])
    wait_until(lambda: not any(alive(number) for number in (1000, 1001, 1002, 1003)))
    with pytest.raises(NetError, match="is dead"), within(init):
        pass


def test_an_init_that_ends_while_somebody_joins_it_is_told_as_that(
    opened: Record, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The kernel's own words are "no such process"."""
    really, init = processes.open_handle, start(opened)

    def ends_just_then(process: ProcessId) -> int | None:
        handle = really(process)
        assert handle is not None
        signal.pidfd_send_signal(handle, signal.SIGKILL)
        wait_until(lambda: processes.has_ended(handle))
        return handle

    monkeypatch.setattr(processes, "open_handle", ends_just_then)
    place = namespaces.path_of("place")
    with pytest.raises(NetError, match=r"cannot start mine: the init of its instance has just ended, and everything"):
        spawn(opened, "mine", ("sleep", "60"), namespace=place, log=tmp_path / "log", init=init)
    monkeypatch.setattr(processes, "open_handle", really)
    again = start_init(opened, "place", own=None, cache=tmp_path)
    monkeypatch.setattr(processes, "open_handle", ends_just_then)
    with pytest.raises(NetError, match="cannot enter place: its init has just ended"), within(again):
        pass


def test_down_ends_what_hides_in_nested_namespaces(opened: Record) -> None:
    run(start(opened), STRAYS)
    wait_until(lambda: all(alive(number) for number in (1000, 1001, 1002, 1003)))
    opened.close()
    remove.down("lab", root=opened.folder.parent, grace=PATIENCE)
    wait_until(lambda: not any(alive(number) for number in (1000, 1001, 1002, 1003)))
    assert not namespaces.path_of("place").exists()


def test_down_does_not_wait_for_a_parent_that_does_not_look(opened: Record) -> None:
    with within(start(opened)) as joined:
        unseen = subprocess.Popen(["sleep", "1000"], preexec_fn=joined.enter)
    opened.close()
    try:
        remove.down("lab", root=opened.folder.parent)
        assert opened.contents().namespaces == ()
    finally:
        assert unseen.wait(PATIENCE) == -signal.SIGKILL


class DiesBeforeWriting(Record):
    def add(self, entry: Entry) -> None:
        os.kill(os.getpid(), signal.SIGKILL)


def test_no_init_is_left_when_its_starter_dies_before_the_record(opened: Record) -> None:
    child = os.fork()
    if child == 0:
        try:
            start(DiesBeforeWriting("lab", opened.folder, -1))
        finally:
            os._exit(1)
    assert os.WTERMSIG(os.waitpid(child, 0)[1]) == signal.SIGKILL
    owned = opened.contents()
    assert owned.inits == ()
    wait_until(lambda: not remove.inhabitants(owned.namespaces))


def test_without_a_compiler_python_does_it(opened: Record, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda _: None)
    init = ensure_init(opened, "place", own=None, cache=tmp_path)
    assert list(tmp_path.iterdir()) == []
    # An orphan becomes init's child, and init takes notice of its end.
    orphan = run(init, "(sh -c 'echo $$; exec sleep 0.1' &) | head -1").strip()
    assert orphan.isdecimal()
    wait_until(lambda: run(init, f"test -e /proc/{orphan} || echo gone") == "gone\n")


def test_the_caller_is_home_again(opened: Record) -> None:
    links = ("/proc/thread-self/ns/net", "/proc/thread-self/ns/mnt", "/proc/thread-self/ns/pid_for_children")
    init = start(opened)  # the first child's namespaces are not the caller's
    before = [os.readlink(link) for link in links]
    run(init, "true")
    with pytest.raises(ZeroDivisionError), within(init):
        raise ZeroDivisionError
    assert [os.readlink(link) for link in links] == before
