"""nftables rules at the bridge port of an instance: what it may send and get, enforced where it cannot reach.

Root inside an instance writes and reads raw frames, which no rule of its own namespace sees. So MAC, address, lengths
and security groups are judged at the other end of its cable, and every packet that is dropped there is counted by name.
Who is plugged in is the plan's: every neighbour is known, so nobody asks by ARP or neighbour discovery, nobody tells,
and no broadcast is carried (VPC guide, "VPCs do not support broadcast or multicast").
"""

from __future__ import annotations

from collections.abc import Iterator

from gwlbemu.topology.plan.machine_half import InstancePort
from gwlbemu.topology.plan.port_groups import BLOCKED, Groups, blocked_counter, group_chains
from gwlbemu.topology.plan.rulesets import chain, counted_drop, table

TABLE = "netdev ports"
DIRECTIONS = {"sent": "sent", "received": "was to receive"}  # by the instance; how a sentence says it
REASONS = {
    "frame": "neither IPv4 nor IPv6, lengths that contradict each other, broadcast, neighbour discovery",
    "mac": "another interface's MAC",
    "address": "not the instance's own address (source/destination check)",
    "group": "no rule of the security groups lets it through",
}


def instance_port(port: InstancePort, groups: Groups | None) -> str:
    """Return the ruleset of a port; `groups` are the security groups of its instance, None for no group.

    Both hooks look at the frame on the wire (netdev ingress and egress, Linux 5.16). `TABLE` has a counter
    `DIRECTION_REASON_DEVICE` for each of DIRECTIONS and REASONS.
    """
    device, mac = port.device, f"0x{port.mac.replace(':', '')}"
    counters = [f"  counter {way}_{reason}_{device} {{ }}\n" for way in DIRECTIONS for reason in REASONS]
    if groups and groups.counted:
        blocked = [blocked_counter(way, protocol, device) for way in DIRECTIONS for protocol in BLOCKED]
        counters += [f"  counter {each} {{ }}\n" for each in blocked]
    families = [(way, version) for way in DIRECTIONS for version in (4, 6)]
    return table(
        TABLE,
        *counters,
        *(group_chains(port, groups) if groups else ()),
        *(chain(f"{way}{version}_{device}", "", _packet(port, way, version, groups)) for way, version in families),
        # By the link header: a VLAN tag, wherever the kernel keeps it, is read there, too. Each look there costs.
        chain(
            f"sent_{device}",
            f'filter hook ingress device "{device}" priority 0; policy drop;',
            [
                f"@ll,48,64 {mac}0800 goto sent4_{device}",
                f"@ll,48,64 {mac}86dd goto sent6_{device}",
                f"@ll,48,48 != {mac} {counted_drop('sent_mac', device)}",
                counted_drop("sent_frame", device),
            ],
        ),
        *([_received(device, mac)] if port.source_dest_check or groups else []),
    )


def _received(device: str, mac: str) -> str:
    """The hook for what goes to an instance. One that takes any address from anybody does without: its bridge brings
    it nothing but frames for its MAC, and this costs a tenth of the way of a packet that takes no shortcut.
    """
    return chain(
        f"received_{device}",
        f'filter hook egress device "{device}" priority 0; policy drop;',
        [
            f"@ll,0,48 != {mac} {counted_drop('received_mac', device)}",
            f"@ll,96,16 0x0800 goto received4_{device}",
            f"@ll,96,16 0x86dd goto received6_{device}",
            counted_drop("received_frame", device),
        ],
    )


def _packet(port: InstancePort, way: str, version: int, groups: Groups | None) -> Iterator[str]:
    """The rules for packets of one family and one direction, after the frame's own."""
    family, side = "ip" if version == 4 else "ip6", "saddr" if way == "sent" else "daddr"
    own = port.address if version == 4 else port.ipv6_address
    if way == "sent":
        yield f"meta pkttype 1-2 {counted_drop('sent_frame', port.device)}"  # broadcast, multicast
    if port.source_dest_check:
        other = f"{family} {side} != {own} " if own else ""
        yield other + counted_drop(f"{way}_address", port.device)
    if version == 6:
        yield f"icmpv6 type 133-137 {counted_drop(f'{way}_frame', port.device)}"
    # nftables knows the protocol only of a packet whose version and lengths are right.
    yield f"meta l4proto >= 0 {f'goto {way}_groups{version}_{port.device}' if groups else 'accept'}"
    yield counted_drop(f"{way}_frame", port.device)
