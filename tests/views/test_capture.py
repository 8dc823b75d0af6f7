"""The files of a lab's capture, with everything in them until now."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from gwlbemu.errors import LabError
from gwlbemu.views.capture import capture_files
from tests.views.fake_lab import answering, fake_lab


def test_the_capture_is_asked_to_write_before_its_files_are_named_oldest_first(tmp_path: Path) -> None:
    lab = fake_lab(tmp_path, capture=True)
    old, new = (lab.state.capture_folder / name for name in ("2.pcapng", "1.pcapng"))

    def flush(_: object) -> dict[str, object]:
        for at, path in enumerate((old, new)):
            path.touch()
            os.utime(path, (at, at))
        return {}

    with answering(lab, "capture", {"flush": flush}) as asked:
        assert capture_files(lab) == [old, new]
    assert asked == ["flush"]


def test_a_capture_that_is_dead_leaves_what_it_wrote(tmp_path: Path) -> None:
    lab = fake_lab(tmp_path, capture=True)
    with pytest.raises(LabError, match=r"^lab world has no capture file yet$"):
        capture_files(lab)
    (lab.state.capture_folder / "1.pcapng").touch()
    assert [path.name for path in capture_files(lab)] == ["1.pcapng"]


def test_a_lab_that_records_nothing_says_so(tmp_path: Path) -> None:
    with pytest.raises(LabError, match=r"^lab world records no packets \(capture is off\)$"):
        capture_files(fake_lab(tmp_path))
