"""Every test run lives in namespaces of its own, and no test may leave anything behind.

As root, the whole pytest process moves into a fresh network namespace and a fresh mount namespace with an empty /run
before the first test, so that nothing a test sends or makes can meet the machine's own network or a running lab. A
worker of pytest-xdist is such a process, so that workers do not meet either.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from gwlbemu.fastpath.build import available, cache_folder
from gwlbemu.lab import up

CLONE_NEWNS, CLONE_NEWNET, MS_REC, MS_PRIVATE = 0x00020000, 0x40000000, 0x4000, 1 << 18
NETNS = Path("/run/netns")
MARK = "GWLBEMU_TEST_RUN"  # in the environment of whatever a test starts, also where it has a mount view of its own
LONG = {"test_drill.py", "test_differential.py", "test_fleet.py", "test_choice.py"}

# The same examples in every run, and no time limit for one: a run does not fail by chance or on a busy machine.
# `--hypothesis-profile=explore` looks for new examples.
settings.register_profile("suite", derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("explore", deadline=None, suppress_health_check=[HealthCheck.too_slow], database=None)
settings.load_profile("suite")


def isolate() -> None:
    """Move this process into a fresh network namespace, and a fresh mount namespace with an empty /run."""
    libc = ctypes.CDLL(None, use_errno=True)

    def check(result: int, what: str) -> None:
        if result != 0:
            raise OSError(ctypes.get_errno(), f"{what}: {os.strerror(ctypes.get_errno())}")

    check(libc.unshare(CLONE_NEWNS | CLONE_NEWNET), "unshare")
    check(libc.mount(b"none", b"/", None, MS_REC | MS_PRIVATE, None), "make / private")
    check(libc.mount(b"tmpfs", b"/run", b"tmpfs", 0, b"mode=755"), "mount an empty /run")


def pytest_configure(config: pytest.Config) -> None:
    up.fresh_secret = lambda: "tests"  # type: ignore[attr-defined]  # the labs of the tests choose alike in every run
    if os.geteuid() == 0:
        isolate()
        os.environ[MARK] = str(os.getpid())
        # Labs are called as in a run of one process: what is one worker's, no other can see.
        os.environ.pop("PYTEST_XDIST_WORKER", None)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    # Workers take file after file: those that take half a minute come first, so that none is alone with one at the end.
    items.sort(key=lambda item: item.path.name not in LONG)
    if os.geteuid() != 0:
        skip = pytest.mark.skip(reason="needs root: namespaces")
        for item in items:
            if item.get_closest_marker("namespace"):
                item.add_marker(skip)


@contextmanager
def _machine(*, alone: bool) -> Iterator[None]:
    """Hold the machine against the other workers of this run: shared, or alone. The lock is on this file."""
    lock = os.open(__file__, os.O_RDONLY)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX if alone else fcntl.LOCK_SH)
        yield
    finally:
        os.close(lock)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    with _machine(alone=item.get_closest_marker("alone") is not None):
        return (yield)


def _namespaces() -> set[str]:
    return set(os.listdir(NETNS)) if NETNS.exists() else set()


def _children() -> set[str]:
    return set(Path(f"/proc/self/task/{os.getpid()}/children").read_text().split())


def _strays() -> set[str]:
    """Processes in our mount namespace, or begun with our mark: a daemon that a test forgot, whoever its parent is."""
    named = {path.stat().st_ino for path in NETNS.iterdir()} if NETNS.exists() else set()
    ours, mark = os.readlink("/proc/self/ns/mnt"), f"{MARK}={os.environ[MARK]}".encode()
    found = set()
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                zombie = (entry / "stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"
                marked = mark in (entry / "environ").read_bytes().split(b"\0")
                words = (entry / "cmdline").read_text().replace("\0", " ")
                # An init belongs to a lab that is up, from the first command in an instance on.
                of_a_lab = words.startswith("gwlbemu-init") and (entry / "ns/net").stat().st_ino in named
                if not zombie and not of_a_lab and (marked or os.readlink(entry / "ns/mnt") == ours):
                    found.add(f"{entry.name} {words}")
            except OSError:
                continue
    return found


def _files() -> set[str]:
    links = set()
    for fd in os.listdir("/proc/self/fd"):
        try:
            links.add(f"{fd} {os.readlink(f'/proc/self/fd/{fd}')}")
        except OSError:
            continue
    return {link for link in links if "/proc/" not in link}


@pytest.fixture(autouse=True)
def leaves_nothing_behind(request: pytest.FixtureRequest) -> Iterator[None]:
    """Fail a test that leaves a namespace, a process or an open file.

    Daemons are looked for where one can be made: reading all of /proc twice for each pure test would take most of
    their time.
    """
    looks: dict[str, Callable[[], set[str]]] = {"children": _children, "open files": _files}
    if request.node.get_closest_marker("namespace"):
        looks |= {"namespaces": _namespaces, "processes": _strays}
    before = {what: look() for what, look in looks.items()}
    yield
    for what, look in looks.items():
        left = look() - before[what]
        assert not left, f"the test left {what}: {sorted(left)}"


@pytest.fixture(scope="session")
def fast_path() -> None:
    """Skip, with the reason that a user would be given, where there is no fast path."""
    reason = available(cache_folder())
    assert not (reason or "").startswith("clang:"), f"a program is broken: {reason}"
    if reason is not None:
        pytest.skip(reason)
