"""logs: what a process of a lab prints, or the access log of an application load balancer."""

from __future__ import annotations

import time

import click

from gwlbemu.cli.common import echo, lab_option, need_root
from gwlbemu.cli.output import stream
from gwlbemu.lab.running import RunningLab, open_lab
from gwlbemu.views.logs import Logs, access_log, access_logs_off, process_log

LOOK_SECONDS = 0.2


@click.command("logs")
@click.argument("name")
@lab_option
@click.option("-f", "--follow", is_flag=True, help="Go on with what comes, until Ctrl-C or the end of the lab.")
@click.option("--access", is_flag=True, help="The access log of an application load balancer or of one of its nodes.")
@click.option("--lines", "most", type=click.IntRange(0), metavar="N", help="Only the last N lines (default: all).")
def logs_command(name: str, lab_name: str | None, follow: bool, access: bool, most: int | None) -> None:
    """Show what the process NAME has written: a node, its proxy (web-node-a.proxy), an instance's program, capture,
    resolver.

    With --access NAME is an application load balancer, whose nodes' lines come by time, or a node; lines are AWS's.
    They are written while access_logs.s3.enabled is true.
    """
    lab = open_lab(lab_name)
    if access:
        need_root()
        log, off = access_log(lab, name), access_logs_off(lab, name)
    else:
        log, off = process_log(lab, name), ""
    _show(log.lines(at_end=not follow), most)
    if off:
        echo(f"! {off}", err=True)
    if follow:
        _follow(lab, log)


def _show(lines: list[str], most: int | None = None) -> None:
    chosen = lines if most is None else lines[len(lines) - min(most, len(lines)) :]
    if chosen:
        stream("\n".join(chosen))


def _follow(lab: RunningLab, log: Logs) -> None:
    """Show what comes; Ctrl-C is the usual end of it."""
    try:
        while lab.state.plan.exists():
            time.sleep(LOOK_SECONDS)
            _show(log.lines())
        _show(log.lines(at_end=True))
    except KeyboardInterrupt:
        return
