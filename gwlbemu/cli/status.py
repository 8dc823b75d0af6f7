"""status: processes, datapath, packets in and out, drops, and what is broken."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

import click

from gwlbemu.cli.columns import screen_width, wrapped
from gwlbemu.cli.common import echo, hint, json_option, lab_option, print_json, table
from gwlbemu.lab.running import open_lab
from gwlbemu.topology.plan.port_rules import REASONS
from gwlbemu.views.privileges import CAPABILITIES, Privileges, read_privileges
from gwlbemu.views.status import CaptureStatus, LabStatus, NodeStatus, read_status

# The counts of a port, by the heading of their column.
_PORT_COLUMNS = {
    "IN": "frames_in", "VERDICTS": "verdicts", "OVERRUN": "socket_drops", "OUT": "frames_out", "UNSENT": "unsent",
    "TAGGED": "tagged",
}  # fmt: skip
# What a network load balancer's node does while the kernel has not what its keeper wrote.
_WITHOUT = {"missing": "connections to it fail", "altered": "what becomes of connections is not known"}
_CAPTURE_KEYS = ("packets", "dropped", "waiting", "refused_records")


@click.command("status")
@lab_option
@click.option("-v", "--verbose", is_flag=True, help="Also what each process may do: user, capabilities, limits.")
@json_option
def status_command(lab_name: str | None, verbose: bool, as_json: bool) -> int:
    """Processes, datapath, packets in and out, drops and what is broken. Exit code 1 when something is.

    It is as wide as the terminal (or COLUMNS; else 80): longer names are cut in the middle, --json has them whole.
    """
    lab = open_lab(lab_name)
    status = read_status(lab)
    privileges = read_privileges(lab) if verbose else ()
    if as_json:
        more = {"privileges": [each.as_dict() for each in privileges]} if verbose else {}
        print_json(status.as_dict() | more)
    else:
        width = screen_width()
        echo("\n".join(status_lines(status, partial(hint, status.lab), width)))
        if verbose:
            echo("\n" + "\n".join(privilege_lines(privileges, width)))
    return 0 if status.well else 1


def status_lines(status: LabStatus, hint: Callable[..., str], width: int = 80) -> Iterator[str]:
    """Yield the text of a status in lines of at most `width` columns; what needs somebody's eye begins with "!".

    `hint` makes a command line for this lab of a verb and its arguments.
    """
    yield from wrapped(f"{status.lab}   ({status.source})", width)
    yield ""
    datapaths = {node.name: node.datapath for node in status.nodes if not node.silent}
    rows = [
        [each.name, each.state, str(each.pid), datapaths.get(each.name, "-"), each.namespace]
        for each in status.processes
    ]
    yield table(rows, ["NAME", "STATE", "PID", "DATAPATH", "NAMESPACE"], width)
    for folder in dict.fromkeys(str(Path(each.log).parent) for each in status.processes):
        yield from wrapped(f"logs: {folder}/NAME.log", width)
    answering = [node for node in status.nodes if not node.silent]
    counts = [
        [node.name, port.name, *(str(getattr(port, key)) for key in _PORT_COLUMNS.values())]
        for node in answering
        for port in node.ports
    ]
    if counts or not status.nodes:
        yield "\n" + table(counts, ["NODE", "PORT", *_PORT_COLUMNS], width)
    for sentence in _sentences(status, hint, answering):
        yield from wrapped(sentence, width) if sentence else [""]


def _sentences(status: LabStatus, hint: Callable[..., str], answering: Sequence[NodeStatus]) -> Iterator[str]:
    """What else there is to say; "" for an empty line."""
    for node in answering:
        yield from (f"! {node.name}: {count} times {kind}" for kind, count in node.faults.items())
        if node.datapath_reason:
            yield f"{node.name}: no fast path: {node.datapath_reason}"
        if node.broken_tables:
            mend = hint("heal", "node", node.name)
            yield f"! {node.name}: its tables in the kernel are {node.tables}, {_WITHOUT[node.tables]} ({mend})"
        if node.broken_proxy:
            yield f"! {node.name}: its proxy {node.proxy} ({hint('heal', 'node', node.name)})"
        for group in node.failing_open:
            yield f"{node.name}: no target of {group} is healthy: it fails open, {node.carries} go to all of them"
    dead = {each.name for each in status.processes if each.state == "dead"}
    for node in status.nodes:
        if node.carrier and node.name in dead:
            mend = hint("heal", "node", node.name)
            yield f"! {node.name}: {node.carrier} goes on as it was told, and nobody checks its targets ({mend})"
    cut = status.shortcuts
    pulled = any(broken.kind in ("instance", "link", "zone") for broken in status.failures)
    why = cut.reason or ("not where a cable is pulled" if pulled else "")
    yield f"shortcuts: {cut.standing} of {cut.of} fabrics and routers" + (f", {why}" if why else "")
    if status.capture is not None and not status.capture.silent:
        yield from _capture_lines(status.capture)
    for lost in status.lost_lines:
        why = f"{lost.over_rate} lines over its rate and {lost.failed} for want of room"
        yield f"! the log of {lost.appliance} lacks {why}"
    for each in status.port_drops:
        yield f"port of {each.instance}: dropped {each.packets} {each.direction}: {REASONS[each.reason]}"
    yield from (f"! {error}" for error in status.errors)
    if status.interrupted:
        yield "! a change of this lab was interrupted, its nodes may differ from its plan: the next change mends that"
    if status.never_started:
        yield f"! half built, {', '.join(status.never_started)} never started: {hint('down')}"
    for broken in status.failures:
        yield f"! {broken} is broken on purpose ({hint('heal', *broken)})"


def privilege_lines(privileges: Sequence[Privileges], width: int = 80) -> Iterator[str]:
    """Yield what each process may do as a table; OWN is what an instance does not share with the machine."""
    rows = [
        [
            each.name,
            str(each.user),
            "all" if len(each.capabilities) >= len(CAPABILITIES) - 2 else ",".join(each.capabilities) or "none",
            "yes" if each.no_new_privs else "no",
            each.seccomp,
            ",".join(word for word, own in (("pids", each.own_processes), ("mounts", each.own_files)) if own) or "-",
        ]
        for each in privileges
    ]
    yield table(rows, ["NAME", "USER", "CAPABILITIES", "NO_NEW_PRIVS", "SECCOMP", "OWN"], width)
    owners: dict[str, list[str]] = {}
    for each in privileges:
        limits = " ".join(f"{name}={value}" for name, value in each.limits.items()) or "none"
        owners.setdefault(limits, []).append(each.name)
    for limits, names in owners.items():
        yield from wrapped(f"limits of {'all' if len(owners) == 1 else ', '.join(names)}: {limits}", width)
    for each in privileges:
        if each.user == 0 and each.no_new_privs:
            yield from wrapped(
                f"! {each.name} has stayed root: this machine does not let it become another user", width
            )


def _capture_lines(capture: CaptureStatus) -> Iterator[str]:
    file = Path(capture.file)
    counts = ", ".join(f"{key.replace('_', ' ')} {getattr(capture, key)}" for key in _CAPTURE_KEYS)
    yield ""
    yield f"capture: {file.name} in {file.parent}" if capture.file else "capture: no file yet"
    yield f"capture: {counts}"
    yield from (f"! capture: {count} times {kind}" for kind, count in capture.faults.items())
    if capture.dropped:
        taps = ", ".join(f"{tap.name} {tap.dropped}" for tap in capture.taps if tap.dropped)
        yield f"! capture lost {capture.dropped} packets: {taps}; the traffic itself was not affected"
    if capture.unwritten:
        yield f"! the disk had no room for {capture.unwritten} captured packets; the traffic itself was not affected"
