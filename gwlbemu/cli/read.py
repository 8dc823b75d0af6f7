"""targets, flows: what the nodes of a running lab say. Nothing here changes anything."""

from __future__ import annotations

from typing import Any

import click

from gwlbemu.cli.common import json_option, lab_option, name_silent, print_json, table
from gwlbemu.cli.flow_text import end_text, protocol_text
from gwlbemu.lab.running import open_lab
from gwlbemu.views.ask import ask_nodes


@click.command("targets")
@lab_option
@json_option
def targets_command(lab_name: str | None, as_json: bool) -> int:
    """The targets as each node sees them, in AWS's words. Exit code 1 unless all are healthy and all nodes answer."""
    lab = open_lab(lab_name)
    groups = {balancer.name: balancer.target_group for balancer in lab.plan.load_balancers}
    group_of = {node.name: groups[node.load_balancer] for node in lab.plan.gateway_nodes}
    answers, silent = ask_nodes(lab, "targets")
    found = [
        {"target_group": group_of[node], "node": node, **target}
        for node, answer in answers.items()
        for target in answer["targets"]
    ]
    if as_json:
        print_json(found)
    else:
        keys = ["target_group", "node", "id", "address", "zone", "state", "flows", "reason", "description"]
        header = ["TARGET GROUP", "NODE", "TARGET", "ADDRESS", "ZONE", "STATE", "FLOWS", "REASON", "DESCRIPTION"]
        click.echo(table([[str(each[key]) for key in keys] for each in found], header))
    name_silent(silent.values())
    return 0 if not silent and all(each["state"] == "healthy" for each in found) else 1


@click.command("flows")
@lab_option
@click.option(
    "--limit", type=click.IntRange(1), default=100, show_default=True, metavar="N", help="At most N flows per node."
)
@json_option
def flows_command(lab_name: str | None, limit: int, as_json: bool) -> int:
    """The live flows of every node: which target, which cookie, how long idle. Exit code 1 when a node is silent."""
    answers, silent = ask_nodes(open_lab(lab_name), "flows", limit=limit)
    found = [{"node": node, **flow} for node, answer in answers.items() for flow in answer["flows"]]
    if as_json:
        print_json(found)
    else:
        _print_flows(found, [node for node, answer in answers.items() if answer["more"]], limit)
    name_silent(silent.values())
    return 1 if silent else 0


def _print_flows(found: list[dict[str, Any]], more: list[str], limit: int) -> None:
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
