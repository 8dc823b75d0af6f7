"""The capture's files on a disk that is full: whole blocks, counted losses, and on it goes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from gwlbemu.capture.pcapng import enhanced_packet
from gwlbemu.capture.reader import CaptureReader
from gwlbemu.programs.recorder.files import CaptureFiles
from tests.small_disk import full, small_disk

pytestmark = pytest.mark.namespace
BLOCK = enhanced_packet(0, 1, bytes(1000), original_length=1000, direction="in", comments=())
SEEN = [(1, 0)]


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    with small_disk(tmp_path / "disk") as folder:
        yield folder


def packets(path: Path) -> int:
    """How many packets a file has; it has to be whole."""
    with path.open("rb") as file:
        reader = CaptureReader(file)
        found = sum(1 for _ in reader)
        assert reader.ending.complete
        return found


def test_what_a_full_disk_does_not_take_is_counted_and_the_file_stays_whole(disk: Path) -> None:
    files = CaptureFiles(disk, "lab", ["a"], file_bytes=1 << 20, files=4)
    path = files.path
    files.write(BLOCK)
    files.flush()
    with full(disk):
        for _ in range(100):
            files.write(BLOCK)
        files.flush()
        assert packets(path) == 1
        assert files.unwritten == 100
    files.write(BLOCK)
    files.close(2, SEEN)
    assert packets(path) == 2


def test_a_disk_that_is_full_when_the_next_file_begins_is_tried_again(disk: Path) -> None:
    files = CaptureFiles(disk, "lab", ["a"], file_bytes=1 << 20, files=4)
    with full(disk):
        files.rotate(2, SEEN)
        files.write(BLOCK)
        files.flush()
        assert files.unwritten == 1
    files.write(BLOCK)
    files.close(3, SEEN)
    assert [packets(path) for path in sorted(disk.glob("*.pcapng"))] == [0, 1]
