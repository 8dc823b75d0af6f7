"""The two ends of test traffic: who sends, who receives, and by which address one reaches the other."""

from __future__ import annotations

import ipaddress

from gwlbemu.errors import SettingError
from gwlbemu.topology.plan import Instance, Plan


def client_and_server(plan: Plan) -> tuple[Instance, Instance]:
    """Somebody on the internet if there is anybody, and an instance that can be reached; appliances are neither."""
    plain = [instance for instance in plan.instances if not instance.appliance]
    clients = [i for i in plain if not i.vpc] or plain
    servers = [i for i in plain if i.vpc and i is not (clients[0] if clients else None)]
    servers.sort(key=lambda i: not i.public_address)
    if not clients or not servers:
        raise SettingError("this lab has no two instances that could talk: name them with --from and --to")
    return clients[0], servers[0]


def destination_address(sender: Instance, receiver: Instance) -> str:
    """The public address for somebody on the internet, the private one inside."""
    return receiver.public_address if not sender.vpc and receiver.public_address else receiver.address


def source_address(sender: Instance, destination: str) -> str:
    """The sender's address of the destination's family."""
    if ":" not in destination:
        return sender.address
    if not sender.ipv6_address:
        raise SettingError(f"inject: {sender.name} has no IPv6 address to reach {destination} from")
    return sender.ipv6_address


def instance_named(plan: Plan, name: str) -> Instance:
    for instance in plan.instances:
        if instance.name == name:
            return instance
    known = ", ".join(instance.name for instance in plan.instances)
    raise SettingError(f"inject: no instance {name}; there are: {known}")


def receiver_of(plan: Plan, sender: Instance, name: str) -> tuple[str, Instance | None]:
    """What `name`, an instance or an address, means to the sender: the address, and whose it is if it is anybody's."""
    try:
        address = str(ipaddress.ip_address(name))
    except ValueError:
        receiver = instance_named(plan, name)
        return destination_address(sender, receiver), receiver
    return address, owner_of(plan, address)


def owner_of(plan: Plan, address: str) -> Instance | None:
    """The instance that has the address, public or private."""
    return next(
        (i for i in plan.instances if address in (i.address, i.public_address, i.ipv6_address) and address), None
    )
