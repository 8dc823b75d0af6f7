"""The command lines of a lab's processes: which Python, which modules, whose.

Our own processes start with `python -P -E` by way of `programs/start.py`: nothing in the current directory, beside a
script or in PYTHONPATH can take the place of a module of Python's, of `gwlbemu` or of `appliances`.

A user's own `command` keeps his environment and starts in the folder of his topology file (of a topology without a
file: where the lab was brought up), so that relative paths in it mean what they mean to who reads the file. In it

    {python} -m MODULE ...   is run the same way, with that folder looked in last: a module beside the topology is
                             found, and hides none of Python's, of gwlbemu or of appliances
    {python} SCRIPT ...      is Python as usual: its own folder comes first, PYTHONPATH counts, as its author expects
    {python} -c ...          and other options: Python without the current directory and without PYTHONPATH
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from gwlbemu.lab.state import LAB_USER

START = Path(__file__).resolve().parents[1] / "programs" / "start.py"
OWN_PACKAGES = ("gwlbemu", "appliances")
PYTHON = "{python}"
ROOT_FOLDER = Path("/")  # the working directory of our own processes


def own_module(module: str, *words: str, user: int | None = None) -> list[str]:
    """Return the command line that runs one of our modules with the arguments `words`.

    A long-running one becomes `user` as soon as it has opened what only root can (see `ports.privileges`).
    """
    who = [] if user is None else [f"--user={user}"]
    return [sys.executable, "-P", "-E", str(START), *who, "", module, *words]


def is_own(argv: Sequence[str]) -> bool:
    """Whether a plan's command line runs one of our modules."""
    return tuple(argv[:2]) == (PYTHON, "-m") and len(argv) > 2 and argv[2].split(".")[0] in OWN_PACKAGES


def filled_in(argv: Sequence[str], known: Mapping[str, str], folder: Path) -> list[str]:
    """Return a plan's command line with the interpreter for `{python}` and its text for each of `known`."""
    words = [known.get(word, word) for word in argv]
    if is_own(words):
        return own_module(*words[2:], user=LAB_USER)
    if PYTHON not in words:
        return words
    at = words.index(PYTHON)
    python, after = [sys.executable], [sys.executable if word == PYTHON else word for word in words[at + 1 :]]
    if after[:1] == ["-m"] and len(after) > 1:
        python, after = [sys.executable, "-P", "-E", str(START), str(folder)], after[1:]
    elif after and after[0].startswith("-"):
        python = [sys.executable, "-P", "-E"]
    return [*words[:at], *python, *after]
