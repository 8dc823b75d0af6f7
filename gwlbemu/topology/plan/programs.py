"""What runs inside an instance: the kind of each program, where it listens, its command line and its rule file."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import yaml

from gwlbemu.topology.file.programs import Firewall, ProgramChoice
from gwlbemu.topology.file.schema import Topology
from gwlbemu.topology.plan.gateway import endpoints
from gwlbemu.topology.plan.layout import Layout
from gwlbemu.topology.plan.values import Instance, Program

_DEFAULT_HEALTH_PORT = 80  # of an appliance that is no target


def programs(topology: Topology, layout: Layout, instances: tuple[Instance, ...]) -> tuple[Program, ...]:
    """Return the program of every instance that has one; `instances` are the plan's."""
    ids = {endpoint.name: endpoint.endpoint_id for endpoint in endpoints(topology)}
    known = {instance.name: instance for instance in instances}
    return tuple(
        _program(choice, known[name], layout, ids, _health_port(topology, known[name]))
        for name, choice in _chosen(topology)
        if choice is not None
    )


def _chosen(topology: Topology) -> Iterator[tuple[str, ProgramChoice | None]]:
    for one in topology.internet.instances if topology.internet else ():
        yield one.name, one.program
    for vpc in topology.vpcs:
        yield from ((instance.name, instance.program) for instance in vpc.instances)


def _health_port(topology: Topology, instance: Instance) -> int:
    """Return where an appliance is probed: the port of its target group's health check."""
    known = {instance.name, instance.address}
    groups = [group for group in topology.target_groups if group.vpc == instance.vpc and known & set(group.target_ids)]
    for group in groups:
        return group.checked().port or group.port
    return _DEFAULT_HEALTH_PORT


def _program(
    choice: ProgramChoice, instance: Instance, layout: Layout, endpoint_ids: Mapping[str, str], health_port: int
) -> Program:
    argv, config, listens = _command(choice, instance.name, endpoint_ids, health_port)
    return Program(instance.name, layout.namespace(instance.name), argv, config, choice.kind, listens)


def _command(
    choice: ProgramChoice, instance: str, endpoint_ids: Mapping[str, str], health_port: int
) -> tuple[tuple[str, ...], str, int | None]:
    """Return the command line (its words in braces are filled in by `lab`), the rule file's text, the TCP port."""
    if choice.command is not None:
        return choice.command, "", None
    if choice.web is not None:
        port = choice.web.port
        return ("{python}", "-m", "gwlbemu.programs.web", "--name", instance, "--port", str(port)), "", port
    common = ("--interface", "eth0", "--control", "{control}", "--health-port", str(health_port))
    module, own, config = _appliance(choice, endpoint_ids)
    return ("{python}", "-m", module, *common, *own), config, health_port


def _appliance(choice: ProgramChoice, endpoint_ids: Mapping[str, str]) -> tuple[str, tuple[str, ...], str]:
    """Return an appliance's module, the options that only it has, and the text of its rule file."""
    if choice.firewall is not None:
        options = ("--rules", "{config}", "--log", "{log}", "--midstream", choice.firewall.midstream)
        return "appliances.firewall", options, _firewall_rules(choice.firewall, endpoint_ids)
    if choice.ids is not None:
        options = ("--rules", "{config}", "--eve", "{log}", *(("--ips",) if choice.ids.ips else ()))
        return "appliances.ids", options, choice.ids.rules
    if choice.broken is not None:
        return "appliances.broken", ("--mode", choice.broken.mode, "--delay", str(choice.broken.delay)), ""
    return "appliances.passthrough", (), ""


def _firewall_rules(firewall: Firewall, endpoint_ids: Mapping[str, str]) -> str:
    rules = firewall.model_dump(mode="json", exclude_none=True, exclude={"midstream"})
    for rule in rules["rules"]:
        if "protocol" in rule:
            rule["protocol"] = [int(text) if text.isdecimal() else text for text in rule["protocol"]]
        if "endpoint" in rule:
            rule["endpoint"] = endpoint_ids.get(rule["endpoint"], rule["endpoint"])
    return yaml.safe_dump(rules, sort_keys=False)
