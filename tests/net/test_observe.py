"""What is dead, frozen or missing is seen as such."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from gwlbemu.net import processes, record
from gwlbemu.net.namespaces import path_of
from gwlbemu.net.observe import observe
from gwlbemu.net.spawn import spawn
from gwlbemu.topology.plan import Plan

pytestmark = pytest.mark.namespace


def test_a_lab_is_whole_until_a_process_dies(up: Callable[..., Plan], root: Path, tmp_path: Path) -> None:
    up()
    assert observe("small", root=root).whole
    with record.open_existing("small", root=root) as opened:
        place, log = path_of("small-east"), tmp_path / "log"
        node = spawn(opened, "node", ("sleep", "60"), namespace=place, log=log)
        other = spawn(opened, "other", ("sleep", "60"), namespace=place, log=log)
    assert observe("small", root=root).whole
    processes.end([node.id], grace=1.0)
    assert observe("small", root=root).processes == ((node, "dead"), (other, "running"))
    assert not observe("small", root=root).whole


def test_a_process_that_was_started_anew_counts_once(up: Callable[..., Plan], root: Path, tmp_path: Path) -> None:
    up()
    with record.open_existing("small", root=root) as opened:
        place, log = path_of("small-east"), tmp_path / "log"
        first = spawn(opened, "node", ("sleep", "60"), namespace=place, log=log)
        processes.end([first.id], grace=1.0)
        second = spawn(opened, "node", ("sleep", "60"), namespace=place, log=log)
    assert observe("small", root=root).processes == ((second, "running"),)


def test_a_namespace_whose_name_is_gone_is_missing(up: Callable[..., Plan], root: Path) -> None:
    up()
    subprocess.run(("ip", "netns", "del", "small-west"), check=True)
    observation = observe("small", root=root)
    assert [entry.name for entry in observation.missing] == ["small-west"]
    assert not observation.whole
