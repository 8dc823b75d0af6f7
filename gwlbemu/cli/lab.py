"""up, down, exec, labs: the life of a lab."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterator, Sized
from contextlib import suppress
from pathlib import Path

import click

from gwlbemu.cli.common import (
    complete_topology,
    echo,
    hint,
    json_option,
    lab_option,
    load_plan,
    need_root,
    new_lab_option,
    print_json,
)
from gwlbemu.command import command
from gwlbemu.errors import LabError, SettingError
from gwlbemu.lab.client import namespace_of, run
from gwlbemu.lab.running import RunningLab, open_lab
from gwlbemu.lab.up import uninterrupted, up
from gwlbemu.net.record import list_labs
from gwlbemu.net.remove import down
from gwlbemu.topology.plan.dns_names import dns_name
from gwlbemu.topology.plan.ends import destination_address, web_port
from gwlbemu.topology.plan.render import lab_map
from gwlbemu.topology.plan.values import Plan
from gwlbemu.trials.pairs import inspected_pair
from gwlbemu.views.model import Model, Question
from gwlbemu.views.status import read_status
from gwlbemu.views.targets import read_targets, targets_by_node
from gwlbemu.views.waiting import wait_until_healthy
from gwlbemu.wire.protocols import TCP


@click.command("up")
@click.argument("file", metavar="FILE", shell_complete=complete_topology)
@new_lab_option
@click.option("--datapath", type=click.Choice(["auto", "python", "ebpf"]), help="Overrides the file's datapath.")
@click.option("--no-capture", is_flag=True, help="Do not record packets.")
@click.option("--seed", metavar="TEXT", help="Same cookies and choice of targets in every run; without: random ones.")
@click.option(
    "--wait",
    "timeout",
    type=click.FloatRange(0),
    default=30.0,
    show_default=True,
    metavar="SECONDS",
    help="How long to wait for healthy targets.",
)
@json_option
def up_command(
    file: str, lab_name: str | None, datapath: str | None, no_capture: bool, seed: str | None, timeout: float,
    as_json: bool,
) -> int:  # fmt: skip
    """Bring up the lab that FILE describes and wait until its targets are healthy."""
    started = time.monotonic()
    plan = load_plan(file, lab_name)
    need_root()
    if datapath:
        plan = dataclasses.replace(plan, datapath=datapath)
    if no_capture:
        plan = dataclasses.replace(plan, capture=dataclasses.replace(plan.capture, enabled=False))
    lab = up(plan, seed=seed)
    try:
        troubles = wait_until_healthy(lab, timeout)
    except KeyboardInterrupt:  # as while it is built: nothing stays
        with uninterrupted():
            down(plan.lab)
        echo(
            f"{plan.lab} was not well yet and is down again ({command('up', '--wait', '0', file)} waits for nothing)",
            err=True,
        )
        raise
    nodes = {node.name for node in plan.nodes}
    if any(process.name in nodes and process.state == "dead" for process in lab.processes()):
        down(plan.lab)  # without its load balancer it is not a lab
        raise LabError("\n".join([*troubles, "what was built is removed again"]))
    slow = _super_packets_in_python(lab)
    if as_json:
        print_json(
            {
                "lab": plan.lab,
                "source": plan.source,
                "seconds": round(time.monotonic() - started, 3),
                "troubles": [*troubles, *slow],
                "targets": [dataclasses.asdict(each) for each in read_targets(lab).items],
            }
        )
        return 1 if troubles or slow else 0
    echo(lab_map(plan, targets_by_node(plan, read_targets(lab))))
    for trouble in (*troubles, *slow):
        echo(f"! {trouble}")
    targets = sum(len(group.targets) for group in plan.target_groups)
    word = (
        "not every target is healthy"
        if troubles
        else f"{targets} targets healthy"
        if targets > 1
        else "the target is healthy"
    )
    echo(f"\n{plan.lab} is up after {time.monotonic() - started:.1f} s, {word}. Try:")
    for line in _next_steps(plan):
        echo(f"  {line}")
    return 1 if troubles or slow else 0


def _super_packets_in_python(lab: RunningLab) -> list[str]:
    """Super-packets are longer than anything that Python carries here, node or appliance."""
    if not lab.plan.offload:
        return []
    slow = [node.name for node in read_status(lab).nodes if node.datapath == "python"]
    slow += [program.instance for program in lab.plan.programs if program.is_python_appliance]
    return [
        f"offload is true, but {name} is a Python program and carries no super-packets: TCP will not get through"
        for name in slow
    ]


def _next_steps(plan: Plan) -> list[str]:
    """Commands that show something on this very lab."""
    steps: list[str] = [hint(plan.lab, *words) for words in _by_balancer(plan)]
    if plan.gateway_nodes or not steps:
        steps += _between_instances(plan)
    steps.append(hint(plan.lab, *(("inspect", "--last", "--journeys") if plan.capture.enabled else ("status",))))
    return steps


def _between_instances(plan: Plan) -> Iterator[str]:
    with suppress(SettingError):
        client, server = inspected_pair(plan)
        port = web_port(plan, server)
        said = Model(plan).ask(Question(client.name, server.name, TCP, port or 80))
        if not all(one.answered for one in said.outcomes):
            return
        place = destination_address(client, server) + (f":{port}" if port not in (None, 80) else "")
        if port:
            yield hint(plan.lab, "exec", client.name, "--", "curl", "-s", f"http://{place}/")
        yield hint(plan.lab, "inject", "--from", client.name, "--to", server.name, "--tcp", str(port or 80))


def _by_balancer(plan: Plan) -> Iterator[list[str]]:
    """Yield the words of commands that reach a web server through a load balancer with addresses, if there is one."""
    targets = {(group.vpc, target.address) for group in plan.target_groups for target in group.targets}
    for node in (*plan.application_nodes, *plan.network_nodes):
        (balancer,) = (each for each in plan.load_balancers if each.name == node.load_balancer)
        vpc, address = ("", node.public_address) if node.public_address else (balancer.vpc, node.address)
        clients = [each for each in plan.instances if each.vpc == vpc and (vpc, each.address) not in targets]
        if clients and balancer.type == "application":
            listener = next((each for each in balancer.listeners if any(each.target_groups())), balancer.listeners[0])
            usual = {"HTTP": 80, "HTTPS": 443}[listener.protocol] == listener.port
            url = f"{listener.protocol.lower()}://{dns_name(balancer)}{'' if usual else f':{listener.port}'}/"
            yield ["http", clients[0].name, url]
            yield ["http", clients[0].name, url, "--count", "20"]
            return
        ports = [each.port for each in balancer.listeners if each.protocol in ("TCP", "TCP_UDP")]
        if clients and ports:
            place = address + (f":{ports[0]}" if ports[0] != 80 else "")
            yield ["exec", clients[0].name, "--", "curl", "-s", f"http://{place}/"]
            yield ["inject", "--from", clients[0].name, "--to", balancer.name, "--tcp", str(ports[0])]
            return


@click.command("down")
@lab_option
@click.option(
    "--keep-capture", type=click.Path(path_type=Path), metavar="FOLDER", help="Move the capture files there first."
)
@json_option
def down_command(lab_name: str | None, keep_capture: Path | None, as_json: bool) -> None:
    """Remove a lab: exactly what it made. Works twice, after a crash, and without the topology file."""
    labs = list_labs()
    if lab_name is None and len(labs) > 1:
        raise LabError(f"several labs are up ({', '.join(labs)}): choose one with --lab")
    name = lab_name or (labs[0] if labs else None)
    if name is None:
        if as_json:
            print_json({"lab": None, "was_there": False, "processes": 0, "namespaces": 0})
        else:
            echo("no lab is up, nothing to remove")
        return
    need_root()
    removed = down(name, keep_capture=keep_capture)
    if as_json:
        counts = {"processes": len(removed.processes), "namespaces": len(removed.namespaces)}
        print_json({"lab": name, "was_there": removed.was_there, **counts})
    elif removed.was_there:
        echo(
            f"{name} is down: {_count(removed.processes, 'process', 'es')} ended,"
            f" {_count(removed.namespaces, 'namespace', 's')} removed"
        )
    else:
        echo(f"no lab {name} is up, nothing to remove")


def _count(things: Sized, word: str, many: str) -> str:
    return f"{len(things)} {word}{'' if len(things) == 1 else many}"


@click.command("exec", context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
@lab_option
@click.argument("instance")
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
def exec_command(lab_name: str | None, instance: str, command: tuple[str, ...]) -> int:
    """Run COMMAND inside an instance (or a subnet, gateway or node): gwlbemu exec client -- curl -s http://203.0.113.10/

    The exit code is the command's own.
    """
    if command == ("--",):
        raise click.UsageError("say what to run: gwlbemu exec INSTANCE -- COMMAND")
    lab = open_lab(lab_name)
    namespace_of(lab.plan, instance)
    need_root()
    words = command[1:] if command[0] == "--" else command
    code = run(lab, instance, words)
    if code in (126, 127):
        echo(
            f"gwlbemu: {words[0]}: {'not found' if code == 127 else 'cannot be run'} (or it ended with {code})",
            err=True,
        )
    return code


@click.command("labs")
@json_option
def labs_command(as_json: bool) -> None:
    """Name every lab that is up."""
    labs = list_labs()
    if as_json:
        print_json(labs)
    else:
        echo("\n".join(labs) or "no lab is up")
