"""Which two instances a lab is best shown with, and by which address one reaches the other."""

from __future__ import annotations

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
