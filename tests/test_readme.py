"""The README's session, run: every command of its `console` blocks in one lab, and what it prints.

A line is compared as it stands, but for what no two runs have in common (`_CHANGING`); `...` stands for lines that are
left out. A command with the comment "later" is asked again until it says so. `make` runs its recipes without setting
the machine up.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.paths import ROOT
from tests.waiting import PATIENCE, wait_until

_CHANGING = {
    r"0x[0-9a-f]{8}": r"0x[0-9a-f]{8}",  # cookies
    r" *\+\d+\.\d+ ms": r" *\+\d+\.\d+ ms",
    r"\d+\.\d+ (?:ms|s)\b": r"\d+\.\d+ (?:ms|s)",
    r"\b\d{5,}\b": r"\d+",  # ports, sequence numbers, process numbers
    r"\bfw-a[12]\b": "fw-a[12]",  # which of the two, by chance
    r"^web-a1$": "web-[ab][12]",  # the same of four
    r"\d+ flows ended": r"\d+ flows? ended",
    r"curl/[\d.]+": r"curl/[\d.]+",
    r" {2,}": " {2,}",
}
_ANY = re.compile("|".join(f"({each})" for each in _CHANGING))


class Step(NamedTuple):
    """One command of the session and the lines that the README shows below it."""

    command: str
    lines: tuple[str, ...]


def session() -> list[Step]:
    """Return the steps of all `console` blocks, in the order of the README."""
    found: list[Step] = []
    for block in re.findall(r"^```console\n(.*?)^```$", (ROOT / "README.md").read_text(), re.DOTALL | re.MULTILINE):
        for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            command, *lines = part.rstrip("\n").split("\n")
            found.append(Step(command, tuple(line for line in lines if line)))
    return found


def pattern(line: str) -> str:
    """Return the regular expression of one line of output, with its end."""
    if line.strip() == "...":
        return r"(?:.*\n)*?"
    text, at = "", 0
    for match in _ANY.finditer(line):
        text += re.escape(line[at : match.start()]) + list(_CHANGING.values())[(match.lastindex or 1) - 1]
        at = match.end()
    return text + re.escape(line[at:]) + r"\n"


def same(shown: tuple[str, ...], printed: str) -> bool:
    """Tell whether output is what the README shows; empty lines do not count."""
    lines = "".join(f"{line.rstrip()}\n" for line in printed.splitlines() if line.strip())
    return re.fullmatch("".join(map(pattern, shown)), lines) is not None


def run(command: str) -> str:
    """Run a command of the session as root, as a user with sudo would, and return what it prints."""
    words = command.removeprefix("sudo ")
    if words.startswith("make "):
        words = f"make -s -o setup -o need-venv VENV={sys.prefix} {words.removeprefix('make ')}"
    words = words.replace(".venv/bin/", f"{sys.prefix}/bin/")
    done = subprocess.run(
        words, shell=True, cwd=ROOT, env=os.environ | {"SUDO_USER": "somebody"}, capture_output=True, text=True
    )
    return (done.stdout + done.stderr).replace(f"{sys.prefix}/bin/", ".venv/bin/")


@pytest.fixture
def nothing_left() -> Iterator[None]:
    yield
    subprocess.run([Path(sys.prefix, "bin", "gwlbemu"), "down"], cwd=ROOT, check=True, capture_output=True)


@pytest.mark.namespace
@pytest.mark.timeout(6 * PATIENCE)
@pytest.mark.usefixtures("nothing_left")
def test_the_session_is_true_as_printed() -> None:
    steps = session()
    assert len(steps) >= 8
    for command, lines in steps:
        command, _, comment = command.partition("  #")
        printed = [""]

        def as_shown(command: str = command, lines: tuple[str, ...] = lines, printed: list[str] = printed) -> bool:
            printed[0] = run(command)
            return same(lines, printed[0])

        if "later" in comment:
            wait_until(as_shown, lambda: f"{command}:\n{printed[0]}")  # noqa: B023
        else:
            assert as_shown(), f"{command}:\n{printed[0]}"


def test_a_line_that_differs_is_seen() -> None:
    shown = (
        "fw-a1  10.254.1.11  a  unhealthy  0",
        "    +0.043 ms  vpce-fw-a  in",
        "...",
        "two-zones is up after 1.9 s.",
    )
    right = (
        "fw-a2  10.254.1.11  a    unhealthy  0\n\n  +10.3 ms  vpce-fw-a    in\nx\ny\ntwo-zones is up after 20.0 s.\n"
    )
    assert same(shown, right)
    for old, new in (("unhealthy", "healthy"), ("vpce-fw-a", "vpce-fw-b"), ("1.11", "1.12"), ("is up", "is down")):
        assert not same(shown, right.replace(old, new))
    assert not same(shown, right + "and more\n")
    assert not same(shown, right.replace("\nx", "").partition("two-zones")[0])
