"""Test your own VPC design: a fixture `lab` and a marker `topology`, in every pytest run once gwlbemu is installed.

    @pytest.mark.topology("vpc.yaml")
    def test_telnet_is_denied(lab):
        assert lab.inject(tcp=23)[0].outcome == "not-returned"

The marker takes a path (beside the test file, or from pytest's root folder), the name of a topology that comes with
gwlbemu ("two-zones"), the text of a topology or a plan, and the options of `gwlbemu.Lab`. It may stand on a test, a
class or a module (`pytestmark`). Each test gets a fresh lab, called like the topology's with `-test` behind it (and the
worker's name under pytest-xdist), so that it never meets one that you are working with; Ctrl-C and SIGTERM take it
down, too. Root is needed, otherwise the test is skipped; nothing is made outside the lab's own namespaces. For a lab
that several tests share, write a fixture of your own around `with Lab(...) as lab: yield lab`.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from gwlbemu.errors import TopologyError
from gwlbemu.lab.topology_file import BUNDLED, bundled_names

if TYPE_CHECKING:
    from gwlbemu.public import Lab


def pytest_configure(config: pytest.Config) -> None:
    """Register the marker."""
    config.addinivalue_line(
        "markers", "topology(topology, **options): the lab of this test: a path or text, and options of gwlbemu.Lab"
    )


@pytest.fixture
def lab(request: pytest.FixtureRequest) -> Iterator[Lab]:
    """The lab that the test's `topology` marker asks for: up and healthy; taken down after the test."""
    marker = request.node.get_closest_marker("topology")
    if marker is None or len(marker.args) != 1:
        raise pytest.UsageError('the fixture `lab` needs a marker: @pytest.mark.topology("path or text", **options)')
    if os.geteuid() != 0:
        pytest.skip("a lab needs root: network namespaces")
    with unwinding_on_sigterm(), _lab_of(marker.args[0], request, **marker.kwargs) as lab:
        yield lab


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


def _lab_of(topology: Any, request: pytest.FixtureRequest, **options: Any) -> Lab:
    from gwlbemu.public import Lab

    if isinstance(topology, str) and "\n" not in topology:
        topology = _find(topology, request)
    lab = Lab(topology, **options)
    if "name" in options or not isinstance(topology, str | Path):
        return lab
    worker = os.environ.get("PYTEST_XDIST_WORKER", "")
    return Lab(topology, name="-".join(filter(None, (lab.name, "test", worker))), **options)


def _find(name: str, request: pytest.FixtureRequest) -> Path:
    folders = [request.path.parent, request.config.rootpath]
    for folder in folders:
        if (folder / name).is_file():
            return folder / name
    if name in bundled_names():
        return BUNDLED / f"{name}.yaml"
    places = " or ".join(map(str, dict.fromkeys(folders)))
    raise TopologyError(f"{name}: not found in {places}. By name there are {', '.join(bundled_names())}")
