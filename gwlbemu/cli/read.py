"""targets, flows: what the nodes of a running lab say. Nothing here changes anything."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict

import click

from gwlbemu.cli.common import echo, json_option, lab_option, name_silent, print_json, table
from gwlbemu.cli.flow_text import destination_text, protocol_text, source_text
from gwlbemu.lab.running import RunningLab, open_lab
from gwlbemu.views.ask import Reading
from gwlbemu.views.flows import COLUMNS, LiveFlow, read_flows
from gwlbemu.views.targets import TargetState, all_healthy, read_targets, request_counters


@click.command("targets")
@lab_option
@json_option
def targets_command(lab_name: str | None, as_json: bool) -> int:
    """The targets as each node sees them, in AWS's words. Exit code 1 unless all are healthy and all nodes answer."""
    lab = open_lab(lab_name)
    targets = read_targets(lab)
    if as_json:
        print_json([asdict(each) for each in targets.items])
    else:
        echo(_targets_text(lab, targets.items))
    name_silent(each.sentence for each in targets.silent)
    return 0 if not targets.silent and all_healthy(targets.items) else 1


def _targets_text(lab: RunningLab, targets: Sequence[TargetState]) -> str:
    """A table; requests are counted by application load balancers alone, and their columns are there with one."""
    counting = request_counters(lab.plan)
    header = ["TARGET GROUP", "NODE", "TARGET", "ADDRESS", "ZONE", "STATE", "FLOWS"]
    header += [*(["REQUESTS", "IN FLIGHT"] if counting else []), "REASON", "DESCRIPTION"]
    rows = []
    for each in targets:
        place = f"{each.address}:{each.port}" if each.port else each.address
        row = [each.target_group, each.node, each.id, place, each.zone, each.state, str(each.flows)]
        if counting:
            row += [str(each.requests), str(each.in_flight)] if each.node in counting else ["-", "-"]
        rows.append([*row, each.reason, each.description])
    return table(rows, header)


@click.command("flows")
@lab_option
@click.option(
    "--limit", type=click.IntRange(1), default=100, show_default=True, metavar="N", help="At most N flows per node."
)
@json_option
def flows_command(lab_name: str | None, limit: int, as_json: bool) -> int:
    """The live flows of every node: which target, which cookie, how long idle. Exit code 1 when a node is silent.

    Those of network load balancers are connections in the kernel, those of application load balancers connections of
    clients, with a target while a request is under way; each type has a table of its own.
    """
    lab = open_lab(lab_name)
    flows = read_flows(lab, limit)
    if as_json:
        print_json([each.as_dict() for each in flows.items])
    else:
        _print_flows(flows, limit, [*lab.plan.node_types.values(), *COLUMNS])
    name_silent(each.sentence for each in flows.silent)
    return 1 if flows.silent else 0


# A column of the table of flows: its heading and its text, where they are not the field's own name and value.
_HEADINGS = {
    "protocol": "PROTO",
    "packets_to": "THERE",
    "packets_from": "BACK",
    "idle_seconds": "IDLE",
    "expires_in_seconds": "EXPIRES",
}
_TEXTS: dict[str, Callable[[LiveFlow], str]] = {
    "protocol": protocol_text,
    "source": source_text,
    "destination": destination_text,
    "idle_seconds": lambda flow: f"{flow.idle_seconds:.0f} s",
    "expires_in_seconds": lambda flow: f"in {flow.expires_in_seconds:.0f} s",
}


def _print_flows(flows: Reading[LiveFlow], limit: int, types: Sequence[str]) -> None:
    """Print a table for each type that has flows; without any, the heading of the first of `types`."""
    kinds = list(dict.fromkeys(flow.type for flow in flows.items)) or types[:1]
    for number, kind in enumerate(kinds):
        columns = COLUMNS[kind]
        rows = [
            [_TEXTS[name](flow) if name in _TEXTS else str(getattr(flow, name)) for name in columns]
            for flow in flows.items
            if flow.type == kind
        ]
        header = [_HEADINGS.get(name, name.replace("_", " ").upper()) for name in columns]
        echo(("\n" if number else "") + table(rows, header))
    for node in flows.more:
        echo(f"... {node} has more (--limit {limit})")
