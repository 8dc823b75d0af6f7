"""plan and schema: what a topology file means, without root and without touching the machine."""

from __future__ import annotations

import click

from gwlbemu.cli.common import complete_topology, echo, json_option, load_plan, print_json


@click.command("plan")
@click.argument("file", metavar="FILE", shell_complete=complete_topology)
@json_option
def plan_command(file: str, as_json: bool) -> None:
    """Print the resolved plan of FILE: names, addresses, routes, MACs, MTUs, switches. Needs no root."""
    from gwlbemu.lab.up import read_certificates
    from gwlbemu.topology.plan.encode import to_json
    from gwlbemu.topology.plan.render import plan_text

    plan = load_plan(file, None)
    read_certificates(plan)
    echo(to_json(plan) if as_json else plan_text(plan))


@click.command("schema")
def schema_command() -> None:
    """Print the JSON Schema of a topology file, so that an editor completes and checks it."""
    from gwlbemu.topology.file.schema import json_schema

    print_json(json_schema())
