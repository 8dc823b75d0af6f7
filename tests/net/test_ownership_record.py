"""The record: one owner per lab, everything written down, a torn last line forgiven."""

from __future__ import annotations

from pathlib import Path

import pytest

from gwlbemu.errors import LabError
from gwlbemu.net import record
from gwlbemu.net.record import Contents, OwnedNamespace, OwnedProcess

EAST = OwnedNamespace("small-east", 4026532000, 77)
NODE = OwnedProcess("node firewall-a", "small-east", 1234, 987654)


def test_what_was_added_is_read_back(tmp_path: Path) -> None:
    with record.open_new("small", root=tmp_path) as opened:
        opened.add(EAST)
        assert record.read("small", root=tmp_path) == Contents((EAST,), ())
        opened.add(NODE)
    assert record.read("small", root=tmp_path) == Contents((EAST,), (NODE,))


def test_a_lab_that_is_there_is_refused(tmp_path: Path) -> None:
    record.open_new("small", root=tmp_path).close()
    with pytest.raises(LabError, match="small is already there"):
        record.open_new("small", root=tmp_path)


def test_labs_are_listed(tmp_path: Path) -> None:
    assert record.list_labs(root=tmp_path / "none") == []
    for lab in ("b", "a"):
        record.open_new(lab, root=tmp_path).close()
    assert record.list_labs(root=tmp_path) == ["a", "b"]


def test_a_torn_line_is_passed_over_and_closed_by_the_next_writer(tmp_path: Path) -> None:
    with record.open_new("small", root=tmp_path) as opened:
        opened.add(EAST)
    with (tmp_path / "small" / "record.jsonl").open("a") as file:
        file.write('{"kind": "process", "na')
    with record.open_existing("small", root=tmp_path) as opened:
        opened.add(NODE)
    assert record.read("small", root=tmp_path) == Contents((EAST,), (NODE,))


def test_a_lab_that_is_not_there_cannot_be_opened_and_owns_nothing(tmp_path: Path) -> None:
    with pytest.raises(LabError, match="no lab small"), record.open_existing("small", root=tmp_path):
        pass
    assert record.read("small", root=tmp_path) == Contents()


@pytest.mark.parametrize("name", ["", "..", "a/b", "/etc", "a b", "-x", "x" * 65])
def test_a_name_that_leaves_the_state_folder_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(LabError, match="is no lab name"):
        record.open_new(name, root=tmp_path)


def test_only_one_writer_at_a_time(tmp_path: Path) -> None:
    first = record.open_new("small", root=tmp_path)
    with pytest.raises(LabError, match="another command"), record.open_existing("small", root=tmp_path, timeout=0.05):
        pass
    first.close()
    with record.open_existing("small", root=tmp_path, timeout=0.05):
        pass
