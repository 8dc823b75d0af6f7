"""A topology by path or by name: what is read, and what a message calls it."""

from __future__ import annotations

from pathlib import Path

import pytest

from gwlbemu import Lab
from gwlbemu.errors import TopologyError
from gwlbemu.lab.topology_file import BUNDLED, bundled_names, read_topology
from tests.paths import TOPOLOGIES


@pytest.fixture(autouse=True)
def in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_the_documented_folder_holds_the_bundled_topologies() -> None:
    assert TOPOLOGIES.resolve() == BUNDLED.resolve()
    assert {"minimal", "two-zones"} <= set(bundled_names())


def test_a_name_is_a_bundled_topology_and_its_path_can_be_opened() -> None:
    text, source = read_topology("minimal")
    assert Path(source).is_absolute()
    assert Path(source).read_text() == text == (TOPOLOGIES / "minimal.yaml").read_text()
    assert Lab("minimal").plan == Lab(source).plan


def test_a_file_of_that_path_comes_first_and_a_folder_does_not() -> None:
    Path("two-zones").mkdir()
    assert read_topology("two-zones")[1] == str(BUNDLED / "two-zones.yaml")
    Path("minimal").write_text("mine")
    assert read_topology("minimal") == ("mine", "minimal")


def test_what_is_neither_is_refused_with_the_names_that_there_are() -> None:
    for wrong in ("minimall", "minimal.yaml", "topologies/minimal", "../topologies/minimal"):
        with pytest.raises(TopologyError) as refused:
            read_topology(wrong)
        assert str(refused.value) == (
            f"{wrong}: cannot be read: No such file or directory. By name there are {', '.join(bundled_names())}"
        )


def test_a_folder_is_no_topology_file() -> None:
    Path("here").mkdir()
    with pytest.raises(TopologyError, match=r"^here: cannot be read: Is a directory$"):
        read_topology("here")
