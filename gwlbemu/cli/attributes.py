"""attributes: what is set on a load balancer, its listener or a target group, beside AWS's defaults."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict

import click

from gwlbemu.cli.common import complete_topology, echo, json_option, lab_option, load_plan, print_json, table
from gwlbemu.lab.running import open_lab
from gwlbemu.views.attributes import AttributeSetting, read_attributes


@click.command("attributes")
@click.argument("resource")
@click.argument("file", metavar="[FILE]", required=False, shell_complete=complete_topology)
@lab_option
@json_option
def attributes_command(resource: str, file: str | None, lab_name: str | None, as_json: bool) -> None:
    """The AWS attributes of RESOURCE, a load balancer (with its listeners), a listener (web/TCP:80) or a target group:
    value and AWS's default.

    Of FILE, or of the running lab as `set` has left it; neither needs root.
    """
    if file is not None and lab_name is not None:
        raise click.UsageError("give a FILE or a --lab, not both")
    plan = load_plan(file, None) if file is not None else open_lab(lab_name).plan
    found = read_attributes(plan, resource)
    if as_json:
        print_json([asdict(each) for each in found])
    else:
        echo("\n".join(attribute_lines(found)))


def attribute_lines(found: Sequence[AttributeSetting]) -> Iterator[str]:
    """Yield one table, a heading for each kind of resource in it; what is not AWS's default has a star."""
    rows: list[list[str]] = []
    for owner in dict.fromkeys(one.owner for one in found):
        rows += [[""] * 3] if rows else []
        rows.append([owner, "", ""])
        mine = [one for one in found if one.owner == owner]
        rows += [[("  " if one.is_default else "* ") + one.key, one.value, one.default] for one in mine]
    yield table(rows, ["KEY", "VALUE", "DEFAULT"])
