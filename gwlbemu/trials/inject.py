"""Send crafted packets from inside an instance and tell the fate of each.

A fate is put together from what others saw, never from what should have happened: the nodes' traces (endpoint, target,
cookie, verdict) and packet sockets at the source and at the destination. The IP id (IPv6: the ports and length) tells
the packets apart.
"""

from __future__ import annotations

import errno
import select
import socket
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import Any

from gwlbemu.errors import LabError, NetError, SettingError, WireError
from gwlbemu.lab.failure import failures
from gwlbemu.lab.running import RunningLab
from gwlbemu.net.inside import inside
from gwlbemu.net.namespaces import path_of
from gwlbemu.topology.plan.values import Instance
from gwlbemu.trials.craft import Crafted, summary
from gwlbemu.views.appliance_logs import ApplianceLogs, LoggedFlow
from gwlbemu.views.ask import ask_nodes
from gwlbemu.wire.icmp import decode_icmp
from gwlbemu.wire.ip import decode_ip
from gwlbemu.wire.protocols import ICMP, ICMPV6

SOL_PACKET, PACKET_IGNORE_OUTGOING, ETH_P_ALL = 263, 23, 3
ETHERNET_LENGTH = 14
QUIET = 0.3  # a packet that nobody has seen for this long (seconds) is not on its way any more
LONGEST = 3.0
LONGEST_INTERVAL = 3600  # between two packets, seconds


@dataclass(frozen=True, slots=True)
class Hop:
    """One verdict of one node about the packet."""

    at: float
    node: str
    endpoint: str
    verdict: str  # to-target | to-endpoint | reset | drop
    target: str
    cookie: str
    reason: str


@dataclass(frozen=True, slots=True)
class Fate:
    """What became of one packet. `outcome`: delivered | dropped | not-returned | rejected | lost."""

    number: int
    summary: str
    hops: tuple[Hop, ...] = ()
    delivered_to: str = ""
    delivered_after: float = 0.0  # seconds
    replies: tuple[str, ...] = ()
    silent: tuple[str, ...] = ()  # a sentence per node that could not be asked
    said: str = ""  # of a packet that its target did not return: what the target's log says about it
    broken: tuple[str, ...] = ()  # what `fail` broke, such as "zone a"; it may be why

    @property
    def outcome(self) -> str:
        if self.delivered_to:
            return "delivered"
        if self.replies:
            return "rejected"
        if self.hops and self.hops[-1].verdict == "drop":
            return "dropped"
        if self.hops and self.hops[-1].verdict == "to-target":
            return "not-returned"
        return "lost"

    @property
    def why(self) -> str:
        """One sentence for a person."""
        last = self.hops[-1] if self.hops else None
        if self.outcome == "delivered":
            return f"delivered to {self.delivered_to} after {self.delivered_after * 1000:.1f} ms"
        if self.outcome == "rejected":
            return f"answered instead of delivered: {self.replies[0]}"
        if self.outcome == "dropped" and last:
            return f"dropped by {last.node}: {last.reason}"
        if self.outcome == "not-returned" and last:
            return self.said or f"{last.target} did not return it"
        if self.silent:
            return f"{f'left {last.endpoint}; ' if last else ''}no node that answers saw it; {'; '.join(self.silent)}"
        broken = f"perhaps because of what is broken on purpose: {', '.join(self.broken)}" if self.broken else ""
        if last:
            return f"left {last.endpoint} and was not seen again: {broken or 'no route, or a security group'}"
        return f"no node saw it: {broken or 'the route tables lead it past every endpoint'}"


@dataclass(frozen=True, slots=True)
class Seen:
    at: float
    instance: str
    packet: bytes


def inject(
    lab: RunningLab, source: Instance, destination: Instance | None, packets: Sequence[Crafted], interval: float = 0.0
) -> list[Fate]:
    """Send `packets` from `source`'s eth0 and follow them until nobody has seen one for a while.

    `destination` is the instance whose eth0 is watched (None: an address outside the lab's instances).
    A node that does not answer is left out, and named in every fate.
    """
    if not isinstance(interval, int | float) or not 0 <= interval <= LONGEST_INTERVAL:
        raise SettingError(f"inject: interval {interval!r}: expected seconds from 0 to {LONGEST_INTERVAL}")
    gateway = _next_hop_mac(lab, source)
    watched = [source] + ([destination] if destination and destination.name != source.name else [])
    matches = _matches(lab, packets)
    logs = ApplianceLogs(lab)
    with ExitStack() as stack:
        watchers = {stack.enter_context(_packet_socket(instance)): instance for instance in watched}
        stack.enter_context(_traced(lab, matches))
        sent_at: list[float] = []
        seen: list[Seen] = []
        out = next(sock for sock, instance in watchers.items() if instance is source)
        for crafted in packets:
            sent_at.append(time.monotonic())  # before it is sent: on a busy machine it arrives before `_send` returns
            _send(out, _frame(gateway, source, crafted), source)
            seen += _collect(watchers, 0)
            while (pause := sent_at[-1] + interval - time.monotonic()) > 0:
                seen += _collect(watchers, pause)
        deadline = time.monotonic() + LONGEST
        while time.monotonic() < deadline:
            news = _collect(watchers, QUIET)
            seen += news
            if not news:
                break
        events, silent = _read_traces(lab)
    broken = tuple(f"{kind} {name}" for kind, name in failures(lab))
    return [
        replace(_fate(number, crafted, at, source, seen, events, logs), silent=silent, broken=broken)
        for number, (crafted, at) in enumerate(zip(packets, sent_at, strict=True), 1)
    ]


def sent_frame(lab: RunningLab, source: Instance, crafted: Crafted) -> bytes:
    """The Ethernet frame that `inject` sends for a packet."""
    return _frame(_next_hop_mac(lab, source), source, crafted)


def _send(out: socket.socket, frame: bytes, source: Instance) -> None:
    try:
        out.send(frame)
    except OSError as error:
        if error.errno != errno.EMSGSIZE:
            raise NetError(f"inject: cannot send from {source.name}/eth0: {error.strerror}") from error
        length = len(frame) - ETHERNET_LENGTH
        raise SettingError(f"inject: {length} bytes are more than the MTU of {source.name}/eth0") from error


def _frame(gateway: str, source: Instance, crafted: Crafted) -> bytes:
    ethertype = b"\x86\xdd" if crafted.packet[0] >> 4 == 6 else b"\x08\x00"
    return bytes.fromhex((gateway + source.mac).replace(":", "")) + ethertype + crafted.packet


def _next_hop_mac(lab: RunningLab, source: Instance) -> str:
    namespace = next(ns for ns in lab.plan.namespaces if ns.name == source.namespace)
    gateways = {route.via for route in namespace.routes if route.via}
    for neighbour in namespace.neighbours:
        if neighbour.address in gateways:
            return neighbour.mac
    raise LabError(f"{source.name} has no default gateway in the plan, so there is nowhere to send a packet")


def _matches(lab: RunningLab, packets: Sequence[Crafted]) -> list[list[object]]:
    """The flows to trace: as crafted, and as the internet gateway's 1:1 addresses turn them."""
    public = {i.public_address: i.address for i in lab.plan.instances if i.public_address}
    public |= {private: address for address, private in public.items()}
    found: set[tuple[int, str, str, int, int]] = set()
    for packet in packets:
        for a in {packet.source, public.get(packet.source, packet.source)}:
            for b in {packet.destination, public.get(packet.destination, packet.destination)}:
                found.add((packet.protocol, a, b, *packet.ports))
    return [list(match) for match in sorted(found)]


@contextmanager
def _packet_socket(instance: Instance) -> Iterator[socket.socket]:
    with inside(path_of(instance.namespace)):
        sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    with sock:
        with inside(path_of(instance.namespace)):
            sock.setsockopt(SOL_PACKET, PACKET_IGNORE_OUTGOING, 1)
            sock.bind(("eth0", ETH_P_ALL))
        sock.setblocking(False)
        yield sock


@contextmanager
def _traced(lab: RunningLab, matches: list[list[object]]) -> Iterator[None]:
    try:
        ask_nodes(lab, "trace_start", match=matches)
        yield
    finally:
        ask_nodes(lab, "trace_stop")


def _read_traces(lab: RunningLab) -> tuple[list[dict[str, Any]], tuple[str, ...]]:
    answers, silent = ask_nodes(lab, "trace_read")
    events = [event | {"node": node} for node, answer in answers.items() for event in answer["events"]]
    return events, tuple(silent.values())


def _collect(watchers: dict[socket.socket, Instance], timeout: float) -> list[Seen]:
    seen: list[Seen] = []
    ready, _, _ = select.select(list(watchers), [], [], timeout)
    for sock in ready:
        while True:
            try:
                frame = sock.recv(65535)
            except BlockingIOError:
                break
            if frame[12:14] in (b"\x08\x00", b"\x86\xdd"):
                seen.append(Seen(time.monotonic(), watchers[sock].name, frame[14:]))
    return seen


def _identity(packet: bytes) -> tuple[int, int, int, int, int]:
    """What address translation leaves alone: protocol, ports, IP id and length."""
    head = decode_ip(packet)
    return head.protocol, head.source_port, head.destination_port, head.identification, head.total_length


def _fate(
    number: int,
    crafted: Crafted,
    sent_at: float,
    source: Instance,
    seen: list[Seen],
    events: list[dict[str, Any]],
    logs: ApplianceLogs,
) -> Fate:
    mine = _identity(crafted.packet)
    # An answer may happen to carry the same IP id: it comes from neither of the addresses that the sender has.
    from_sender = {crafted.source, source.address, source.public_address, source.ipv6_address}
    own = [event for event in events if tuple(event["identity"]) == mine and event["source"] in from_sender]
    own.sort(key=lambda event: float(event["time"]))
    hops = [
        Hop(
            float(event["time"]), event["node"], event["endpoint"], event["verdict"], event.get("target") or "",
            event.get("cookie") or "", event.get("reason") or "",
        )
        for event in own
    ]  # fmt: skip
    delivered_to, delivered_after, replies = "", 0.0, []
    for sight in seen:
        try:
            identity = _identity(sight.packet)
        except WireError:
            continue
        if sight.instance != source.name and identity == mine:
            delivered_to, delivered_after = sight.instance, sight.at - sent_at
        elif (
            sight.instance == source.name
            and sight.at >= sent_at
            and _answers(identity, mine, sight.packet, crafted.packet)
        ):
            replies.append(summary(sight.packet))
    fate = Fate(number, crafted.summary, tuple(hops), delivered_to, delivered_after, tuple(replies))
    if fate.outcome != "not-returned":
        return fate
    flow = LoggedFlow(mine[0], own[-1]["source"], mine[1], own[-1]["destination"], mine[2])
    return replace(fate, said=logs.sentence(hops[-1].target, flow))


def _answers(identity: tuple[int, ...], mine: tuple[int, ...], packet: bytes, sent: bytes) -> bool:
    """Whether `packet` answers `sent`: ports the other way round, an echo reply, or an ICMP error that quotes it."""
    head, first = decode_ip(packet), decode_ip(sent)
    if head.protocol in (ICMP, ICMPV6):
        icmp = decode_icmp(packet, head)
        if icmp.quoted is not None:
            return (icmp.quoted.identification, icmp.quoted.source_port) == (first.identification, first.source_port)
        return first.protocol == head.protocol and icmp.rest == decode_icmp(sent, first).rest
    return identity[0] == mine[0] and identity[1:3] == (mine[2], mine[1])
