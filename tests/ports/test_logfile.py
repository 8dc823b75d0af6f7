"""A log stays small, counts what it lacks, tears no line, and survives a full disk."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from gwlbemu.errors import NetError
from gwlbemu.ports.logfile import KEPT, LogFile, older, trim
from tests.small_disk import full, small_disk


def stopped() -> float:
    return 0.0


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    with small_disk(tmp_path / "disk") as folder:
        yield folder


def test_a_file_that_has_its_size_becomes_the_older_one(tmp_path: Path) -> None:
    path = tmp_path / "log"
    with closing(LogFile(path, largest=100, now=stopped)) as log:
        for number in range(50):
            log.write(f"line {number:04}")
        assert path.stat().st_size <= 100
        assert older(path).stat().st_size <= 100
        assert (older(path).read_text() + path.read_text()).splitlines()[-1] == "line 0049"
        assert log.status() == {"written": 50, "over_rate": 0, "failed": 0}
    assert sorted(tmp_path.iterdir()) == [path, older(path)]


def test_what_is_there_already_counts(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_text("x" * 95 + "\n")
    with closing(LogFile(path, largest=100, now=stopped)) as log:
        log.write("line")
    assert (path.read_text(), older(path).read_text()) == ("line\n", "x" * 95 + "\n")


def test_lines_beyond_the_rate_are_counted(tmp_path: Path) -> None:
    now = [0.0]
    with closing(LogFile(tmp_path / "log", per_second=10, burst=5, now=lambda: now[0])) as log:
        for _ in range(8):
            log.write("x")
        assert log.status() == {"written": 5, "over_rate": 3, "failed": 0}
        now[0] = 0.2
        for _ in range(8):
            log.write("x")
        assert log.status() == {"written": 7, "over_rate": 9, "failed": 0}
    assert (tmp_path / "log").read_text() == "x\n" * 7


def test_a_log_that_cannot_be_opened_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(NetError, match="nowhere/log: cannot write: No such file"):
        LogFile(tmp_path / "nowhere" / "log")


@pytest.mark.namespace
def test_a_full_disk_loses_whole_lines_and_no_more(disk: Path) -> None:
    path = disk / "log"
    line = json.dumps({"filling": "x" * 1000})
    with closing(LogFile(path, now=stopped)) as log:
        log.write(line)
        with full(disk):
            for _ in range(20):
                log.write(line)
            assert log.failed >= 16  # a page that was begun takes the rest
        log.write(line)
        status = log.status()
    assert status["written"] + status["failed"] == 22
    assert path.read_text().splitlines() == [line] * status["written"]


@pytest.mark.namespace
def test_a_log_whose_folder_was_removed_and_came_back_goes_on(tmp_path: Path) -> None:
    folder = tmp_path / "logs"
    folder.mkdir()
    with closing(LogFile(folder / "log", largest=10, now=stopped)) as log:
        log.write("12345678")
        (folder / "log").unlink()
        folder.rmdir()
        log.write("lost")
        folder.mkdir()
        log.write("back")
        assert log.status() == {"written": 2, "over_rate": 0, "failed": 1}
    assert (folder / "log").read_text() == "back\n"


def test_what_another_process_appends_is_cut_and_its_last_words_are_kept(tmp_path: Path) -> None:
    path, small = tmp_path / "a.log", tmp_path / "b.log"
    small.write_text("small")
    with path.open("ab", buffering=0) as other:
        other.write(b"x" * (KEPT + 1000) + b"last words")
        assert trim([path, small, tmp_path / "absent"], largest=KEPT) == 1010
        other.write(b"new words")
    assert path.read_text() == "new words"
    assert older(path).stat().st_size == KEPT
    assert older(path).read_text().endswith("last words")
    assert small.read_text() == "small"


@pytest.mark.namespace
def test_on_a_full_disk_a_log_is_cut_all_the_same(disk: Path) -> None:
    path = disk / "a.log"
    with full(disk), path.open("ab", buffering=0) as other:
        pass
    with path.open("ab", buffering=0) as other:
        other.write(bytes(300_000))
        with full(disk):
            assert trim([path], largest=100_000) > 0
            other.write(b"new words")
        assert path.read_text() == "new words"
