"""The command lines that hints print: one that works as printed in the shell of the user who reads it."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from pathlib import Path

NEEDS_NO_ROOT = frozenset({"plan", "schema", "inspect", "labs", "attributes"})
SUDO_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"  # sudo's usual secure_path


def command(verb: str, *words: str) -> str:
    """Return the command line for a verb and its arguments, quoted for a shell.

    It begins with `sudo` where the verb needs root and the user's own shell has none (he is no root, or came by sudo),
    and names gwlbemu by the path with which it was called, where the bare name would not be found.
    """
    if verb in NEEDS_NO_ROOT or not _needs_sudo():
        return shlex.join([*_program(os.environ.get("PATH", os.defpath)), verb, *words])
    return as_root(*_program(SUDO_PATH), verb, *words)


def as_root(*words: str) -> str:
    """Return the command line of any program that needs root, with `sudo` where the user's own shell has none."""
    return shlex.join([*(["sudo"] if _needs_sudo() else []), *words])


def _needs_sudo() -> bool:
    return os.geteuid() != 0 or "SUDO_USER" in os.environ


def _program(path: str) -> list[str]:
    """How to call gwlbemu where programs are looked for in `path`."""
    called = Path(sys.argv[0])
    safe = ["-P"] if sys.flags.safe_path else []
    module = [sys.executable, *safe, "-m", "gwlbemu"]
    if called.name == "__main__.py" and called.parent.name == "gwlbemu":
        return module
    script = called if called.name == "gwlbemu" else Path(sys.executable).with_name("gwlbemu")
    if not script.is_file():
        return module
    found = shutil.which("gwlbemu", path=path)
    return ["gwlbemu"] if found and os.path.samefile(found, script) else [str(script)]
