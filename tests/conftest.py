"""Every test run lives in namespaces of its own, and no test may leave anything behind.

As root, the whole pytest process moves into a fresh network namespace and a fresh mount namespace with an empty /run
before the first test, so that nothing a test sends or makes can meet the machine's own network or a running lab. A
worker of pytest-xdist is such a process, so that workers do not meet either.
"""

from __future__ import annotations

import fcntl
import os
import signal
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from gwlbemu.fastpath.build import available, cache_folder
from gwlbemu.lab import up
from tests.machine import isolate, namespaces, strays

LONG = {"test_drill.py", "test_differential.py", "test_fleet.py", "test_choice.py", "test_torture.py"}

# The same examples in every run, and no time limit for one: a run does not fail by chance or on a busy machine.
# `--hypothesis-profile=explore` looks for new examples.
settings.register_profile("suite", derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("explore", deadline=None, suppress_health_check=[HealthCheck.too_slow], database=None)
settings.load_profile("suite")


def pytest_configure(config: pytest.Config) -> None:
    # A run in the background (`make test &`, nohup) is started with these ignored, and would hand that on to the verbs.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    up.fresh_secret = lambda: "tests"  # type: ignore[attr-defined]  # the labs of the tests choose alike in every run
    if os.geteuid() == 0:
        isolate()
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


def _children() -> set[str]:
    return set(Path(f"/proc/self/task/{os.getpid()}/children").read_text().split())


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
        looks |= {"namespaces": namespaces, "processes": strays}
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
