"""What the verbs share: the --lab and --json options, reading a topology file, and printing."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable
from typing import TypeVar

import click
from click.shell_completion import CompletionItem

from gwlbemu.cli.columns import fitted, shorten
from gwlbemu.cli.output import say
from gwlbemu.command import command
from gwlbemu.errors import NetError, plain, plain_lines
from gwlbemu.lab.topology_file import bundled_names, read_topology
from gwlbemu.net.record import list_labs
from gwlbemu.topology.names import NAME, NAME_EXPECTED
from gwlbemu.topology.plan.values import Plan

F = TypeVar("F", bound=Callable[..., object])


def _lab_name(_context: click.Context, _option: click.Parameter, name: str | None) -> str | None:
    """Refuse what no lab is called; an empty name above all, which a variable that is not set leaves in a script."""
    if name is not None and not NAME.fullmatch(name):
        raise click.BadParameter(f"{name!r} is no lab's name: expected {NAME_EXPECTED}")
    return name


def complete_lab(_context: click.Context, _option: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Return the labs that are up and begin so, for a shell's completion."""
    return [CompletionItem(name) for name in list_labs() if name.startswith(incomplete)]


def complete_topology(_context: click.Context, _option: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Return the bundled topologies whose names begin so, and let the shell add its files."""
    names = [CompletionItem(name) for name in bundled_names() if name.startswith(incomplete)]
    return [*names, CompletionItem(incomplete, type="file")]


def lab_option(command: F) -> F:
    """Add --lab NAME as `lab_name`; None is the only lab that is up."""
    text = "Which lab; needed only when several are up."
    return click.option(
        "--lab", "lab_name", metavar="NAME", callback=_lab_name, help=text, shell_complete=complete_lab
    )(command)


def new_lab_option(command: F) -> F:
    """Add --lab NAME as `lab_name` for a lab that is to be made; None is the name in its file."""
    text = "Name of the lab (default: the one in the file). Several may run side by side."
    return click.option("--lab", "lab_name", metavar="NAME", callback=_lab_name, help=text)(command)


def json_option(command: F) -> F:
    """Add --json as `as_json`."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON (stable keys) instead of text.")(command)


def echo(text: str, *, err: bool = False, nl: bool = True) -> None:
    """Print text for people: newlines are ours, any other control sequence is somebody else's and escaped."""
    say(plain_lines(text), err=err, nl=nl)


def print_json(value: object) -> None:
    """Print what the json module takes, two spaces a level."""
    say(json.dumps(value, indent=2))


def table(rows: list[list[str]], header: list[str], width: int | None = None) -> str:
    """Plain columns, two spaces apart; no lines, so that it can be cut and grepped.

    With `width`, the longest names are cut in the middle until the table fits into so many columns.
    """
    rows = [[plain(str(cell)) for cell in row] for row in rows]
    widths = [max(len(str(row[i])) for row in [header, *rows]) for i in range(len(header))]
    if width is not None:
        widths = fitted(widths, width)
        header, *rows = ([shorten(c, w) for c, w in zip(row, widths, strict=True)] for row in [header, *rows])
    lines = [
        "  ".join(str(cell).ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in [header, *rows]
    ]
    return "\n".join(lines)


def name_silent(silent: Iterable[str]) -> None:
    """Say on the error output which nodes did not answer; what the others said stands already."""
    for sentence in silent:
        echo(f"! {plain(sentence)}", err=True)


def hint(lab: str, verb: str, *words: str) -> str:
    """Return the command line that does something to a lab that is up (see `command`); --lab only when it is needed."""
    return command(verb, *([] if list_labs() == [lab] else ["--lab", lab]), *words)


def load_plan(file: str, lab_name: str | None) -> Plan:
    """Read, check and resolve a topology, by path or by name; `lab_name` replaces the file's own name for the lab."""
    from gwlbemu.topology.plan.resolve import load

    return load(*read_topology(file), lab=lab_name)


def need_root() -> None:
    """NetError for everybody else: namespaces cannot be entered."""
    if os.geteuid() != 0:
        raise NetError("network namespaces need root: run it with sudo")
