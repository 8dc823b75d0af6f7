"""register, deregister, set, fail, heal, advance: working a running lab."""

from __future__ import annotations

from dataclasses import asdict

import click

from gwlbemu.cli.common import echo, json_option, lab_option, print_json
from gwlbemu.lab import change, failure
from gwlbemu.lab.running import open_lab


@click.command("register")
@lab_option
@click.argument("group")
@click.argument("target")
@click.option("--zone", metavar="ZONE", help="Zone of an ip target outside the VPC (or: all).")
@json_option
def register_command(lab_name: str | None, group: str, target: str, zone: str | None, as_json: bool) -> None:
    """Register TARGET (an instance, or an address for target type ip) with target group GROUP.

    web-a:8080 has another port than the group's.
    """
    lab = open_lab(lab_name)
    known = {(each.name, one.id) for each in lab.plan.target_groups for one in each.targets}
    registered = change.register(lab, group, target, zone)
    if as_json:
        was = (group, registered.id) in known
        print_json({"target_group": group, **asdict(registered), "was_registered": was})
        return
    news = " already" if (group, registered.id) in known else "; health checks begin"
    echo(f"{registered.id} ({registered.address}, zone {registered.zone}) is registered{news}")


@click.command("deregister")
@lab_option
@click.argument("group")
@click.argument("target")
@json_option
def deregister_command(lab_name: str | None, group: str, target: str, as_json: bool) -> None:
    """Deregister TARGET from GROUP: it drains for deregistration_delay.timeout_seconds.

    As with AWS's DeregisterTargets, a target that is not there is no error.
    """
    was_registered = change.deregister(open_lab(lab_name), group, target)
    if as_json:
        print_json({"target_group": group, "id": target, "was_registered": was_registered})
    elif was_registered:
        echo(f"{target} is draining")
    else:
        echo(f"{target} was not registered with {group} (AWS accepts that too)")


@click.command("set")
@lab_option
@click.argument("resource")
@click.argument("pairs", nargs=-1, required=True, metavar="KEY=VALUE...")
@json_option
def set_command(lab_name: str | None, resource: str, pairs: tuple[str, ...], as_json: bool) -> None:
    """Set AWS attributes of a load balancer (its own and its listeners'), of one listener or of a target group: all or
    none.

    A listener of a network load balancer is called web/TCP:80; what is set for web is set for all of its listeners.

    gwlbemu set firewalls target_failover.on_unhealthy=rebalance target_failover.on_deregistration=rebalance

    `gwlbemu attributes RESOURCE` shows what is set.
    """
    values = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals:
            raise click.UsageError(f"{pair!r}: expected KEY=VALUE")
        if key in values:
            raise click.UsageError(f"{key} is given twice")
        values[key] = value
    change.set_attributes(open_lab(lab_name), resource, values)
    if as_json:
        print_json({"resource": resource, "attributes": values})
        return
    for key, value in values.items():
        echo(f"{resource}: {key} = {value}")


def _failure(verb: str) -> click.Command:
    apply = failure.fail if verb == "fail" else failure.heal

    @click.command(verb)
    @lab_option
    @click.argument("kind", type=click.Choice(failure.KINDS))
    @click.argument("name")
    @json_option
    def command(lab_name: str | None, kind: str, name: str, as_json: bool) -> None:
        lab = open_lab(lab_name)
        if as_json:
            done = apply(lab, kind, name)
            broken = [{"kind": each, "name": its} for each, its in failure.failures(lab)]
            print_json({"kind": kind, "name": name, "done": done, "broken": broken})
            return
        nothing = f"{kind} {name} is broken already" if verb == "fail" else f"{kind} {name} was not broken"
        for sentence in apply(lab, kind, name) or [nothing]:
            echo(sentence)

    command.help = {
        "fail": "Break something: an instance, a process (frozen), an instance's link, its health check, a whole zone,"
        " a load balancer's node.",
        "heal": "Undo what `fail` broke. `heal node NAME` also starts a network load balancer's keeper that is dead, or"
        " lets it write its tables again; `heal process lab.resolver` starts a resolver that is dead.",
    }[verb]
    return command


fail_command = _failure("fail")
heal_command = _failure("heal")


@click.command("advance")
@lab_option
@click.argument("duration", metavar="TIME")
@json_option
def advance_command(lab_name: str | None, duration: str, as_json: bool) -> None:
    """Move every node's clock forward, by 351s, 6m or 1h, and tell which flows that ended.

    An application load balancer's delays, slow start and health checks go by that clock; its idle timeouts, cookies and
    tokens keep real time.
    """
    lab = open_lab(lab_name)
    seconds = change.parse_duration(duration)
    ended = change.advance(lab, seconds)
    if as_json:
        print_json({node: asdict(each) for node, each in ended.items()})
        return
    count = sum(each.count for each in ended.values())
    echo(f"{seconds:g} s have passed; {count} {'flow' if count == 1 else 'flows'} ended")
    if lab.plan.application_nodes:
        echo("idle timeouts, sticky sessions and tokens of application load balancers keep real time")
    for node, each in ended.items():
        for flow in each.flows:
            echo(f"  {node}  {flow}")
        if each.count > len(each.flows):
            echo(f"  {node}  ... and {each.count - len(each.flows)} more")
