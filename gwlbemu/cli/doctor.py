"""doctor: what is wrong, and which line of the topology mends it."""

from __future__ import annotations

from collections import Counter

import click

from gwlbemu.cli.columns import beside, screen_width
from gwlbemu.cli.common import (
    complete_topology,
    echo,
    json_option,
    lab_option,
    load_plan,
    print_json,
)
from gwlbemu.errors import plain
from gwlbemu.lab.topology_file import read_topology
from gwlbemu.review.finding import SEVERITIES
from gwlbemu.views.doctor import Report, examine_file, examine_lab

_INDENT = 8  # of what belongs to a finding, so that it stands below its text


@click.command("doctor")
@click.argument("file", metavar="[FILE]", required=False, shell_complete=complete_topology)
@lab_option
@json_option
def doctor_command(file: str | None, lab_name: str | None, as_json: bool) -> int:
    """Find what users get wrong, in FILE (needs no root) or in the running lab: ways that lead nowhere, answers that
    are lost or skip an endpoint, endpoints and NAT gateways of another zone, instances that nobody inspects, silent
    targets, closed security groups. Each finding names a line, and what to write there where a trial showed that it
    mends.

    Exit code 1 when something needs mending; hints (cost, unused targets, single points of failure) leave it 0.
    """
    if file is not None and lab_name is not None:
        raise click.UsageError("give a FILE or a --lab, not both")
    if file is not None:
        from gwlbemu.lab.up import read_certificates

        report = examine_file(*read_topology(file))
        read_certificates(load_plan(file, None))
    else:
        report = _of_lab(lab_name)
    if as_json:
        print_json([_plain(report, number) for number in range(len(report.findings))])
    else:
        echo(_text(report, screen_width()))
    return 0 if report.sound else 1


def _of_lab(name: str | None) -> Report:
    from gwlbemu.lab.running import open_lab

    return examine_lab(open_lab(name))


def _plain(report: Report, number: int) -> dict[str, object]:
    finding = report.findings[number]
    file, line, path = report.place(finding)
    return {
        "kind": finding.kind,
        "severity": finding.severity,
        "text": finding.text,
        "file": file,
        "line": line,
        "path": path,
        "change": finding.change,
        "tried": finding.tried,
        "also": [dict(zip(("file", "line", "path"), report.place_of(each), strict=True)) for each in finding.also],
    }


def _text(report: Report, width: int) -> str:
    lines = []
    for finding in report.findings:
        label = "see " if not finding.change else "mend" if finding.tried else "try "
        lines += beside(f"{finding.severity}: ", f"{plain(finding.text)} [{finding.kind}]", width, indent=_INDENT)
        lines += _place(label, report.place(finding), width)
        if finding.change or finding.tried:
            change = plain(finding.change) or "no single line mends it"
            lines += beside(" " * _INDENT, change, width, indent=_INDENT)
        for each in finding.also:
            lines += _place("also", report.place_of(each), width)
        lines.append("")
    counts = Counter(finding.severity for finding in report.findings)
    told = ", ".join(f"{counts[each]} {each}{'s' if counts[each] > 1 else ''}" for each in SEVERITIES if counts[each])
    return "\n".join([*lines, f"{plain(report.parsed.source)}: {told or 'nothing found'}"])


def _place(label: str, place: tuple[str, int, str], width: int) -> list[str]:
    """Where something stands: in one line where it fits, else the key below it; neither is broken."""
    file, line, key = place
    where, key = f"  {label}  {plain(file)}:{line}:", plain(key)
    return [f"{where} {key}"] if len(where) + 1 + len(key) <= width else [where, " " * _INDENT + key]
