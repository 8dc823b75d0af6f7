"""Test your own VPC design: a fixture `lab` and a marker `topology`, in every pytest run once gwlbemu is installed.

    @pytest.mark.topology("vpc.yaml")
    def test_telnet_is_denied(lab):
        assert lab.inject(tcp=23)[0].outcome == "not-returned"

The marker takes a path (beside the test file, or from pytest's root folder), the name of a topology that comes with
gwlbemu ("two-zones"), the text of a topology or a plan, and the options of `gwlbemu.Lab`. It may stand on a test, a
class or a module (`pytestmark`). Each test gets a fresh lab, called like the topology's with `-test` behind it (and the
worker's name under pytest-xdist), so that it never meets one that you are working with; Ctrl-C and SIGTERM take it
down, too. Root is needed, otherwise the test is skipped; nothing is made outside the lab's own namespaces. With
`scope="module"` the tests of a module that ask for the same topology share a lab (called `-module`), which lives until
the module's last test: what one of them leaves broken or changed, the next one meets.

What topology files expect (`expect:`) is tested, too, a test for each pair, when they are named in pytest's settings:

    [tool.pytest.ini_options]
    gwlbemu_topologies = ["design/*.yaml"]

By the path model, in a moment and without root; with `--gwlbemu-by-packets` or `gwlbemu_by_packets = true` by packets,
in a lab that lives while a file's tests are judged. A failure prints the packet's journey and what `explain` says.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from gwlbemu.errors import GwlbemuError, TopologyError
from gwlbemu.lab.topology_file import BUNDLED, bundled_names

if TYPE_CHECKING:
    from gwlbemu.public import Case, Expectations, Lab, Result

NEEDS_ROOT = "a lab needs root: network namespaces"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the settings for topology files that are tests themselves."""
    parser.addini("gwlbemu_topologies", "topology files (patterns) whose `expect:` is tested", type="args", default=[])
    parser.addini("gwlbemu_by_packets", "test `expect:` by packets in a lab (root)", type="bool", default=False)
    parser.getgroup("gwlbemu").addoption(
        "--gwlbemu-by-packets", action="store_true", help="test what topology files expect by packets in a lab (root)"
    )


def pytest_configure(config: pytest.Config) -> None:
    """Register the marker."""
    config.addinivalue_line(
        "markers",
        "topology(topology, scope='function', **options): the lab of this test: a path or text, and options of "
        "gwlbemu.Lab; with scope='module' the module's tests share it",
    )


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> pytest.Collector | None:
    """Collect the topology files that the setting names."""
    patterns = parent.config.getini("gwlbemu_topologies")
    if file_path.suffix in (".yaml", ".yml") and any(file_path.match(pattern) for pattern in patterns):
        return TopologyFile.from_parent(parent, path=file_path)
    return None


# ---- labs ----
@pytest.fixture
def lab(request: pytest.FixtureRequest, _module_labs: _Labs) -> Iterator[Lab]:
    """The lab that the test's `topology` marker asks for: up and healthy; taken down after the test, or the module."""
    marker = request.node.get_closest_marker("topology")
    if marker is None or len(marker.args) != 1:
        raise pytest.UsageError('the fixture `lab` needs a marker: @pytest.mark.topology("path or text", **options)')
    options = dict(marker.kwargs)
    scope = options.pop("scope", "function")
    if scope not in ("function", "module"):
        raise pytest.UsageError(f"the marker topology: scope {scope!r}: expected function or module")
    if os.geteuid() != 0:
        pytest.skip(NEEDS_ROOT)
    if scope == "module":
        yield _module_labs.get(marker.args[0], request, options)
        return
    with unwinding_on_sigterm(), _lab_of(marker.args[0], request, "test", **options) as lab:
        yield lab


@pytest.fixture(scope="module")
def _module_labs() -> Iterator[_Labs]:
    """The labs that the tests of a module share."""
    with ExitStack() as stack:
        yield _Labs(stack)


class _Labs:
    def __init__(self, stack: ExitStack) -> None:
        self._stack = stack
        self._labs: dict[str, Lab] = {}

    def get(self, topology: Any, request: pytest.FixtureRequest, options: dict[str, Any]) -> Lab:
        key = repr((topology, sorted(options.items())))
        if key not in self._labs:
            if not self._labs:
                self._stack.enter_context(unwinding_on_sigterm())
            self._labs[key] = self._stack.enter_context(_lab_of(topology, request, "module", **options))
        return self._labs[key]


@contextmanager
def unwinding_on_sigterm() -> Iterator[None]:
    """Let SIGTERM do what Ctrl-C does: end the run by way of its fixtures. Somebody else's handler stays as it is."""
    if threading.current_thread() is not threading.main_thread() or signal.getsignal(signal.SIGTERM) != signal.SIG_DFL:
        yield
        return
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _lab_of(topology: Any, request: pytest.FixtureRequest, word: str, **options: Any) -> Lab:
    from gwlbemu.public import Lab

    if isinstance(topology, str) and "\n" not in topology:
        topology = _find(topology, request)
    lab = Lab(topology, **options)
    if "name" in options or not isinstance(topology, str | Path):
        return lab
    return Lab(topology, name=_name(lab.name, word), **options)


def _name(lab: str, word: str) -> str:
    return "-".join(filter(None, (lab, word, os.environ.get("PYTEST_XDIST_WORKER", ""))))


def _find(name: str, request: pytest.FixtureRequest) -> Path:
    folders = [request.path.parent, request.config.rootpath]
    for folder in folders:
        if (folder / name).is_file():
            return folder / name
    if name in bundled_names():
        return BUNDLED / f"{name}.yaml"
    places = " or ".join(map(str, dict.fromkeys(folders)))
    raise TopologyError(f"{name}: not found in {places}. By name there are {', '.join(bundled_names())}")


# ---- topology files as tests ----
class TopologyFile(pytest.File):
    """A topology file with a test for each case of its `expect:`."""

    _expectations: Expectations
    _results: dict[Case, Result]

    def collect(self) -> Iterator[pytest.Item]:
        """Yield a test for each case."""
        from gwlbemu.public import Expectations

        try:
            self._expectations = Expectations(self.path)
        except GwlbemuError as error:
            raise self.CollectError(str(error)) from None
        self._results = {}
        for case in self._expectations.cases:
            yield ExpectationTest.from_parent(self, name=str(case), case=case)

    def result(self, case: Case) -> Result:
        """Return the result of a case; the first that is asked for has all chosen ones of the file judged."""
        if case not in self._results:
            by_packets = self.config.getini("gwlbemu_by_packets") or self.config.getoption("--gwlbemu-by-packets")
            if by_packets and os.geteuid() != 0:
                pytest.skip(NEEDS_ROOT)
            chosen = [
                each.case for each in self.session.items if isinstance(each, ExpectationTest) and each.parent is self
            ]
            with unwinding_on_sigterm():
                judged = self._expectations.judge(
                    chosen, by_packets=by_packets, name=_name(self._expectations.lab, "test")
                )
            self._results = {each.case: each for each in judged}
        return self._results[case]


class ExpectationTest(pytest.Item):
    """One case of a topology's `expect:`."""

    parent: TopologyFile

    def __init__(self, *, case: Case, **arguments: Any) -> None:
        super().__init__(**arguments)
        self.case = case

    def runtest(self) -> None:
        """Fail unless the case holds."""
        result = self.parent.result(self.case)
        if not result.held:
            raise _NotHeldError("\n".join([*result.problems, "", *result.explained]))

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: Any = None) -> Any:
        """Return what a person needs of a failure: what is wrong, and why."""
        if isinstance(excinfo.value, _NotHeldError | GwlbemuError):
            return str(excinfo.value)
        return super().repr_failure(excinfo, style)

    def reportinfo(self) -> tuple[Path, int, str]:
        """Return the line of the file that says it."""
        return self.path, self.case.line - 1, self.name


class _NotHeldError(Exception):
    pass
