"""Command lines in hints: the one decision about `sudo` and the path of gwlbemu (tests/cli runs what is printed)."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from gwlbemu import command as module
from gwlbemu.command import command

Called = Callable[..., None]


@pytest.fixture
def called(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Called:
    """Be called as `argv0` by a user with a `path` of folders below tmp_path; root or not, by sudo or not."""

    def call(argv0: str, *, path: str = "", root: bool = False, by_sudo: bool = False) -> None:
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(sys, "argv", [argv0])
        monkeypatch.setattr("os.geteuid", lambda: 0 if root else 1000)
        monkeypatch.setenv("PATH", str(tmp_path / path) if path else "/nonexistent")
        monkeypatch.setattr(module, "SUDO_PATH", str(tmp_path / "system"))
        monkeypatch.delenv("SUDO_USER", raising=False)
        if by_sudo:
            monkeypatch.setenv("SUDO_USER", "ann")

    for folder in ("system", "venv"):
        script = tmp_path / folder / "gwlbemu"
        script.parent.mkdir()
        script.write_text("#!/bin/sh\n")
        script.chmod(0o755)
    return call


@pytest.mark.parametrize(
    ("root", "by_sudo", "expected"),
    [
        (False, False, "sudo venv/gwlbemu down"),
        (True, True, "sudo venv/gwlbemu down"),
        (True, False, "venv/gwlbemu down"),
    ],
)
def test_sudo_stands_there_unless_the_users_own_shell_is_roots(
    called: Called, root: bool, by_sudo: bool, expected: str
) -> None:
    called("venv/gwlbemu", root=root, by_sudo=by_sudo)
    assert command("down") == expected


def test_a_verb_that_needs_no_root_has_no_sudo(called: Called) -> None:
    called("venv/gwlbemu")
    assert command("inspect", "--last") == "venv/gwlbemu inspect --last"


def test_the_bare_name_is_used_where_it_is_found_and_is_the_same_program(called: Called, tmp_path: Path) -> None:
    called(str(tmp_path / "venv/gwlbemu"), path="venv")
    assert command("labs") == "gwlbemu labs"
    assert command("down") == f"sudo {tmp_path / 'venv/gwlbemu'} down"  # sudo looks elsewhere
    called(str(tmp_path / "system/gwlbemu"), path="system")
    assert command("down") == "sudo gwlbemu down"
    called("venv/gwlbemu", path="system", root=True)  # another gwlbemu is on the path
    assert command("down") == "venv/gwlbemu down"


def test_as_a_module_it_is_a_module_and_from_another_program_the_script_beside_python(
    called: Called, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    called("/x/gwlbemu/__main__.py", root=True)
    assert command("down") == f"{sys.executable} -m gwlbemu down"
    monkeypatch.setattr(sys, "executable", str(tmp_path / "venv/python"))
    called("/usr/bin/pytest", root=True)
    assert command("down") == f"{tmp_path / 'venv/gwlbemu'} down"
    (tmp_path / "venv/gwlbemu").unlink()
    assert command("down") == f"{tmp_path / 'venv/python'} -m gwlbemu down"


def test_words_are_quoted_for_a_shell(called: Called) -> None:
    called("my venv/gwlbemu", root=True)
    assert command("exec", "client", "--", "echo", "a b").endswith(" exec client -- echo 'a b'")
