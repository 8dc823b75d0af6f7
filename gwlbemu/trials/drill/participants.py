"""Who takes part in a drill: the client, a server per zone that answers it, and the target or zone that fails."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from gwlbemu.errors import LabError
from gwlbemu.lab import client
from gwlbemu.lab.client import Client
from gwlbemu.lab.commands import ROOT_FOLDER, own_module
from gwlbemu.lab.running import RunningLab
from gwlbemu.programs.traffic import ConnectionState, parse_states
from gwlbemu.topology.plan.ends import client_and_server, destination_address, instance_named, owner_of, receiver_of
from gwlbemu.topology.plan.values import Instance, Node, Plan, Target, TargetGroup
from gwlbemu.trials.drill.outcome import ENGINE, Carriers, NodeEndpoint
from gwlbemu.trials.drill.subject import NO_BALANCER, Subject
from gwlbemu.views.targets import read_targets

FIRST_ANSWER_SECONDS = 20.0
NO_SPARE = "no target can be spared: each target that carries a flow is the only healthy one of its node"
ONE_ZONE = "a zone can be lost only where servers in two zones answer"
STEADY_FLOWS, PACE_SECONDS = 50, 0.1  # so many connections of a program ask as often as that, more of them less often


class NotPossible(LabError):
    """This lab cannot have such an event: a fact about its topology, not a failure."""


@dataclass(frozen=True, slots=True)
class DrillServer:
    """A web server of the drill, or the node of a load balancer with addresses that stands before several.

    `zone` is empty for one that is outside every VPC.
    """

    name: str
    zone: str
    address: str  # by which the client reaches it
    addresses: frozenset[str]  # every address of it


@dataclass(frozen=True, slots=True)
class Participants:
    """Who opens the connections, who answers them, and whose nodes are on the way."""

    client: Instance
    servers: tuple[DrillServer, ...]
    subject: Subject


def choose_participants(
    lab: RunningLab, subject: Subject, source: str | None, destinations: Sequence[str]
) -> Participants:
    """Return a client and a server per zone, or those that are named; of a load balancer with addresses its nodes.

    `source` and `destinations` are instances or addresses. Raises LabError when no server answers.
    """
    port = subject.port
    sender = instance_named(lab.plan, source) if source else default_sender(lab.plan, subject)
    found = servers_of(lab.plan, subject, sender, destinations)
    if subject.is_application:
        return Participants(sender, tuple(found), subject)
    tries = [(server, start_traffic(lab, sender, server, port, flows=1, records=1)) for server in found]
    answering = [server for server, process in tries if _answers(process)]
    if subject.is_network:
        pass  # a zone without a target that could answer has no connections
    elif not destinations:
        answering = list({server.zone: server for server in reversed(answering)}.values())[::-1]
    elif len(answering) < len(found):
        found = [server for server in found if server not in answering]
        answering = []
    if not answering:
        names = ", ".join(server.name for server in found) or "none"
        raise LabError(
            f"no web server answers {sender.name} on port {port} (tried: {names}); name the ends with --from and --to"
        )
    return Participants(sender, tuple(answering), subject)


def default_sender(plan: Plan, subject: Subject) -> Instance:
    """Return who opens the connections when nobody is named: of a load balancer with addresses one who is no target.

    Raises SettingError or LabError when there is nobody.
    """
    if not subject.addressed_nodes:
        return client_and_server(plan)[0]
    (balancer,) = subject.balancers
    owners = [_owner(plan, group, target) for group in subject.groups for target in group.targets]
    inside = [each for each in plan.instances if each.vpc == balancer.vpc and each not in owners]
    outside = [each for each in plan.instances if not each.vpc]
    is_public = any(node.public_address for node in subject.addressed_nodes)
    found: list[Instance] = [*(outside if is_public else ()), *inside]
    if found:
        return found[0]
    raise LabError(f"nobody here could be a client of {balancer.name}: name one with --from")


def servers_of(plan: Plan, subject: Subject, sender: Instance, destinations: Sequence[str]) -> list[DrillServer]:
    """Return whom the sender could connect to: of a load balancer with addresses its nodes, else instances.

    `destinations` are the instances or addresses that are named. Raises UnknownNameError for one that is not there.
    """
    if not subject.addressed_nodes:
        return [_server(plan, sender, name) for name in destinations or _candidates(plan, sender)]
    return [
        DrillServer(
            node.name,
            node.zone,
            node.address if sender.vpc else node.public_address,
            frozenset({node.address, node.public_address} - {""}),
        )
        for node in subject.addressed_nodes
        if sender.vpc or node.public_address
    ]


def _candidates(plan: Plan, sender: Instance) -> list[str]:
    """Instances that could be the server, those with a public address alone if there are any."""
    plain = [each for each in plan.instances if each.vpc and not each.appliance and each is not sender]
    public = [each for each in plain if each.public_address]
    return [each.name for each in (public if public and not sender.vpc else plain)]


def _server(plan: Plan, sender: Instance, name: str) -> DrillServer:
    address, owner = receiver_of(plan, sender, name)
    if owner is None:
        return DrillServer(name, "", address, frozenset((address,)))
    zone = owner.zone if owner.vpc else ""
    return DrillServer(owner.name, zone, destination_address(sender, owner), owner.addresses)


def _answers(process: Client) -> bool:
    try:
        ended = process.wait(FIRST_ANSWER_SECONDS)
    except LabError:
        process.kill()
        return False
    lines = ended.stdout.splitlines()
    return bool(lines) and parse_states(lines[-1])[0].records > 0


def start_traffic(
    lab: RunningLab, sender: Instance, server: DrillServer, port: int, *, flows: int, records: int = 0
) -> Client:
    """Open `flows` connections from the client to a server; without `records` they go on until they are stopped."""
    pace = PACE_SECONDS * max(1.0, flows / STEADY_FLOWS)
    words = [server.address, "--port", str(port), "--flows", str(flows), "--records", str(records)]
    words += ["--pace", f"{pace:g}"]
    command = own_module("gwlbemu.programs.traffic", *words)
    return client.start(lab, sender.name, command, directory=ROOT_FOLDER)


def newest(process: Client) -> list[ConnectionState]:
    """Return how the connections of a traffic program stood when it last printed a line; [] before it did."""
    line = process.last_line()
    return parse_states(line) if line else []


def target_to_fail(healthy: Mapping[str, set[str]], all_carriers: Iterable[Carriers]) -> str:
    """Return the target that carries most flows, of those whose flows have another healthy target to go to.

    `healthy` has the ids of the healthy targets by node. Raises NotPossible when there is none.
    """
    all_carriers = list(all_carriers)
    carried = Counter(target for carriers in all_carriers for target in carriers.values())
    replaceable = {
        target
        for target in carried
        if all(
            len(healthy[hop[0]] - {target}) > 0
            for carriers in all_carriers
            for hop, other in carriers.items()
            if other == target
        )
    }
    for target, _ in sorted(carried.items(), key=lambda item: (-item[1], item[0])):
        if target in replaceable:
            return target
    raise NotPossible(NO_SPARE)


def why_not(
    plan: Plan, subject: Subject, event: str, source: str | None, destinations: Sequence[str],
    healthy: Mapping[str, set[str]],
) -> str:  # fmt: skip
    """Return why an event cannot be drilled with these ends, as far as that is plain before anything is sent; "" else.

    `healthy` has the ids of the healthy targets by node. Raises UnknownNameError for ends that are not there.
    """
    if not subject.nodes:
        return NO_BALANCER
    if event == "tables":
        return "" if subject.is_network else "only a network load balancer's node has tables in the kernel"
    if event == ENGINE:
        return "" if subject.is_application else "only an application load balancer's drill ends engines"
    sender = instance_named(plan, source) if source else default_sender(plan, subject)
    servers = servers_of(plan, subject, sender, destinations)
    if event == "zone":
        return ONE_ZONE if len({server.zone for server in servers if server.zone}) < 2 else ""
    users = {
        target: [node for node in healthy if target in healthy[node]] for each in healthy.values() for target in each
    }
    return "" if any(all(len(healthy[node]) > 1 for node in nodes) for nodes in users.values()) else NO_SPARE


def healthy_in(plan: Plan, subject: Subject) -> dict[str, set[str]]:
    """Return the ids of the subject's targets that each node holds to be healthy when all are."""
    known = {target for group in subject.groups for target in group.targets}
    return {node.name: {target.id for target in plan.in_scope(node) if target in known} for node in subject.nodes}


def healthy_by_node(lab: RunningLab, subject: Subject) -> dict[str, set[str]]:
    """Return the ids of the subject's targets that each of its nodes holds to be healthy."""
    found: dict[str, set[str]] = {node.name: set() for node in subject.nodes}
    groups = {group.name for group in subject.groups}
    for each in read_targets(lab).complete():
        if each.state == "healthy" and each.node in found and each.target_group in groups:
            found[each.node].add(each.id)
    return found


def zone_to_lose(servers: Sequence[DrillServer]) -> str:
    """Return a zone that has a server of the drill and is not the only one. Raises NotPossible when there is none."""
    zones = sorted({server.zone for server in servers if server.zone})
    if len(zones) < 2:
        raise NotPossible(ONE_ZONE)
    return zones[0]


def group_with(groups: Iterable[TargetGroup], target: str) -> TargetGroup:
    """Return the target group, of these, that `target` is registered with."""
    for group in groups:
        if target in {each.id for each in group.targets}:
            return group
    raise LabError(f"{target} is registered with no target group")


def instance_of(plan: Plan, group: TargetGroup, target: str) -> str:
    """Return the instance behind a target of a group, which may be registered by its address."""
    (found,) = (each for each in group.targets if each.id == target)
    owner = _owner(plan, group, found)
    if owner is None:
        raise LabError(f"{target} is no instance of this lab")
    return owner.name


def _owner(plan: Plan, group: TargetGroup, target: Target) -> Instance | None:
    inside = (each for each in plan.instances if (each.vpc, each.address) == (group.vpc, target.address))
    return next(inside, None) or owner_of(plan, target.address)


def targets_in(groups: Iterable[TargetGroup], zone: str) -> set[str]:
    """Return the ids of the targets of these groups in a zone."""
    return {target.id for group in groups for target in group.targets if target.zone == zone}


def is_cut_off(nodes: Iterable[Node], server: DrillServer, hops: Collection[NodeEndpoint], zone: str) -> bool:
    """Return whether a flow has its server, or one of `nodes` on its way, in a zone that is lost."""
    zones = {node.name: node.zone for node in nodes}
    return server.zone == zone or any(zones[node] == zone for node, _ in hops)


def is_hit(carriers: Mapping[NodeEndpoint, str], targets: Collection[str]) -> bool:
    """Return whether a flow that is carried so has one of `targets` on its way."""
    return any(target in targets for target in carriers.values())
