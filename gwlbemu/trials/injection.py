"""Prepare test packets: from whom, to whom, which; the same for the command line and for Python."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

from gwlbemu.errors import SettingError
from gwlbemu.topology.plan.ends import (
    destination_address,
    instance_at,
    instance_named,
    owner_of,
    receiver_of,
    source_address,
    web_port,
)
from gwlbemu.topology.plan.values import Instance, Plan
from gwlbemu.trials.craft import CraftedPacket, PacketSpec, craft
from gwlbemu.trials.pairs import inspected_pair

EPHEMERAL = (32768, 60999)  # Linux's own range for client ports


@dataclass(frozen=True, slots=True)
class Injection:
    """Packets ready to be sent from `sender`'s eth0. `receiver` is None when their destination is nobody's."""

    sender: Instance
    receiver: Instance | None
    packets: tuple[CraftedPacket, ...]


def demo_packets(plan: Plan, *, source: str | None = None, destination: str | None = None) -> tuple[PacketSpec, ...]:
    """Return a handful of packets that meet different fates; one goes to the port of the receiver's web server."""
    if destination is not None:
        receiver = instance_at(plan, destination)
    else:
        receiver = inspected_pair(plan, sender=instance_named(plan, source) if source is not None else None)[1]
    port = (web_port(plan, receiver) if receiver else None) or 80
    return (
        PacketSpec("icmp"),
        *(PacketSpec("tcp", each) for each in (port, 22, 23)),
        PacketSpec("udp", 53, payload=b"hello"),
    )


def prepare(
    plan: Plan,
    specs: Sequence[PacketSpec],
    *,
    source: str | None = None,
    destination: str | None = None,
    source_port: int = 0,
    count: int = 1,
) -> Injection:
    """Craft `count` times all of `specs`.

    Without a source or a destination they are ends whose packets are inspected (see `inspected_pair`). A scapy packet
    or expression brings its own destination. `source_port` 0 is a fresh one, the same for all. Raises SettingError for
    a name that is not known and for a number that does not fit.
    """
    for spec in specs:
        check_number(f"inject: {spec.protocol}", spec.port, 1 if spec.protocol in ("tcp", "udp") else 0, 65535)
        if not isinstance(spec.payload, bytes):
            raise SettingError(f"inject: payload {spec.payload!r}: expected bytes or text")
    check_number("inject: source_port", source_port, 0, 65535)
    check_number("inject: count", count, 1, 65535)
    if source is not None:
        sender = instance_named(plan, source)
    else:
        sender = inspected_pair(plan, receiver=instance_at(plan, destination) if destination is not None else None)[0]
    own = any(spec.protocol == "expression" for spec in specs)
    address, receiver = "", None
    if destination is not None:
        address, receiver = receiver_of(plan, sender, destination)
    elif not own:
        receiver = inspected_pair(plan, sender=sender)[1]
        address = destination_address(sender, receiver)
    if receiver is sender or address in (sender.address, sender.ipv6_address or sender.address):
        raise SettingError(f"inject: {sender.name} is both ends: what it sends to itself crosses no wire")
    port, first_id = source_port or random.randint(*EPHEMERAL), random.randrange(1, 60000)
    packets = tuple(
        craft(
            spec,
            source_address(sender, address),
            address,
            ip_id=(first_id + n) % 65536,
            source_port=port,
            ipv6_source=sender.ipv6_address,
        )
        for n, spec in enumerate([*specs] * count)
    )
    return Injection(sender, owner_of(plan, packets[0].destination) if own else receiver, packets)


def check_number(what: str, given: object, lowest: int, highest: int) -> None:
    """Raise SettingError unless `given`, the argument that `what` names, is a whole number within the bounds."""
    if not isinstance(given, int) or not lowest <= given <= highest:
        raise SettingError(f"{what} {given!r}: expected a whole number from {lowest} to {highest}")
