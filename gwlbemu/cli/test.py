"""test: whether what a topology file expects (`expect:`) holds, by the path model or by packets in a lab."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import click

from gwlbemu.cli.common import echo, json_option, need_root, print_json
from gwlbemu.errors import NetError, SettingError
from gwlbemu.lab.topology_file import read_topology
from gwlbemu.topology.file.parse import Parsed, parse
from gwlbemu.topology.plan.resolve import resolve
from gwlbemu.views.expectations import Result, judge_by_model


@click.command("test")
@click.argument("file", metavar="FILE")
@click.option("--by-packets", is_flag=True, help="Send packets in a lab of its own, which goes afterwards (root).")
@click.option("--junit", type=click.Path(dir_okay=False, writable=True), metavar="FILE", help="Also write JUnit XML.")
@json_option
def test_command(file: str, by_packets: bool, junit: str | None, as_json: bool) -> int:
    """Judge what FILE says under `expect:`, by the path model (no root) or by packets; of what fails, say why.

    Exit code 0 when everything holds, 1 when something does not, 3 for a file that is wrong or expects nothing, 4 or 5
    when there can be no lab.
    """
    parsed = parse(*read_topology(file))
    if not parsed.topology.expect:
        raise SettingError(f"{parsed.source}: nothing is expected in it: there is no key expect")
    if by_packets:
        need_root()
    results: list[Result] = []
    for result in _judged(parsed, by_packets):
        results.append(result)
        if not as_json:
            echo("\n".join(_lines(parsed.source, result)))
    if junit is not None:
        _write(Path(junit), parsed.source, results)
    failed = sum(not result.held for result in results)
    if as_json:
        print_json([_plain(parsed.source, result) for result in results])
    else:
        echo(
            f"{parsed.source}: {len(results) - failed} of {len(results)} hold"
            + (f", {failed} do not" if failed else "")
        )
    return 1 if failed else 0


def _judged(parsed: Parsed, by_packets: bool) -> Iterator[Result]:
    if not by_packets:
        return judge_by_model(parsed, resolve(parsed))
    from gwlbemu.trials.verify import judge_in_a_lab

    return judge_in_a_lab(parsed, on_step=_say)


def _say(step: str) -> None:
    """Tell somebody who waits at a terminal what for."""
    if sys.stderr.isatty():
        echo(f"... {step}", err=True)


def _lines(source: str, result: Result) -> Iterator[str]:
    if result.held:
        yield f"ok    {result.case}"
    else:
        yield f"FAIL  {result.case}  ({source}:{result.case.line})"
        yield from (f"      {problem}" for problem in result.problems)
        yield from (f"        {line}".rstrip() for line in result.explained)


def _plain(source: str, result: Result) -> dict[str, object]:
    case = result.case
    return {
        "file": source,
        "line": case.line,
        "path": f"expect[{case.number}]",
        "from": case.sender,
        "to": case.receiver,
        "protocol": case.expected.protocol,
        "port": case.port,
        "after": list(case.expected.after),
        "held": result.held,
        "problems": list(result.problems),
        **result.outcome.as_dict(),
        "explained": list(result.explained),
        "seconds": round(result.seconds, 3),
    }


def _write(path: Path, source: str, results: list[Result]) -> None:
    from gwlbemu.views.junit import junit_xml

    try:
        path.write_text(junit_xml(source, results), encoding="utf-8")
    except OSError as error:
        raise NetError(f"{path}: cannot be written: {error.strerror}") from error
