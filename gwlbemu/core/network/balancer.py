"""A Network Load Balancer in one zone: what its node's kernel shall hold, and whose connections are to end.

Rules of this file: `now` is seconds on one clock that never goes back; nothing is done to a kernel here. After each
call that changes something, the caller writes `tables()` into the kernel and then ends the connections of
`take_flushes()`, in this order, so that no new connection comes to a target in between.

What the load balancer no longer forwards to keeps its connections: they end by themselves. A forward whose weights are
all 0, or whose chosen group has no target, drops new connections silently (AWS does not say).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from hashlib import blake2b
from itertools import count

from gwlbemu.core.elb.balancer_types import MOST_TARGETS, NETWORK
from gwlbemu.core.elb.groups import Groups, ProbeTarget
from gwlbemu.core.elb.network_attributes import NetworkAttributes
from gwlbemu.core.elb.states import Membership
from gwlbemu.core.network.proxy import Proxy, Server, is_proxied, proxy, server_name, text_of
from gwlbemu.core.network.records import TargetHealth
from gwlbemu.core.network.settings import Balancer, Forward, Group, Listener, Settings
from gwlbemu.core.network.tables import (
    NUMBER_MASK,
    PRESERVED,
    SLOTS,
    UDP_IDLE_SECONDS,
    Chooser,
    Connection,
    Destination,
    GroupTable,
    ListenerTable,
    Tables,
)
from gwlbemu.core.network.targets import NetworkMember, NetworkTargetGroup
from gwlbemu.errors import AwsError
from gwlbemu.wire.protocols import TCP, UDP

PROTOCOLS = {"TCP": (TCP,), "UDP": (UDP,), "TCP_UDP": (TCP, UDP)}  # of a listener, as the kernel sees them
_MOST_FORMER = 10_000  # targets that are remembered by number after they have gone


class NetworkBalancer:
    """One load balancer as one node sees it. Raises AwsError for what AWS would refuse; then nothing has changed."""

    def __init__(self, settings: Settings, balancer: Balancer, now: float) -> None:
        self._settings = settings
        self._numbers, self._group_numbers = count(1), count(1)
        self._groups: Groups[Group, NetworkAttributes, NetworkTargetGroup] = Groups(
            self._make_group, MOST_TARGETS[NETWORK]
        )
        self._listeners: tuple[Listener, ...] = ()
        self._attributes: Mapping[str, str] = {}
        self._flushes: list[int] = []
        self._names: dict[int, tuple[str, str]] = {}  # number -> group, target
        self.configure(balancer, now)

    # ---- changes ----
    def configure(self, balancer: Balancer, now: float) -> None:
        """Be `balancer` from now on; what is known of targets that stay stays, and what is gone drains."""
        attributes = {
            group.name: NetworkAttributes.from_text(load_balancer=balancer.attributes, target_group=group.attributes)
            for group in balancer.groups
        }
        for listener in balancer.listeners:
            NetworkAttributes.from_text(listener=listener.attributes)
        self._check(balancer)
        self._groups.change(balancer.groups, attributes, now)
        self._listeners, self._attributes = balancer.listeners, balancer.attributes
        self._note()

    def observe(self, group: str, target: str, ok: bool, now: float, reason: str = "", description: str = "") -> None:
        """Count a probe's result for a target of a group (see TargetGroup.observe)."""
        self._groups.observe(group, target, ok, now, reason, description)
        self._note()

    def expire(self, now: float) -> None:
        """Do what is due by `now`: delays and draining intervals end."""
        self._groups.advance(now)
        self._note()

    def next_deadline(self) -> float:
        """Return when `expire` has something to do next; math.inf when nothing waits."""
        return self._groups.next_deadline()

    def take_flushes(self) -> list[int]:
        """Return the numbers of the targets whose connections are to end, since the last call."""
        taken, self._flushes = self._flushes, []
        return taken

    # ---- what is known ----
    def groups(self) -> dict[str, Group]:
        """Return what is known of each target group by its name, as it was told."""
        return dict(self._groups.told)

    def eligible(self, group: str) -> tuple[Destination, ...]:
        """Return the targets of a group of this name that a new connection may be sent to; none of an unknown group."""
        known = self._groups.members.get(group)
        return _destinations(known) if known else ()

    def failing_open(self) -> list[str]:
        """Return the names of the groups that send to unhealthy targets because too few are healthy."""
        return self._groups.failing_open()

    def healthy_counts(self) -> dict[str, tuple[int, int]]:
        """Return by target group how many of the targets in this zone's scope are healthy, and how many have to be for
        the zone to be in DNS.
        """
        return self._groups.healthy_counts()

    @property
    def client_routing_policy(self) -> str:
        """The attribute `dns_record.client_routing_policy`, with its default."""
        return NetworkAttributes.from_text(load_balancer=self._attributes).client_routing_policy

    def target_health(self, now: float) -> list[TargetHealth]:
        """Return every target of every group, as DescribeTargetHealth would."""
        self.expire(now)
        return [
            TargetHealth(
                name,
                member.id,
                member.address,
                member.port,
                member.zone,
                *member.status,
                member.number,
                group.is_in_scope(member) or member.membership is Membership.NOT_IN_USE,
            )
            for name, _, group in self._groups
            for member in group.members.values()
        ]

    def probe_targets(self, group: str) -> list[ProbeTarget]:
        """Return whom to probe in a group."""
        return self._groups.probe_targets(group)

    def name_of(self, mark: int) -> tuple[str, str]:
        """Return the group and the id of the target of a connection with this mark; ("", "") for an unknown one."""
        return self._names.get(mark & NUMBER_MASK, ("", ""))

    def listener_of(self, protocol: int, port: int) -> str:
        """Return the name of the listener (TCP:80) with this port, "" when there is none any more."""
        for listener in self._listeners:
            if listener.port == port and protocol in PROTOCOLS.get(listener.protocol, ()):
                return listener.name
        return ""

    def port_of(self, group: str) -> int:
        """Return the port of the first listener that forwards to a group; 0 where none does."""
        for listener in self._listeners:
            for forward in (listener.forward, *(each for _, each in listener.by_version)):
                if any(name == group for name, _ in forward.groups):
                    return listener.port
        return 0

    # ---- what the kernel shall hold ----
    def tables(self) -> Tables:
        """Return what the kernel shall hold now."""
        groups = {group.number: _table(group, self._seed_of("group", name)) for name, _, group in self._groups}
        known = tuple(
            Destination(mark, member.address, member.port)
            for _, member in self._members()
            for mark in (member.number, member.number | PRESERVED)
        )
        return Tables(
            address=self._settings.address,
            listeners=tuple(self._listener_tables()),
            groups=groups,
            known=known,
            proxied=self._proxied_ports(4),
            ipv6_address=self._settings.ipv6_address,
            proxied_ipv6=self._proxied_ports(6) if self._settings.ipv6_address else (),
        )

    def proxy(self) -> Proxy:
        """Return what the proxy of the node shall do now, nothing where no listener is a proxy's."""
        addresses = tuple(filter(None, (self._settings.address, self._settings.ipv6_address)))
        servers = {name: _servers(group) for name, _, group in self._groups}
        return proxy(addresses, self._listeners, self.groups(), servers)

    def chosen(self, connection: Connection) -> tuple[str, str] | None:
        """Return the group and the target that the kernel takes for a new connection; None where it drops it."""
        mark = self.tables().chosen(connection)
        return None if mark is None else self.name_of(mark)

    def _proxied_ports(self, version: int) -> tuple[int, ...]:
        return tuple(each.port for each in self._listeners if is_proxied(each, self.groups(), version))

    def _listener_tables(self) -> Iterator[ListenerTable]:
        for listener in self._listeners:
            idle = NetworkAttributes.from_text(listener=listener.attributes).tcp_idle_seconds
            forward = listener.forward_of(4)
            chooser = Chooser(self._seed_of("forward", ""), forward.sticky, self._group_slots(forward))
            proxied = is_proxied(listener, self.groups())
            for protocol in PROTOCOLS.get(listener.protocol, ()):
                if protocol == TCP and proxied:
                    continue
                yield ListenerTable(protocol, listener.port, idle if protocol == TCP else UDP_IDLE_SECONDS, chooser)

    def _group_slots(self, forward: Forward) -> tuple[int, ...]:
        """Each group's share of the slots, exactly as the weights say."""
        total = sum(weight for _, weight in forward.groups)
        slots: list[int] = []
        reached = 0
        for name, weight in forward.groups:
            reached += weight
            end = round(SLOTS * reached / total) if total else 0
            slots += [self._groups.members[name].number] * (end - len(slots))
        return tuple(slots)

    def _seed_of(self, *what: str) -> int:
        """A seed of its own for each choice, so that one says nothing about the next."""
        text = "\0".join((str(self._settings.seed), self._settings.load_balancer, *what))
        return int.from_bytes(blake2b(text.encode(), digest_size=4).digest(), "big")

    # ---- inside ----
    def _make_group(self, told: Group, attributes: NetworkAttributes, now: float) -> NetworkTargetGroup:
        number = next(self._group_numbers)
        return NetworkTargetGroup(self._settings, told, attributes, number, lambda: next(self._numbers), now)

    def _members(self) -> Iterator[tuple[str, NetworkMember]]:
        return ((name, each) for name, _, group in self._groups for each in group.members.values())

    def _note(self) -> None:
        """Take what the groups have decided, and forget who is gone."""
        for _, _, group in self._groups:
            self._flushes += [member.number for member in group.take_ended()]
        for name, member in self._members():
            self._names.pop(member.number, None)  # so that those that are there are the last
            self._names[member.number] = name, member.id
        self._groups.forget_gone()
        if len(self._names) > _MOST_FORMER:
            for number in list(self._names)[: len(self._names) - _MOST_FORMER]:
                del self._names[number]

    def _check(self, balancer: Balancer) -> None:
        """Refuse what would be refused in the middle."""
        names = [group.name for group in balancer.groups]
        for listener in balancer.listeners:
            for forward in (listener.forward, *(each for _, each in listener.by_version)):
                for name, _ in forward.groups:
                    if name not in names:
                        raise AwsError(f"listener {listener.name} forwards to unknown target group {name}")
        self._groups.check(balancer.groups)


def _servers(group: NetworkTargetGroup) -> tuple[Server, ...]:
    """Return the targets as a proxy knows them: all that may have connections."""
    eligible = set(group.eligible)
    return tuple(
        Server(server_name(each.number), text_of(each.address), each.port, each in eligible)
        for each in group.members.values()
    )


def _table(group: NetworkTargetGroup, seed: int) -> GroupTable:
    """Return what the kernel shall hold of a group."""
    slots = tuple(member.number | _flag(group) for member in group.slots())
    return GroupTable(group.number, Chooser(seed, group.attributes.sticky, slots), _destinations(group))


def _destinations(group: NetworkTargetGroup) -> tuple[Destination, ...]:
    """Return the targets that may be chosen."""
    return tuple(Destination(member.number | _flag(group), member.address, member.port) for member in group.eligible)


def _flag(group: NetworkTargetGroup) -> int:
    return PRESERVED if group.attributes.preserve_client_ip else 0
