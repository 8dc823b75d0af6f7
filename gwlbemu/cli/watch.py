"""watch: the lab as it is, every second, until q or Ctrl-C."""

from __future__ import annotations

import os
import select
import sys
import termios
import time
import tty
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial

import click
from rich.console import Console
from rich.live import Live

from gwlbemu.cli.columns import screen_width
from gwlbemu.cli.common import echo, hint, lab_option
from gwlbemu.cli.output import say
from gwlbemu.cli.watch_view import frame
from gwlbemu.lab.running import RunningLab, open_lab
from gwlbemu.views.snapshot import Snapshot, take_snapshot

HEIGHT = 40  # of a frame that goes to a file or into a pipe, at least


@click.command("watch")
@lab_option
@click.option(
    "--interval",
    type=click.FloatRange(0.2, 3600),
    default=1.0,
    show_default=True,
    metavar="SECONDS",
    help="Time from one look to the next.",
)
@click.option("--once", is_flag=True, help="Print one frame, with the rates of one interval, and end.")
def watch_command(lab_name: str | None, interval: float, once: bool) -> None:
    """A live view: traffic of each node, targets, what is lost and why, the busiest and newest flows.

    q or Ctrl-C leaves. Nothing is changed; a node that is dead or frozen is shown as such.
    """
    lab = open_lab(lab_name)
    if once:
        _print_once(lab, interval)
        return
    if not sys.stdout.isatty():
        raise click.UsageError("watch needs a terminal; for a file or a pipe use --once")
    with suppress(KeyboardInterrupt), _keys() as pressed_q:
        _live(lab, interval, pressed_q)
    if not lab.state.plan.exists():
        echo(f"{lab.plan.lab} is down")


def _live(lab: RunningLab, interval: float, pressed_q: Callable[[float], bool]) -> None:
    """Draw a frame per interval, until q is pressed or the lab is gone."""
    console = Console()
    before: Snapshot | None = None
    with Live(console=console, screen=True, auto_refresh=False) as live:
        while lab.state.plan.exists():
            now = take_snapshot(lab, now=time.monotonic())
            title = f"{time.strftime('%H:%M:%S')}   every {interval:g} s   q leaves"
            live.update(
                frame(
                    now, before, partial(hint, lab.plan.lab), width=console.width, height=console.height, title=title
                ),
                refresh=True,
            )
            before = now
            if pressed_q(now.at + interval):
                return


def _print_once(lab: RunningLab, interval: float) -> None:
    before = take_snapshot(lab, now=time.monotonic())
    time.sleep(interval)
    console = Console(width=screen_width())
    now = take_snapshot(lab, now=time.monotonic())
    title = f"{time.strftime('%H:%M:%S')}   over {interval:g} s"
    with console.capture() as printed:
        console.print(
            frame(
                now,
                before,
                partial(hint, lab.plan.lab),
                width=console.width,
                height=max(HEIGHT, console.height),
                title=title,
            ),
            soft_wrap=True,
        )
    say(printed.get(), nl=False)


@contextmanager
def _keys() -> Iterator[Callable[[float], bool]]:
    """A function that waits until a moment of the monotonic clock, or until q is pressed, and tells which it was."""
    fd = sys.stdin.fileno() if sys.stdin.isatty() else None

    def pressed_q(until: float) -> bool:
        while (left := until - time.monotonic()) > 0:
            if fd is None:
                time.sleep(left)
            elif select.select([fd], [], [], left)[0]:
                keys = os.read(fd, 64)
                if not keys or b"q" in keys.lower():
                    return True
        return False

    if fd is None:
        yield pressed_q
        return
    settings = termios.tcgetattr(fd)
    try:
        tty.setcbreak(fd)
        yield pressed_q
    finally:
        termios.tcsetattr(fd, termios.TCSADRAIN, settings)
