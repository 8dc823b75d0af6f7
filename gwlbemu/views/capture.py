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


def capture_trouble(lab: RunningLab) -> str:
    """Return why a lab's capture records nothing now, one sentence; "" when it does."""
    for process in lab.processes():
        if process.name == CAPTURE:
            if process.state == "running":
                return ""
            why = "its files end where it died" if process.state == "dead" else "its files lack what passes now"
            return f"the capture is {process.state}: {why}; its log is {process.log}"
    return "the capture was never started"
