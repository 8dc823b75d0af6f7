"""The pytest plugin, as a user has it in a repository of his own: a file, a marker, a fixture."""

from __future__ import annotations

import shutil

import pytest

from gwlbemu import Lab
from gwlbemu.net.record import list_labs
from gwlbemu.net.remove import down
from tests.lab.worlds import world
from tests.paths import TOPOLOGIES

pytest_plugins = ("pytester",)
pytestmark = pytest.mark.namespace

TESTS = """
import pytest

@pytest.mark.topology("vpc.yaml", capture=False)
def test_of_a_file(lab):
    assert lab.name == "minimal-test"
    assert lab.exec("client", ["curl", "-s", "-m", "30", "http://203.0.113.10/"]).code == 0

@pytest.mark.topology("vpc.yaml", capture=False, name="mine")
def test_that_fails(lab):
    assert lab.name == "other"

@pytest.mark.topology("nowhere.yaml")
def test_without_its_file(lab):
    pass

def test_without_marker(lab):
    pass

@pytest.mark.topology("minimal", capture=False)
def test_of_a_bundled_topology(lab):
    assert lab.name == "minimal-test"
"""


def test_a_users_own_tests_get_a_lab_each_and_nothing_is_left(pytester: pytest.Pytester) -> None:
    shutil.copy(TOPOLOGIES / "minimal.yaml", pytester.path / "vpc.yaml")
    pytester.makepyfile(TESTS)
    result = pytester.runpytest_inprocess("-p", "no:cacheprovider", "-q")
    result.assert_outcomes(passed=2, failed=1, errors=2)
    result.stdout.fnmatch_lines(["*nowhere.yaml: not found in*", "*the fixture `lab` needs a marker*"])
    assert list_labs() == []


TERMINATED = """
import os, signal, time
import pytest

@pytest.mark.topology("vpc.yaml", capture=False)
def test_that_is_terminated(lab):
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(100)
"""


def test_a_run_that_is_terminated_takes_its_lab_down(pytester: pytest.Pytester) -> None:
    shutil.copy(TOPOLOGIES / "minimal.yaml", pytester.path / "vpc.yaml")
    pytester.makepyfile(TERMINATED)
    try:
        result = pytester.runpytest_subprocess("-p", "no:cacheprovider", "-q")
        assert result.ret == pytest.ExitCode.INTERRUPTED
        assert list_labs() == []
    finally:
        down("minimal-test")


def test_a_lab_that_an_earlier_run_left_is_named_with_the_command_that_takes_it_down(pytester: pytest.Pytester) -> None:
    shutil.copy(TOPOLOGIES / "minimal.yaml", pytester.path / "vpc.yaml")
    pytester.makepyfile(TESTS.split('@pytest.mark.topology("vpc.yaml", capture=False, name')[0])
    with Lab(TOPOLOGIES / "minimal.yaml", name="minimal-test", capture=False):
        result = pytester.runpytest_inprocess("-p", "no:cacheprovider", "-q")
        result.assert_outcomes(errors=1)
        result.stdout.fnmatch_lines(["*lab minimal-test is already there; *gwlbemu down --lab minimal-test*"])
        assert list_labs() == ["minimal-test"]


def test_without_root_such_a_test_is_skipped_with_the_reason(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copy(TOPOLOGIES / "minimal.yaml", pytester.path / "vpc.yaml")
    pytester.makepyfile(TESTS.split('@pytest.mark.topology("vpc.yaml", capture=False, name')[0])
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    result = pytester.runpytest_inprocess("-p", "no:cacheprovider", "-q", "-rs")
    result.assert_outcomes(skipped=1)
    result.stdout.fnmatch_lines(["*a lab needs root: network namespaces*"])


@pytest.mark.topology(world(), capture=False)
def test_the_text_of_a_topology_will_do(lab: Lab) -> None:
    assert lab.name == "world-test"


def test_the_marker_is_registered(pytestconfig: pytest.Config) -> None:
    assert any(line.startswith("topology(") for line in pytestconfig.getini("markers"))
