"""The command itself: its help, its completion, `python -m gwlbemu`, and how an error is printed. No lab."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import click
import pytest
from click.shell_completion import ShellComplete

from gwlbemu.cli import main as module
from gwlbemu.cli.main import GROUPS, VERBS, cli
from gwlbemu.cli.script import demoted
from gwlbemu.errors import AwsError, GwlbemuError, LabError, SettingError, UnknownNameError
from tests.paths import ROOT

SCREEN = (30, 100)  # lines and columns that the help of one verb must fit in


def help_of(*words: str) -> list[str]:
    context = click.Context(cli, info_name="gwlbemu", terminal_width=SCREEN[1])
    command = cli.get_command(context, words[0]) if words else cli
    assert command is not None
    return command.get_help(
        click.Context(command, info_name="x", parent=context, terminal_width=SCREEN[1])
    ).splitlines()


def test_the_help_groups_every_verb_once() -> None:
    lines = help_of()
    found: dict[str, list[str]] = {}
    for line in lines[lines.index("Life of a lab:") :]:
        if heading := re.fullmatch(r"(\S.*):", line):
            group = found.setdefault(heading[1], [])
        elif verb := re.match(r"  ([a-z]+)  +\S", line):
            group.append(verb[1])
    assert found == {title: list(verbs) for title, verbs in GROUPS.items()}
    assert sum(map(len, found.values())) == len(VERBS)


@pytest.mark.parametrize("verb", VERBS)
def test_no_verbs_help_is_longer_than_a_screen(verb: str) -> None:
    lines = help_of(verb)
    assert len(lines) <= SCREEN[0]
    assert max(map(len, lines)) <= SCREEN[1]


def test_python_m_gwlbemu_is_the_command_from_any_folder(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-m", "gwlbemu", "--version"], capture_output=True, text=True, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("gwlbemu, version ")
    wrong = subprocess.run([sys.executable, "-m", "gwlbemu", "nonsense"], capture_output=True, text=True, cwd=tmp_path)
    assert (wrong.returncode, "No such command 'nonsense'" in wrong.stderr) == (2, True)


HOSTILE = (
    "json",
    "logging",
    "asyncio",
    "signal",
    "subprocess",
    "socket",
    "click",
    "yaml",
    "pydantic",
)  # no start-up module
SCRIPT = (
    "import re\nimport sys\nfrom gwlbemu.cli.script import main\nif __name__ == '__main__':\n    sys.exit(main())\n"
)


@pytest.mark.parametrize("start", ["script", "module"])
def test_nothing_of_the_current_folder_or_pythonpath_is_taken_for_a_module(tmp_path: Path, start: str) -> None:
    """What an installer makes of our entry point, and python -m; `.` in PYTHONPATH, and the folder by its path."""
    hostile = tmp_path / "hostile"
    (hostile / "appliances").mkdir(parents=True)
    for file in (*(f"{name}.py" for name in HOSTILE), "appliances/__init__.py"):
        (hostile / file).write_text("raise SystemExit('a module of the current folder was imported')\n")
    script = tmp_path / "gwlbemu"
    script.write_text(SCRIPT)
    words = [str(script)] if start == "script" else ["-m", "gwlbemu"]
    for python_path in (".", str(hostile), f".{os.pathsep}{ROOT}"):
        environment = os.environ | {"PYTHONPATH": python_path}
        done = subprocess.run(
            [sys.executable, *words, "plan", "minimal", "--json"],
            capture_output=True, text=True, cwd=hostile, env=environment,
        )  # fmt: skip
        assert (done.returncode, done.stderr) == (0, "")
        assert json.loads(done.stdout)["lab"] == "minimal"


def test_what_only_pythonpath_has_is_still_found() -> None:
    path = ["/bin", "/mine", "/usr/lib/python3.11", "/site-packages"]
    assert demoted(path, f"/mine{os.pathsep}/not/there") == ["/bin", "/usr/lib/python3.11", "/site-packages", "/mine"]
    assert demoted(["", *path], "") == [*path, ""]


def complete(shell: str, **variables: str) -> str:
    command = [sys.executable, "-m", "gwlbemu"]
    environment = os.environ | {"_GWLBEMU_COMPLETE": shell} | variables
    return subprocess.run(command, capture_output=True, text=True, env=environment, check=True).stdout


@pytest.mark.parametrize(
    ("shell", "last_line"),
    [("bash", "_gwlbemu_completion_setup;"), ("zsh", "compdef _gwlbemu_completion gwlbemu"),
     ("fish", 'complete --no-files --command gwlbemu --arguments "(_gwlbemu_completion)";')],
)  # fmt: skip
def test_completion_for_each_shell_is_a_script_that_asks_this_command(shell: str, last_line: str) -> None:
    script = complete(f"{shell}_source")
    assert f"_GWLBEMU_COMPLETE={shell}_complete" in script
    assert last_line in script


def test_completion_knows_verbs_and_options() -> None:
    verbs = complete("bash_complete", COMP_WORDS="gwlbemu reg", COMP_CWORD="1").split()
    assert verbs == ["plain,register"]
    words = complete("bash_complete", COMP_WORDS="gwlbemu targets --", COMP_CWORD="2").split()
    assert {"plain,--lab", "plain,--json"} <= set(words)


@pytest.mark.parametrize("verb", ["up", "plan", "doctor", "drill", "attributes x", "explain a b"])
def test_completion_knows_the_topologies_that_go_by_name_and_leaves_files_to_the_shell(verb: str) -> None:
    place = str(1 + len(verb.split()))
    words = complete("bash_complete", COMP_WORDS=f"gwlbemu {verb} t", COMP_CWORD=place).splitlines()
    assert words == ["plain,transit-gateway", "plain,two-zones", "file,t"]


def test_completion_knows_the_labs_that_are_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gwlbemu.cli.common.list_labs", lambda: ["mine", "other", "more"])
    command = module.cli.get_command(click.Context(module.cli), "status")
    assert command is not None
    for words, known in ((["--lab"], ["mine", "other", "more"]), (["--lab"], ["mine", "more"])):
        begun = "m" if len(known) == 2 else ""
        found = ShellComplete(command, {}, "gwlbemu", "_GWLBEMU_COMPLETE").get_completions(words, begun)
        assert [each.value for each in found] == known


def test_bash_takes_the_documented_line_and_completes_with_it() -> None:
    (line,) = (line for line in help_of() if "Completion: " in line)
    documented = re.search(r"eval .*\)\"", line)
    assert documented is not None
    script = f"{documented[0]}; complete -p gwlbemu"
    environment = os.environ | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, env=environment)
    assert done.stdout == "complete -o nosort -F _gwlbemu_completion gwlbemu\n", done.stderr


@pytest.mark.parametrize(
    ("error", "code", "text"),
    [
        (AwsError("no target group x", "TargetGroupNotFound"), 3, "gwlbemu: TargetGroupNotFound: no target group x\n"),
        (SettingError("flags 'X'"), 3, "gwlbemu: flags 'X'\n"),
        (UnknownNameError("no instance x"), 3, "gwlbemu: no instance x\n"),
        (LabError("no lab is up"), 4, "gwlbemu: no lab is up\n"),
    ],
)
def test_an_error_is_one_line_with_awss_code_where_there_is_one(
    gwlbemu: Any, monkeypatch: pytest.MonkeyPatch, error: GwlbemuError, code: int, text: str
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(module.cli, "main", fail)
    said = gwlbemu("labs")
    assert (said.code, said.out, said.err) == (code, "", text)


@pytest.mark.namespace
def test_a_state_folder_that_a_normal_user_may_not_read_is_one_sentence(tmp_path: Path) -> None:
    """The user has the right to look into nothing below /run/gwlbemu but its name."""
    state = Path("/run/gwlbemu/secret")
    state.mkdir(parents=True)
    state.chmod(0o700)
    become = "import os, sys; from gwlbemu.cli.main import main; os.setgid(65534); os.setuid(65534)"
    try:
        for words in (["status"], ["inspect", "--last"], ["doctor"], ["watch", "--once"]):
            load = f"import gwlbemu.cli.{VERBS[words[0]]}"  # before the user changes: the sources may be root's
            script = f"{load}; {become}; sys.exit(main(sys.argv[1:]))"
            done = subprocess.run([sys.executable, "-c", script, *words], capture_output=True, text=True, cwd=tmp_path)
            assert (done.returncode, done.stdout) == (5, "")
            assert done.stderr == "gwlbemu: /run/gwlbemu/secret/plan.json: permission denied: run it with sudo\n"
    finally:
        state.rmdir()
        state.parent.rmdir()


def options(verb: str) -> set[str]:
    command = cli.get_command(click.Context(cli), verb)
    assert command is not None
    return {word for option in command.params for word in option.opts}


WITH_LAB = [verb for verb in VERBS if "--lab" in options(verb)]
ARGUMENTS = {
    "up": ["x.yaml"], "exec": ["client", "true"], "register": ["g", "t"], "deregister": ["g", "t"], "set": ["g", "a=b"],
    "advance": ["1s"], "fail": ["zone", "a"], "heal": ["zone", "a"], "inspect": ["--last"], "inject": ["--icmp"],
}  # fmt: skip


@pytest.mark.parametrize("verb", WITH_LAB)
@pytest.mark.parametrize("name", ["", " ", "a b", "../x", "-x", "a" * 33])
def test_what_no_lab_is_called_is_refused_by_every_verb(gwlbemu: Any, verb: str, name: str) -> None:
    said = gwlbemu(verb, "--lab", name, *ARGUMENTS.get(verb, []))
    assert (said.code, said.out) == (2, "")
    assert f"Invalid value for '--lab': {name!r} is no lab's name: expected a name of at most 32 letters" in " ".join(
        said.err.split()
    )


def test_those_verbs_are_all_that_work_on_a_lab() -> None:
    assert set(VERBS) - set(WITH_LAB) == {"labs", "bench", "plan", "schema", "test"}


def test_the_readme_names_every_verb() -> None:
    rows = [line for line in (ROOT / "README.md").read_text().splitlines() if line.startswith("| `")]
    assert not [verb for verb in VERBS if not any(f"`{verb}" in row for row in rows)]
