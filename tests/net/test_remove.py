"""Whatever happened, `down` leaves an empty machine, and it never touches what is not the lab's."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from gwlbemu.errors import LabError, NetError
from gwlbemu.net import namespaces, processes, record, remove
from gwlbemu.net.build import build
from gwlbemu.net.record import OwnedNamespace, OwnedProcess
from gwlbemu.net.spawn import spawn
from gwlbemu.topology.plan.encode import to_json
from gwlbemu.topology.plan.values import Plan
from tests.net.net_plans import links_here, run, small_plan
from tests.waiting import PATIENCE, wait_until

pytestmark = pytest.mark.namespace
Up = Callable[..., Plan]
STEPS = 24  # of the small plan: 5 namespaces made and named, 5 with their bridges, 4 links, 5 configured


class Injected(Exception):
    """The failure a test asks for."""


def names() -> list[str]:
    return sorted(path.name for path in namespaces.DIRECTORY.iterdir()) if namespaces.DIRECTORY.exists() else []


def stop_at(step: int, stop: Callable[[], object]) -> Callable[[str], None]:
    seen = []

    def on_step(what: str) -> None:
        seen.append(what)
        if len(seen) == step:
            stop()

    return on_step


def fail() -> None:
    raise Injected


def runs_inside(process: subprocess.Popen[bytes], program: str) -> bool:
    """Whether `ip netns exec` has entered the namespace and become the program."""
    folder = Path(f"/proc/{process.pid}")
    entered = os.readlink(folder / "ns/net") != os.readlink("/proc/self/ns/net")
    return entered and (folder / "comm").read_text() == f"{program}\n"


def test_the_build_has_the_steps_that_are_broken_below(root: Path) -> None:
    seen: list[str] = []
    with record.open_new("small", root=root) as opened:
        build(small_plan(), opened, on_step=seen.append)
    remove.down("small", root=root)
    assert len(seen) == STEPS


@pytest.mark.parametrize("step", range(1, STEPS + 1))
def test_a_failure_at_any_step_unwinds_to_nothing(root: Path, step: int) -> None:
    before = links_here()
    with record.open_new("small", root=root) as opened, pytest.raises(Injected):
        build(small_plan(), opened, on_step=stop_at(step, fail))
    assert names() == []
    remove.down("small", root=root)
    assert record.list_labs(root=root) == []
    assert links_here() == before


@pytest.mark.parametrize("step", range(1, STEPS + 1))
def test_down_clears_up_after_a_build_killed_at_any_step(root: Path, step: int) -> None:
    before = links_here()
    child = os.fork()
    if child == 0:
        try:
            opened = record.open_new("small", root=root)
            build(small_plan(), opened, on_step=stop_at(step, lambda: os.kill(os.getpid(), signal.SIGKILL)))
        finally:
            os._exit(1)
    _, status = os.waitpid(child, 0)
    assert os.WTERMSIG(status) == signal.SIGKILL
    assert remove.down("small", root=root).was_there
    assert names() == []
    assert record.list_labs(root=root) == []
    assert links_here() == before


def test_down_works_twice_and_needs_only_the_record(up: Up, root: Path) -> None:
    up()
    first = remove.down("small", root=root)
    assert len(first.namespaces) == 5
    assert remove.down("small", root=root) == remove.Removed(was_there=False)


@pytest.mark.parametrize("survivors", range(1, 6))
def test_down_finishes_what_a_killed_down_began(up: Up, root: Path, survivors: int) -> None:
    """The first was killed with so many namespaces left, one of which has lost its mount but not yet its name."""
    up()
    owned = record.read("small", root=root).namespaces
    for entry in owned[survivors:]:
        namespaces.remove(entry.name, entry.identity)
    subprocess.run(("umount", namespaces.path_of(owned[0].name)), check=True)
    remove.down("small", root=root)
    assert names() == []
    assert record.list_labs(root=root) == []


def test_a_lab_can_be_built_again_at_once(up: Up, root: Path) -> None:
    up()
    remove.down("small", root=root)
    up()
    assert "1 received" in run("small-east-host", "ping", "-c", "1", "-W", "30", "10.0.2.10")


def test_a_folder_without_a_record_is_cleared(root: Path) -> None:
    (root / "small").mkdir(parents=True)
    assert remove.down("small", root=root).was_there
    assert record.list_labs(root=root) == []


def test_the_placeholder_of_a_name_that_was_never_mounted_goes_too(root: Path) -> None:
    namespaces.prepare_directory()
    with record.open_new("small", root=root) as opened:
        opened.add(OwnedNamespace("small-east", 1, 2))
        namespaces.path_of("small-east").touch(mode=0)
    remove.down("small", root=root)
    assert names() == []


def test_a_foreign_namespace_with_a_planned_name_is_refused_and_stays(root: Path) -> None:
    subprocess.run(("ip", "netns", "add", "small-west"), check=True)
    try:
        foreign = namespaces.identity_of(namespaces.path_of("small-west"))
        with record.open_new("small", root=root) as opened, pytest.raises(NetError, match="small-west exists already"):
            build(small_plan(), opened)
        remove.down("small", root=root)
        assert names() == ["small-west"]
        assert namespaces.identity_of(namespaces.path_of("small-west")) == foreign
    finally:
        subprocess.run(("ip", "netns", "del", "small-west"), check=True)


def test_a_namespace_that_took_a_recorded_name_over_stays(up: Up, root: Path) -> None:
    up()
    subprocess.run(("ip", "netns", "del", "small-west"), check=True)
    subprocess.run(("ip", "netns", "add", "small-west"), check=True)
    try:
        assert "small-west" not in remove.down("small", root=root).namespaces
        assert names() == ["small-west"]
    finally:
        subprocess.run(("ip", "netns", "del", "small-west"), check=True)


def test_recorded_processes_are_ended_even_when_frozen_or_deaf(up: Up, root: Path) -> None:
    plan = up()
    with record.open_existing("small", root=root) as opened:
        deaf = ("sh", "-c", "trap '' TERM; echo deaf; while :; do sleep 1; done")
        place, log = namespaces.path_of(plan.namespaces[0].name), root / "small" / "log"
        entries = [
            spawn(opened, "meek", ("sleep", "600"), namespace=place, log=log),
            spawn(opened, "frozen", ("sleep", "600"), namespace=place, log=log),
            spawn(opened, "deaf", deaf, namespace=place, log=log),
        ]
    wait_until(lambda: log.read_text() == "deaf\n")
    processes.freeze(entries[1].id)
    removed = remove.down("small", root=root, grace=0.3)
    assert {entry.id for entry in entries} <= set(removed.processes)
    assert [processes.state(entry.id) for entry in entries] == ["dead"] * 3


def test_a_process_that_only_sits_in_a_namespace_of_the_lab_is_ended_too(up: Up, root: Path) -> None:
    up()
    stray = subprocess.Popen(("ip", "netns", "exec", "small-east-host", "sleep", "600"))
    try:
        wait_until(lambda: runs_inside(stray, "sleep"))
        removed = remove.down("small", root=root, grace=PATIENCE)
        assert [process.pid for process in removed.processes] == [stray.pid]
        assert stray.wait(PATIENCE) == -signal.SIGTERM
    finally:
        stray.kill()
        stray.wait()


def test_a_reused_pid_is_never_ended(root: Path) -> None:
    innocent = subprocess.Popen(("sleep", "600"))
    try:
        with record.open_new("small", root=root) as opened:
            found = processes.identify(innocent.pid)
            assert found is not None
            opened.add(OwnedProcess("node", "small-x", found.pid, found.started - 1))
        assert remove.down("small", root=root).processes == ()
        assert innocent.poll() is None
    finally:
        innocent.kill()
        innocent.wait()


def test_a_namespace_that_was_given_a_dead_ones_inode_is_left_alone(root: Path) -> None:
    subprocess.run(("ip", "netns", "add", "foreign"), check=True)
    stranger = subprocess.Popen(("ip", "netns", "exec", "foreign", "sleep", "600"))
    try:
        wait_until(lambda: runs_inside(stranger, "sleep"))
        foreign = namespaces.identity_of(namespaces.path_of("foreign"))
        assert foreign is not None
        with record.open_new("small", root=root) as opened:
            opened.add(OwnedNamespace("foreign", foreign.inode, foreign.cookie - 1))
        assert remove.down("small", root=root) == remove.Removed(was_there=True)
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()
        subprocess.run(("ip", "netns", "del", "foreign"), check=True)


def test_the_other_lab_stays(up: Up, root: Path) -> None:
    up("one")
    up("two")
    remove.down("one", root=root)
    assert record.list_labs(root=root) == ["two"]
    assert "1 received" in run("two-east-host", "ping", "-c", "1", "-W", "30", "10.0.2.10")


def test_the_capture_can_be_kept(root: Path, tmp_path: Path) -> None:
    with record.open_new("small", root=root) as opened:
        (opened.folder / "capture").mkdir()
        (opened.folder / "capture" / "lab.pcapng").write_bytes(b"frames")
    remove.down("small", root=root, keep_capture=tmp_path / "kept")
    assert (tmp_path / "kept" / "lab.pcapng").read_bytes() == b"frames"
    assert record.list_labs(root=root) == []


def test_down_does_not_break_into_a_build(root: Path) -> None:
    with record.open_new("small", root=root), pytest.raises(LabError, match="being changed by another command"):
        remove.down("small", root=root, timeout=0.05)
    assert record.list_labs(root=root) == ["small"]
    remove.down("small", root=root)


@pytest.mark.parametrize("damage", [b"", b"\xff\xfe junk\n", b"7\n"], ids=["emptied", "binary", "no entry"])
def test_a_damaged_record_is_named_and_nothing_is_taken_for_gone(root: Path, up: Up, damage: bytes) -> None:
    plan = up()
    file = root / "small" / "record.jsonl"
    (root / "small" / "plan.json").write_text(to_json(plan))
    good = file.read_bytes()
    file.write_bytes(damage)
    for _ in range(2):
        with pytest.raises(NetError, match=f"{file} is damaged: it does not name small-fabric, small-east"):
            remove.down("small", root=root)
    assert len(names()) == 5
    file.write_bytes(good)
    assert len(remove.down("small", root=root).namespaces) == 5
