"""What becomes of packets in a real lab, as seen on its interfaces. Nothing here asks a plan where a packet should go.

One packet socket for each namespace sees every frame on every interface there; raw sockets in the instances see what
their kernels let through; traces tell why a node dropped a packet.
"""

from __future__ import annotations

import selectors
import socket
import struct
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from pathlib import Path

from gwlbemu.errors import WireError
from gwlbemu.net.inside import inside
from gwlbemu.net.namespaces import path_of
from gwlbemu.public import Lab
from gwlbemu.topology.plan.values import Instance, Namespace, Plan
from gwlbemu.trials.trace import TraceSession
from gwlbemu.views.traces import TracedPacket
from gwlbemu.views.waiting import wait_until_healthy
from gwlbemu.wire import geneve
from gwlbemu.wire.build import build_ipv6
from gwlbemu.wire.ip import IpPacket
from gwlbemu.wire.outer import decapsulate
from gwlbemu.wire.protocols import GRE, ICMP, ICMPV6, TCP, UDP
from tests.differential.probes import GRE_HEAD, PORTS, WEB, Probe, Recognised, answer_to, of_payload, recognise

ETH_P_ALL, PACKET_OUTGOING, SO_RCVBUFFORCE, SO_TIMESTAMPNS = 3, 4, 33, 35
IP_MTU_DISCOVER, IPV6_MTU_DISCOVER, PROBE_MTU = 10, 23, 3  # don't fragment, whatever ICMP has said before
BUFFER = 8 << 20
QUIET = 0.1  # seconds without a frame, while no process has one in hand: kernels pass frames on at once
PATIENCE = 60.0  # seconds that a process may have a packet in hand
HEALTHY_WITHIN = 60.0
IPV4, IPV6 = b"\x08\x00", b"\x86\xdd"
GENEVE_PORT = geneve.PORT.to_bytes(2, "big")
ROUND = 3  # sightings of one packet at one place, the same way, that make a loop

ROUTERS = ("subnet", "internet", "internet-gateway", "nat-gateway", "transit-gateway")

Which = tuple[int, bool]  # a probe's number, and whether its answer is meant
Key = tuple[str, str, int, int, int, str, str, int]  # node, direction, protocol, ports, addresses, length


@dataclass(frozen=True, slots=True)
class Sighting:
    """A packet at an interface. `tunnel` has the outer addresses of one inside GENEVE."""

    at: int  # nanoseconds
    resource: str
    role: str
    device: str
    outgoing: bool
    ip: IpPacket
    what: Recognised
    tunnel: tuple[str, str] | None = None

    def __str__(self) -> str:
        way = "out" if self.outgoing else "in"
        tunnel = f" in GENEVE {self.tunnel[0]} -> {self.tunnel[1]}" if self.tunnel else ""
        error = f" ICMP error {self.what.error} about it" if self.what.error else ""
        ends = f"{address_text(self.ip.source)} -> {address_text(self.ip.destination)} ttl {self.ip.ttl}"
        return f"{self.resource}/{self.device} {way} {ends}{tunnel}{error}"


@dataclass(frozen=True, slots=True)
class Observed:
    """What became of one packet.

    `delivered_to` is the instance that got it, "" for none. Otherwise `resource` (of `role`) is where it was seen last,
    and `sign` what was seen of the reason: a node's own word, "icmp TYPE/CODE", "loop", "not sent", "not its address"
    (an instance got somebody else's packet), or "silent".
    """

    delivered_to: str
    resource: str
    role: str
    sign: str
    lowest: frozenset[str]  # the resources at which it was seen with its lowest TTL
    looks: tuple[str, str, int]  # source, destination and TTL with which it arrived
    endpoints: tuple[str, ...]
    targets: tuple[tuple[str, str], ...]
    routers: tuple[str, ...]
    sightings: tuple[Sighting, ...]

    def __str__(self) -> str:
        end = f"delivered to {self.delivered_to}" if self.delivered_to else f"{self.sign} at {self.resource}"
        met = " ".join(
            f"{endpoint}=>{target}" for endpoint, (_, target) in zip(self.endpoints, self.targets, strict=False)
        )
        return f"{end}; by {', '.join(self.routers)}; inspected {met or 'nowhere'}"


@dataclass(frozen=True, slots=True)
class Outcome:
    """A probe, and what became of it and of its answer (None: it did not arrive, and nobody else answered)."""

    probe: Probe
    there: Observed
    back: Observed | None


@dataclass(frozen=True, slots=True)
class Observation:
    """What came of all probes of a lab.

    `without_route` has, for each router, how many packets its kernel had no route for, by its own count, and `errors`
    how many of those may have been ICMP errors.
    """

    outcomes: tuple[Outcome, ...]
    without_route: dict[str, int]
    errors: dict[str, int]


class Watch:
    """What has been seen so far of a lab; the sockets that tell are registered with it."""

    def __init__(self, plan: Plan) -> None:
        self.sightings: list[Sighting] = []
        self.delivered: dict[Which, str] = {}
        self.not_sent: set[Which] = set()
        self.events: list[TracedPacket] = []
        self.addresses = {one.name: {one.address, one.ipv6_address} for one in plan.instances}
        self._selector = selectors.DefaultSelector()

    def on(self, sock: socket.socket, handle: Callable[[bytes, tuple[object, ...]], None]) -> None:
        """Call `handle(data, address)` with whatever the socket receives."""
        sock.setblocking(False)

        def receive() -> None:
            with suppress(BlockingIOError):
                while True:
                    handle(*sock.recvfrom(65535))

        self._selector.register(sock, selectors.EVENT_READ, receive)

    def tap(self, sock: socket.socket, namespace: Namespace) -> None:
        """Note every frame of a namespace that is about a probe."""
        sock.setblocking(False)

        def receive() -> None:
            with suppress(BlockingIOError):
                while True:
                    frame, ancillary, _, address = sock.recvmsg(65535, 64)
                    self._note(namespace, address[0], address[2] == PACKET_OUTGOING, _stamp(ancillary), frame)

        self._selector.register(sock, selectors.EVENT_READ, receive)

    def turn(self, seconds: float) -> bool:
        """Handle what comes within `seconds`; tell whether anything came."""
        ready = self._selector.select(seconds)
        for key, _ in ready:
            key.data()
        return bool(ready)

    def close(self) -> None:
        """Forget the sockets."""
        self._selector.close()

    def note_delivery(self, instance: str, found: Recognised | None) -> None:
        """Note that an instance's kernel let a packet through to a socket."""
        if found is not None and found.error is None:
            self.delivered.setdefault((found.number, found.is_answer), instance)

    def is_own(self, one: Sighting) -> bool:
        """Tell whether a packet at an instance is for it."""
        return address_text(one.ip.destination) in self.addresses[one.resource]

    def packets_in_hand(self) -> int:
        """Return how many packets the nodes have got and not judged yet."""
        seen = Counter(key for one in self.sightings if (key := _key_at_node(one)))
        return (seen - Counter(_key_of(event) for event in self.events)).total()

    def _note(self, namespace: Namespace, device: str, outgoing: bool, at: int, frame: bytes) -> None:
        if frame[12:14] not in (IPV4, IPV6):
            return
        packet, tunnel = frame[14:], None
        if frame[12:14] == IPV4 and packet[9] == UDP and packet[22:24] == GENEVE_PORT:
            try:
                outer = decapsulate(packet)
            except WireError:
                return
            packet, tunnel = outer.packet, (address_text(outer.source), address_text(outer.destination))
        found = recognise(packet)
        if found is not None and device != "lo":
            self.sightings.append(
                Sighting(at, namespace.resource, namespace.role, device, outgoing, *found, tunnel),
            )


def observe(plan: Plan, probes: Sequence[Probe], secret: str) -> Observation:
    """Bring up a lab with this seed, send the probes, take the lab down; return what became of each probe.

    Raises AssertionError when the targets do not become healthy, and when the packets do not come to rest.
    """
    with ExitStack() as stack:
        lab = stack.enter_context(Lab(plan, wait=0, seed=secret))
        watch = Watch(plan)
        stack.callback(watch.close)
        commands = {program.instance for program in plan.programs if program.kind == "command"}
        for instance in plan.instances:
            if instance.name in commands:
                stack.enter_context(_reflector(watch, instance))
        _until_healthy(watch, lab)
        for namespace in plan.namespaces:
            stack.enter_context(_tapped(watch, namespace))
        for instance in plan.instances:
            if not instance.appliance:
                stack.enter_context(_host(watch, instance))
        before = _without_route(plan)
        session = stack.enter_context(TraceSession(lab.running))
        for probe in probes:
            stack.enter_context(_sent(watch, probe))
            watch.turn(0)
        _until_still(watch, lab, session)
        counted = _without_route(plan)
    return Observation(
        tuple(outcomes(watch, probes)),
        {name: count - before[name] for name, count in counted.items()},
        Counter(one.resource for one in watch.sightings if one.what.error and not one.outgoing),
    )


def _without_route(plan: Plan) -> dict[str, int]:
    """Return InNoRoutes of IPv4 (RFC 4293) and of IPv6 of each router."""
    found = {}
    for namespace in plan.namespaces:
        if namespace.role in ROUTERS:
            with inside(path_of(namespace.name)):
                lines = Path("/proc/thread-self/net/netstat").read_text().splitlines()
                six = Path("/proc/thread-self/net/snmp6").read_text().split()
            names, values = (line.split() for line in lines if line.startswith("IpExt:"))
            four = values[names.index("InNoRoutes")]
            found[namespace.resource] = int(four) + int(six[six.index("Ip6InNoRoutes") + 1])
    return found


# ---- waiting ---------------------------------------------------------------------------------------------------------
def _until_healthy(watch: Watch, lab: Lab) -> None:
    give_up_at = time.monotonic() + HEALTHY_WITHIN
    while troubles := wait_until_healthy(lab.running, 0):
        assert time.monotonic() < give_up_at, "; ".join(troubles)
        watch.turn(0.05)


def _until_still(watch: Watch, lab: Lab, session: TraceSession) -> None:
    """Handle frames until there are none, and no node and no appliance has one in hand."""
    give_up_at = time.monotonic() + PATIENCE
    appliances = {one.instance for one in lab.plan.programs if one.is_python_appliance}
    while True:
        while watch.turn(QUIET):
            assert time.monotonic() < give_up_at, "the lab does not come to rest"
        watch.events += session.read()
        if not watch.packets_in_hand() and _have_judged(watch, lab, appliances) and not watch.turn(QUIET):
            return
        assert time.monotonic() < give_up_at, f"nodes have {watch.packets_in_hand()} packets in hand"


def _have_judged(watch: Watch, lab: Lab, appliances: set[str]) -> bool:
    got = Counter(one.resource for one in watch.sightings if one.tunnel and not one.outgoing)
    counters = {name: lab.running.call(name, "status")["counters"] for name in appliances if got[name]}
    return all(int(counters[name]["received"]) >= got[name] for name in counters)


# ---- what is opened --------------------------------------------------------------------------------------------------
@contextmanager
def _socket(namespace: str, family: int, kind: int, protocol: int = 0) -> Iterator[socket.socket]:
    with inside(path_of(namespace)):
        sock = socket.socket(family, kind, protocol)
    with sock:
        sock.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, BUFFER)
        yield sock


@contextmanager
def _tapped(watch: Watch, namespace: Namespace) -> Iterator[None]:
    """Watch every interface of a namespace, and let its kernel send as many ICMP errors as it likes."""
    with inside(path_of(namespace.name)):
        Path("/proc/sys/net/ipv4/icmp_ratelimit").write_text("0")
        Path("/proc/sys/net/ipv6/icmp/ratelimit").write_text("0")
    with _socket(namespace.name, socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL)) as sock:
        sock.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
        watch.tap(sock, namespace)
        yield


@contextmanager
def _reflector(watch: Watch, instance: Instance) -> Iterator[None]:
    """An appliance that returns every datagram as it came, with the addresses swapped; the checksum stays right."""
    with ExitStack() as stack:
        for kind, port in (
            (socket.SOCK_STREAM, WEB),
            (socket.SOCK_DGRAM, geneve.PORT),
        ):  # for health checks; against errors
            sock = stack.enter_context(_socket(instance.namespace, socket.AF_INET, kind))
            sock.bind(("", port))
            if kind == socket.SOCK_STREAM:
                sock.listen(128)
        raw = stack.enter_context(_socket(instance.namespace, socket.AF_INET, socket.SOCK_RAW, UDP))

        def back(packet: bytes, address: tuple[object, ...]) -> None:
            head = (packet[0] & 15) * 4
            if packet[head + 2 : head + 4] == GENEVE_PORT:
                raw.sendto(packet[head:], (str(address[0]), 0))

        watch.on(raw, back)
        yield


@contextmanager
def _host(watch: Watch, instance: Instance) -> Iterator[None]:
    """An instance that answers: TCP and ICMP by its kernel, UDP and GRE here."""
    families = [socket.AF_INET, *([socket.AF_INET6] if instance.ipv6_address else [])]
    with inside(path_of(instance.namespace)):  # one SYN-ACK for a SYN, however slow the machine is
        Path("/proc/sys/net/ipv4/tcp_synack_retries").write_text("0")
    with ExitStack() as stack:

        def raw(family: int, protocol: int, handle: Callable[[bytes, tuple[object, ...], socket.socket], None]) -> None:
            sock = stack.enter_context(_socket(instance.namespace, family, socket.SOCK_RAW, protocol))
            watch.on(sock, lambda packet, address: handle(packet, address, sock))

        for family in families:
            six = family == socket.AF_INET6

            def seen(packet: bytes, _: tuple[object, ...], __: socket.socket, protocol: int, six: bool = six) -> None:
                if six:  # a raw IPv6 socket gives no header
                    packet = build_ipv6(bytes(16), bytes(16), protocol, packet)
                found = recognise(packet)
                watch.note_delivery(instance.name, found[1] if found else None)

            def gre(packet: bytes, address: tuple[object, ...], sock: socket.socket, six: bool = six) -> None:
                _answer(watch, instance, sock, packet if six else packet[(packet[0] & 15) * 4 :], address, GRE_HEAD)

            def udp(payload: bytes, address: tuple[object, ...], sock: socket.socket) -> None:
                _answer(watch, instance, sock, payload, address)

            raw(family, TCP, partial(seen, protocol=TCP))
            icmp = ICMPV6 if six else ICMP
            raw(family, icmp, partial(seen, protocol=icmp))
            raw(family, GRE, gre)
            for port in PORTS:
                sock = stack.enter_context(_socket(instance.namespace, family, socket.SOCK_DGRAM))
                if six:
                    sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                sock.bind(("", port))
                watch.on(sock, partial(udp, sock=sock))
            web = stack.enter_context(_socket(instance.namespace, family, socket.SOCK_STREAM))
            if six:
                web.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            web.bind(("", WEB))
            web.listen(128)
        yield


def _answer(
    watch: Watch, instance: Instance, sock: socket.socket, data: bytes, address: tuple[object, ...], head: bytes = b""
) -> None:
    """Note a datagram that a socket got, and answer it when it is no answer itself."""
    payload = data[len(head) :]
    found = of_payload(payload)
    watch.note_delivery(instance.name, found)
    if found and not found.is_answer:
        try:
            sock.sendto(head + answer_to(payload), (str(address[0]), int(str(address[1])) if not head else 0))
        except OSError:
            watch.not_sent.add((found.number, True))


@contextmanager
def _sent(watch: Watch, probe: Probe) -> Iterator[None]:
    """Send a probe; its socket stays open for the answer."""
    family = socket.AF_INET6 if probe.is_ipv6 else socket.AF_INET
    kind, protocol = (socket.SOCK_DGRAM, 0) if probe.protocol == UDP else (socket.SOCK_RAW, probe.protocol)
    with _socket(probe.sender.namespace, family, kind, protocol) as sock:
        sock.bind((probe.source, probe.source_port if probe.protocol == UDP else 0))
        if probe.is_ipv6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_UNICAST_HOPS, probe.ttl)
            sock.setsockopt(socket.IPPROTO_IPV6, IPV6_MTU_DISCOVER, PROBE_MTU)
        else:
            sock.setsockopt(socket.IPPROTO_IP, socket.IP_TTL, probe.ttl)
            sock.setsockopt(socket.IPPROTO_IP, IP_MTU_DISCOVER, PROBE_MTU)
        if probe.protocol == UDP:
            watch.on(sock, lambda data, _: watch.note_delivery(probe.sender.name, of_payload(data)))
        try:
            sock.sendto(probe.segment(), (probe.destination, probe.destination_port if probe.protocol == UDP else 0))
        except OSError:
            watch.not_sent.add((probe.number, False))
        yield


# ---- what it comes to ------------------------------------------------------------------------------------------------
def outcomes(watch: Watch, probes: Sequence[Probe]) -> list[Outcome]:
    """Return what became of each probe and its answer, from everything that was seen."""
    sightings: dict[Which, list[Sighting]] = defaultdict(list)
    events: dict[Which, list[TracedPacket]] = defaultdict(list)
    of_key: dict[Key, Which] = {}
    for one in sorted(watch.sightings, key=lambda one: one.at):
        which = (one.what.number, one.what.is_answer)
        sightings[which].append(one)
        key = _key_at_node(one)
        if key and one.what.error is None:
            of_key[key] = which
    for event in sorted(watch.events, key=lambda event: event.at):
        if _key_of(event) in of_key:
            events[of_key[_key_of(event)]].append(event)
    found = []
    for probe in probes:
        there, back = (
            _observed(watch, which, sightings[which], events[which], probe)
            for which in ((probe.number, False), (probe.number, True))
        )
        found.append(Outcome(probe, there, back if there.delivered_to or back.delivered_to else None))
    return found


def _observed(
    watch: Watch, which: Which, everything: list[Sighting], events: list[TracedPacket], probe: Probe
) -> Observed:
    errors = [one for one in everything if one.what.error and one.outgoing]
    seen = [one for one in everything if not one.what.error]
    crossed = [event for event in events if event.verdict == "to-target"]
    refused = [event for event in events if event.verdict in ("drop", "reset")]
    delivered = watch.delivered.get(which, "")
    # With shortcuts a tap's time may be when it was read, so only the place tells which sighting is the last.
    arrived = [one for one in seen if one.resource == delivered and not one.outgoing]
    sign, resource, role = "silent", probe.sender.name if not which[1] else "", "instance"
    if seen:
        resource, role = seen[-1].resource, seen[-1].role
    elif which[1]:
        resource = watch.delivered.get((which[0], False), "")
    rounds = Counter((one.resource, one.device, one.outgoing, one.tunnel) for one in seen)
    if delivered:
        sign = ""
    elif rounds and max(rounds.values()) >= ROUND:
        sign = "loop"
    elif refused:
        last = refused[-1]
        sign, role = last.reason or "reset", "node"
        resource = last.endpoint if last.direction == "out" else last.node
    elif errors:
        kind, code = errors[0].what.error or (0, 0)
        sign, resource, role = f"icmp {kind}/{code}", errors[0].resource, errors[0].role
    elif which in watch.not_sent:
        sign = "not sent"
    elif seen and role == "instance" and not seen[-1].outgoing and not seen[-1].tunnel and not watch.is_own(seen[-1]):
        sign = "not its address"
    lowest = min((one.ip.ttl for one in seen), default=0)
    return Observed(
        delivered_to=delivered,
        resource=resource,
        role=role,
        sign=sign,
        lowest=frozenset(one.resource for one in seen if one.ip.ttl == lowest),
        looks=_looks(arrived[-1].ip) if arrived else ("", "", 0),
        endpoints=tuple(event.endpoint for event in crossed),
        targets=tuple((event.node, event.target) for event in crossed),
        routers=_routers(seen),
        sightings=tuple(everything),
    )


def _looks(ip: IpPacket) -> tuple[str, str, int]:
    return address_text(ip.source), address_text(ip.destination), ip.ttl


def _routers(seen: list[Sighting]) -> tuple[str, ...]:
    """Return the routers that took one off the TTL, in their order."""
    found = []
    for (resource, role), group in groupby(seen, key=lambda one: (one.resource, one.role)):
        passing = list(group)
        if role in ROUTERS and passing[-1].outgoing and passing[-1].ip.ttl < passing[0].ip.ttl:
            found.append(resource)
    return tuple(found)


def _key_at_node(one: Sighting) -> Key | None:
    """What a node's trace will call the packet that it got."""
    if one.role != "node" or one.outgoing:
        return None
    ip = one.ip
    ends = address_text(ip.source), address_text(ip.destination)
    direction = "back" if one.tunnel else "out"
    return one.resource, direction, ip.protocol, ip.source_port, ip.destination_port, *ends, ip.total_length


def _key_of(event: TracedPacket) -> Key:
    ports = event.source_port, event.destination_port
    return event.node, event.direction, event.protocol, *ports, event.source, event.destination, event.length


def address_text(address: bytes) -> str:
    """Return an address of 4 or 16 bytes as text."""
    return socket.inet_ntop(socket.AF_INET if len(address) == 4 else socket.AF_INET6, address)


def _stamp(ancillary: list[tuple[int, int, bytes]]) -> int:
    seconds, nanoseconds = struct.unpack("qq", ancillary[0][2])
    return int(seconds) * 1_000_000_000 + int(nanoseconds)
