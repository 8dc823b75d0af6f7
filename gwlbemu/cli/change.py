"""register, deregister, set, fail, heal, advance: working a running lab."""

from __future__ import annotations

import re

import click

from gwlbemu.cli.common import json_option, lab_option, print_json
from gwlbemu.errors import SettingError
from gwlbemu.run import change, failure
from gwlbemu.run.lab import open_lab

_UNITS = {"": 1, "s": 1, "m": 60, "min": 60, "h": 3600}


@click.command("register")
@lab_option
@click.argument("group")
@click.argument("target")
@click.option("--zone", metavar="ZONE", help="Zone of an ip target outside the VPC (or: all).")
def register_command(lab_name: str | None, group: str, target: str, zone: str | None) -> None:
    """Register TARGET (an instance, or an address for target type ip) with target group GROUP."""
    registered = change.register(open_lab(lab_name), group, target, zone)
    click.echo(f"{registered.id} ({registered.address}, zone {registered.zone}) is registered; health checks begin")


@click.command("deregister")
@lab_option
@click.argument("group")
@click.argument("target")
def deregister_command(lab_name: str | None, group: str, target: str) -> None:
    """Deregister TARGET from GROUP: it drains for deregistration_delay.timeout_seconds."""
    if change.deregister(open_lab(lab_name), group, target):
        click.echo(f"{target} is draining")
    else:
        click.echo(f"{target} was not registered with {group} (AWS accepts that too)")


@click.command("set")
@lab_option
@click.argument("resource")
@click.argument("pairs", nargs=-1, required=True, metavar="KEY=VALUE...")
def set_command(lab_name: str | None, resource: str, pairs: tuple[str, ...]) -> None:
    """Set AWS attributes of a load balancer (its own or its listener's) or of a target group: all or none.

    gwlbemu set firewalls target_failover.on_unhealthy=rebalance target_failover.on_deregistration=rebalance
    """
    values = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals:
            raise click.UsageError(f"{pair!r}: expected KEY=VALUE")
        values[key] = value
    change.set_attributes(open_lab(lab_name), resource, values)
    for key, value in values.items():
        click.echo(f"{resource}: {key} = {value}")


def _failure(verb: str) -> click.Command:
    apply = failure.fail if verb == "fail" else failure.heal

    @click.command(verb)
    @lab_option
    @click.argument("kind", type=click.Choice(failure.KINDS))
    @click.argument("name")
    def command(lab_name: str | None, kind: str, name: str) -> None:
        for sentence in apply(open_lab(lab_name), kind, name):
            click.echo(sentence)

    command.help = {
        "fail": "Break something: an instance, a process (frozen), a link, a health check, a whole zone.",
        "heal": "Undo what `fail` broke.",
    }[verb]
    return command


fail_command = _failure("fail")
heal_command = _failure("heal")


@click.command("advance")
@lab_option
@click.argument("duration", metavar="TIME")
@json_option
def advance_command(lab_name: str | None, duration: str, as_json: bool) -> None:
    """Move every node's clock forward, by 351s, 6m or 1h, and tell which flows that ended."""
    lab = open_lab(lab_name)
    seconds = parse_duration(duration)
    ended = change.advance(lab, seconds)
    if as_json:
        print_json(ended)
        return
    click.echo(f"{seconds:g} s have passed; {sum(map(len, ended.values()))} flows ended")
    for node, flows in ended.items():
        for flow in flows:
            click.echo(f"  {node}  {flow}")


def parse_duration(text: str) -> float:
    """Seconds of 351, 351s, 6m or 1h. Raises SettingError for anything else."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)(s|m|min|h|)", text)
    if match is None:
        raise SettingError(f"{text!r} is not a time: expected a number with s, m or h, such as 351s")
    return float(match[1]) * _UNITS[match[2]]
