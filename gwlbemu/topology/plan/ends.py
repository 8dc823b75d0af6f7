"""The two ends of test traffic: who sends, who receives, and by which address one reaches the other."""

from __future__ import annotations

import ipaddress

from gwlbemu.core.elb.balancer_types import GATEWAY
from gwlbemu.core.network.balancer import PROTOCOLS
from gwlbemu.errors import SettingError, UnknownNameError
from gwlbemu.topology.plan.dns_names import resource_named
from gwlbemu.topology.plan.values import Instance, LoadBalancer, Plan


def client_and_server(
    plan: Plan, *, sender: Instance | None = None, receiver: Instance | None = None
) -> tuple[Instance, Instance]:
    """Return two ends that can talk, as far as addresses tell; an end that is given stays.

    By preference a web server with a public address, and somebody on the internet. Never an appliance. Raises
    SettingError when there are no two.
    """
    plain = [instance for instance in plan.instances if not instance.appliance]
    senders = [sender] if sender else sorted(plain, key=lambda each: bool(each.vpc))
    receivers = (
        [receiver]
        if receiver
        else sorted(plain, key=lambda each: (web_port(plan, each) is None, not each.vpc, not each.public_address))
    )
    pairs = [(one, other) for other in receivers for one in senders if one is not other]
    talking = [pair for pair in pairs if _reaches(plan, *pair)]
    if sender or receiver:
        talking = talking or pairs
    if not talking:
        raise SettingError("this lab has no two instances that could talk: name them with --from and --to")
    return talking[0]


def _reaches(plan: Plan, sender: Instance, receiver: Instance) -> bool:
    roles = {namespace.role for namespace in plan.namespaces}
    if sender.vpc and receiver.vpc:
        return sender.vpc == receiver.vpc or "transit-gateway" in roles
    if receiver.vpc:
        return bool(receiver.public_address)
    return not sender.vpc or bool(sender.public_address) or "nat-gateway" in roles


def web_port(plan: Plan, instance: Instance) -> int | None:
    """Return the TCP port of the instance's web server; None when its program is no web server of ours."""
    for program in plan.programs:
        if program.instance == instance.name and program.kind == "web":
            return program.listens
    return None


def balancer_at(plan: Plan, name: str) -> LoadBalancer | None:
    """Return the network or application load balancer that `name` means: its own name, that of a node, or an address
    of one.
    """
    if any(instance.name == name for instance in plan.instances):
        return None
    found = {each.name: each for each in plan.load_balancers if each.type != GATEWAY}
    for node in plan.addressed_nodes:
        if name in (node.name, node.address, node.public_address) and name:
            return found[node.load_balancer]
    return found.get(name)


def listening(plan: Plan, protocol: int, port: int | None) -> list[str]:
    """Return the load balancers that have a listener for a protocol, TCP or UDP, at a port."""
    return [
        balancer.name
        for balancer in plan.load_balancers
        if balancer.type != GATEWAY
        and any(each.port == port and protocol in _taken(each.protocol) for each in balancer.listeners)
    ]


def listener_port(plan: Plan, name: str, protocol: int) -> int | None:
    """Return the port of the first listener that takes a protocol, TCP or UDP, of the load balancer that `name` means;
    None when there is none.
    """
    balancer = balancer_at(plan, name)
    listeners = balancer.listeners if balancer else ()
    return next((each.port for each in listeners if protocol in _taken(each.protocol)), None)


def _taken(protocol: str) -> tuple[int, ...]:
    """The protocols of packets that a listener of this protocol takes; TLS, HTTP and HTTPS come over TCP."""
    return PROTOCOLS.get(protocol, PROTOCOLS["TCP"])


def destination_address(sender: Instance, receiver: Instance) -> str:
    """Return the address by which `sender` reaches `receiver`: on the internet the public one, inside the private."""
    return receiver.public_address if not sender.vpc and receiver.public_address else receiver.address


def source_address(sender: Instance, destination: str) -> str:
    """Return the sender's address of the destination's family. Raises SettingError when it has none."""
    if ":" not in destination:
        return sender.address
    if not sender.ipv6_address:
        raise SettingError(f"inject: {sender.name} has no IPv6 address to reach {destination} from")
    return sender.ipv6_address


def instance_named(plan: Plan, name: str) -> Instance:
    """Return the instance called `name`. Raises SettingError when there is none."""
    for instance in plan.instances:
        if instance.name == name:
            return instance
    known = ", ".join(instance.name for instance in plan.instances)
    raise UnknownNameError(f"no instance {name}; there are: {known}")


def receiver_of(plan: Plan, sender: Instance, name: str) -> tuple[str, Instance | None]:
    """Return the address that `name`, an instance, an address or a DNS name, means to the sender, and whose it is, if
    anybody's.

    The name of a load balancer means its address in its first zone; that of a node, the node's. Raises
    SettingError when `name` is none of these.
    """
    name = resource_named(plan, name)
    try:
        address = str(ipaddress.ip_address(name))
    except ValueError:
        balancer = balancer_at(plan, name)
        if balancer is not None:
            nodes = [each for each in plan.addressed_nodes if each.load_balancer == balancer.name]
            node = next((each for each in nodes if each.name == name), nodes[0])
            inside = node.name == name and sender.vpc
            return (node.address if inside else node.public_address or node.address), None
        receiver = instance_named(plan, name)
        return destination_address(sender, receiver), receiver
    return address, owner_of(plan, address)


def instance_at(plan: Plan, name: str) -> Instance | None:
    """Return the instance that is called `name` or has it as an address; None when there is none."""
    return next((instance for instance in plan.instances if instance.name == name), None) or owner_of(plan, name)


def owner_of(plan: Plan, address: str) -> Instance | None:
    """Return the instance that has the address, public or private, of either family; None when there is none."""
    return next(
        (i for i in plan.instances if address in (i.address, i.public_address, i.ipv6_address) and address), None
    )
