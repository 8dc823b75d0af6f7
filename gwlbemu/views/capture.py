"""The files of a lab's capture."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from gwlbemu.errors import LabError, NetError
from gwlbemu.lab.running import CAPTURE, RunningLab
from gwlbemu.views.ask import ask


def capture_files(lab: RunningLab) -> list[Path]:
    """Return the capture's pcapng files, oldest first, with everything in them that was captured until now.

    Without root the capture cannot be asked to write: the last fraction of a second may be missing then. Raises
    LabError for a lab that records no packets, or has no file yet.
    """
    if not lab.plan.capture.enabled:
        raise LabError(f"lab {lab.plan.lab} records no packets (capture is off)")
    with suppress(LabError, NetError):
        ask(lab, [CAPTURE], {"flush": {}})
    found = lab.state.capture_files()
    if not found:
        raise LabError(f"lab {lab.plan.lab} has no capture file yet")
    return found
