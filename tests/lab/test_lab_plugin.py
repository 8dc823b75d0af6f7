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


SHARED = """
import pytest

pytestmark = pytest.mark.topology("vpc.yaml", capture=False, scope="module")
labs = []

def test_of_one(lab):
    labs.append(lab)
    assert lab.name == "minimal-module"
    lab.exec("web", ["sh", "-c", "true"])

def test_of_the_same(lab):
    assert labs == [lab]

@pytest.mark.topology("vpc.yaml", capture=False)
def test_of_one_of_its_own(lab):
    assert lab.name == "minimal-test"

@pytest.mark.topology("vpc.yaml", scope="session")
def test_of_a_scope_that_there_is_not(lab):
    pass
"""


def test_a_lab_may_live_as_long_as_a_module(pytester: pytest.Pytester) -> None:
    shutil.copy(TOPOLOGIES / "minimal.yaml", pytester.path / "vpc.yaml")
    pytester.makepyfile(test_first=SHARED, test_second="from gwlbemu.net.record import list_labs\n\n"
                        "def test_that_it_is_gone():\n    assert list_labs() == []\n")  # fmt: skip
    result = pytester.runpytest_inprocess("-p", "no:cacheprovider", "-q")
    result.assert_outcomes(passed=4, errors=1)
    result.stdout.fnmatch_lines(["*scope 'session': expected function or module*"])
    assert list_labs() == []


EXPECTING = """
expect:
  - {from: client, to: web, port: 80, inspected_by: inspect, same_appliance: true}
  - {from: client, to: web, port: 80, inspected_by: none}
"""


def expecting(pytester: pytest.Pytester, *, by_packets: bool) -> None:
    folder = pytester.path / "design"
    folder.mkdir()
    (folder / "vpc.yaml").write_text((TOPOLOGIES / "minimal.yaml").read_text() + EXPECTING)
    shutil.copy(TOPOLOGIES / "minimal.yaml", folder / "without.yaml")
    (pytester.path / "other.yaml").write_text("no topology")
    settings = "gwlbemu_topologies = design/*.yaml\n" + ("gwlbemu_by_packets = true\n" if by_packets else "")
    pytester.makeini(f"[pytest]\n{settings}")


@pytest.mark.parametrize("by_packets", [False, True])
def test_topology_files_are_tests_whose_failures_say_why(pytester: pytest.Pytester, by_packets: bool) -> None:
    expecting(pytester, by_packets=by_packets)
    result = pytester.runpytest_inprocess("-p", "no:cacheprovider", "-q")
    result.assert_outcomes(passed=1, failed=1)
    journey = ["*seen:", "*there  client, *"] if by_packets else []
    result.stdout.fnmatch_lines([
        "inspected by inspect on the way there, expected none",
        *journey,
        "*route table edge: 10.0.1.0/24 -> vpce",
        "FAILED design/vpc.yaml::client -> web tcp 80*",
    ])  # fmt: skip
    assert list_labs() == []


def test_by_packets_they_need_root(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    expecting(pytester, by_packets=False)
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    result = pytester.runpytest_inprocess("-p", "no:cacheprovider", "-q", "-rs", "--gwlbemu-by-packets")
    result.assert_outcomes(skipped=2)
    result.stdout.fnmatch_lines(["*a lab needs root: network namespaces*"])


def test_a_file_that_is_wrong_is_an_error_with_its_line(pytester: pytest.Pytester) -> None:
    expecting(pytester, by_packets=False)
    with (pytester.path / "design/vpc.yaml").open("a") as file:
        file.write("  - {from: clent, to: web, port: 80}\n")
    result = pytester.runpytest_inprocess("-p", "no:cacheprovider", "-q")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*design/vpc.yaml:38: expect[[]2].from[[]0]: there is no clent*"])


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
