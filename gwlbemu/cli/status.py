"""status: processes, datapath, packets in and out, drops, and what is broken."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import click

from gwlbemu.cli.common import hint, json_option, lab_option, print_json, table
from gwlbemu.lab.running import open_lab
from gwlbemu.topology.plan.port_rules import REASONS
from gwlbemu.views.status import CaptureStatus, LabStatus, read_status

_PORT_KEYS = ("frames_in", "verdicts", "socket_drops", "frames_out", "unsent")
_CAPTURE_KEYS = ("file", "packets", "dropped", "waiting", "refused_records")


@click.command("status")
@lab_option
@json_option
def status_command(lab_name: str | None, as_json: bool) -> int:
    """Processes, datapath, packets in and out, drops and what is broken. Exit code 1 when something is."""
    status = read_status(open_lab(lab_name))
    if as_json:
        print_json(status.as_dict())
    else:
        click.echo("\n".join(status_lines(status, partial(hint, status.lab))))
    return 0 if status.well else 1


def status_lines(status: LabStatus, hint: Callable[..., str]) -> Iterator[str]:
    """Yield the text of a status; what needs somebody's eye begins with "!".

    `hint` makes a command line for this lab of a verb and its arguments.
    """
    yield f"{status.lab}   ({status.source})\n"
    keys = ["name", "state", "pid", "namespace", "log"]
    yield table(
        [[str(getattr(process, key)) for key in keys] for process in status.processes], [k.upper() for k in keys]
    )
    answering = [node for node in status.nodes if not node.silent]
    rows = [
        [node.name, node.datapath, port.name, *(str(getattr(port, key)) for key in _PORT_KEYS)]
        for node in answering
        for port in node.ports
    ]
    yield "\n" + table(rows, ["NODE", "DATAPATH", "PORT", *(key.replace("_", " ").upper() for key in _PORT_KEYS)])
    for node in answering:
        if node.datapath_reason:
            yield f"{node.name}: no fast path: {node.datapath_reason}"
    cut = status.shortcuts
    pulled = any(broken.kind in ("instance", "link", "zone") for broken in status.failures)
    why = cut.reason or ("not where a cable is pulled" if pulled else "")
    yield f"shortcuts: {cut.standing} of {cut.of} fabrics and routers" + (f", {why}" if why else "")
    if status.capture is not None and not status.capture.silent:
        yield from _capture_lines(status.capture)
    for each in status.port_drops:
        yield f"port of {each.instance}: dropped {each.packets} {each.direction}: {REASONS[each.reason]}"
    yield from (f"! {error}" for error in status.errors)
    if status.never_started:
        yield f"! half built, {', '.join(status.never_started)} never started: {hint('down')}"
    for broken in status.failures:
        yield f"! {broken} is broken on purpose ({hint('heal', *broken)})"


def _capture_lines(capture: CaptureStatus) -> Iterator[str]:
    yield "\ncapture: " + ", ".join(f"{key.replace('_', ' ')} {getattr(capture, key)}" for key in _CAPTURE_KEYS)
    if capture.dropped:
        taps = ", ".join(f"{tap.name} {tap.dropped}" for tap in capture.taps if tap.dropped)
        yield f"! capture lost {capture.dropped} packets: {taps}; the traffic itself was not affected"
