"""targets, flows: what the nodes of a running lab say. Nothing here changes anything."""

from __future__ import annotations

from typing import Any

import click

from gwlbemu.cli.common import json_option, lab_option, print_json, table
from gwlbemu.cli.flow_text import end_text, protocol_text
from gwlbemu.run.lab import open_lab


@click.command("targets")
@lab_option
@json_option
def targets_command(lab_name: str | None, as_json: bool) -> int:
    """The targets as each node sees them, in AWS's words. Exit code 1 unless all are healthy."""
    lab = open_lab(lab_name)
    groups = {balancer.name: balancer.target_group for balancer in lab.plan.load_balancers}
    found = [
        {"target_group": groups[node.load_balancer], "node": node.name, **target}
        for node in lab.plan.nodes
        for target in lab.call(node.name, "targets")["targets"]
    ]
    if as_json:
        print_json(found)
    else:
        keys = ["target_group", "node", "id", "address", "zone", "state", "flows", "reason", "description"]
        header = ["TARGET GROUP", "NODE", "TARGET", "ADDRESS", "ZONE", "STATE", "FLOWS", "REASON", "DESCRIPTION"]
        click.echo(table([[str(each[key]) for key in keys] for each in found], header))
    return 0 if all(each["state"] == "healthy" for each in found) else 1


@click.command("flows")
@lab_option
@click.option(
    "--limit", type=click.IntRange(1), default=100, show_default=True, metavar="N", help="At most N flows per node."
)
@json_option
def flows_command(lab_name: str | None, limit: int, as_json: bool) -> None:
    """The live flows of every node: which target, which cookie, how long idle."""
    lab = open_lab(lab_name)
    found, more = [], []
    for node in lab.plan.nodes:
        answer = lab.call(node.name, "flows", limit=limit)
        found += [{"node": node.name, **flow} for flow in answer["flows"]]
        more += [node.name] if answer["more"] else []
    if as_json:
        print_json(found)
        return
    header = [
        "ENDPOINT",
        "PROTO",
        "SOURCE",
        "DESTINATION",
        "TARGET",
        "COOKIE",
        "PACKETS",
        "BYTES",
        "IDLE",
        "EXPIRES",
        "MOVES",
    ]
    click.echo(table([_flow_row(flow) for flow in found], header))
    for name in more:
        click.echo(f"... {name} has more (--limit {limit})")


def _flow_row(flow: dict[str, Any]) -> list[str]:
    return [
        flow["endpoint"],
        protocol_text(flow),
        end_text(flow, "source"),
        end_text(flow, "destination"),
        flow["target"],
        flow["cookie"],
        str(flow["packets"]),
        str(flow["bytes"]),
        f"{flow['idle_seconds']:.0f} s",
        f"in {flow['expires_in_seconds']:.0f} s",
        str(flow["moves"]),
    ]
