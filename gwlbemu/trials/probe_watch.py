"""What is seen of probes in a lab: a packet socket in each of its namespaces, and the verdicts of its nodes."""

from __future__ import annotations

import selectors
import socket
import struct
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from gwlbemu.errors import LabError, WireError
from gwlbemu.net.inside import inside
from gwlbemu.net.namespaces import path_of
from gwlbemu.topology.plan.values import Instance, Plan
from gwlbemu.trials.frame_sockets import (
    ANCILLARY,
    ETH_P_ALL,
    IP_TYPES,
    PACKET_OUTGOING,
    SO_TIMESTAMPNS,
    stamped_at,
    wait_for_stamps,
)
from gwlbemu.trials.probe_packets import Probe, Probes
from gwlbemu.views.traces import TracedPacket
from gwlbemu.wire import geneve
from gwlbemu.wire.outer import decapsulate
from gwlbemu.wire.protocols import UDP

SO_RCVBUFFORCE, SOL_PACKET, PACKET_STATISTICS = 33, 263, 6  # asm-generic/socket.h, linux/socket.h, linux/if_packet.h
BUFFER = 8 << 20
NODES = ("network-node", "application-node")  # of load balancers that clients know by an address
ROLES = ("instance", "subnet", "internet", "internet-gateway", "nat-gateway", "transit-gateway", "node", *NODES)
_GENEVE_PORT = geneve.PORT.to_bytes(2, "big")

Which = tuple[int, bool]  # a probe's number, and whether its answer is meant


@dataclass(frozen=True, slots=True)
class Sighting:
    """A packet at an interface; `tunneled` inside GENEVE, `read_at` in seconds of the monotonic clock."""

    at: int  # nanoseconds, by the kernel
    read_at: float
    resource: str
    role: str
    device: str
    outgoing: bool
    tunneled: bool
    destination: str  # of the inner packet
    error: tuple[int, int] | None = None
    source: str = ""  # of the inner packet


class Watch:
    """What has been seen so far of one batch of probes; the sockets that tell are registered with it."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._selector = selectors.DefaultSelector()
        self._taps: list[socket.socket] = []
        self._probes = Probes(())
        self.sightings: dict[Which, list[Sighting]] = {}
        self.events: dict[Which, list[TracedPacket]] = {}
        self.not_sent: dict[int, str] = {}

    def begin(self, probes: Probes) -> None:
        """Look for these probes from now on."""
        self._probes = probes
        self.sightings, self.events, self.not_sent = {}, {}, {}

    def on(self, sock: socket.socket, handle: Callable[[bytes, tuple[object, ...]], None]) -> None:
        """Call `handle(data, address)` with whatever the socket receives."""
        sock.setblocking(False)

        def receive() -> None:
            with suppress(BlockingIOError, ConnectionError):
                while True:
                    handle(*sock.recvfrom(65535))

        self._selector.register(sock, selectors.EVENT_READ, receive)

    def forget(self, sock: socket.socket) -> None:
        """Stop looking at a socket that is about to be closed."""
        self._selector.unregister(sock)

    def tap(self, sock: socket.socket, resource: str, role: str) -> None:
        """Note every frame of a namespace that is about a probe."""
        sock.setblocking(False)
        self._taps.append(sock)

        def receive() -> None:
            with suppress(BlockingIOError):
                while True:
                    frame, ancillary, _, address = sock.recvmsg(65535, ANCILLARY)
                    if frame[12:14] in IP_TYPES and address[0] != "lo":
                        where = (resource, role, address[0], address[2] == PACKET_OUTGOING)
                        self._note(where, stamped_at(ancillary), frame[14:])

        self._selector.register(sock, selectors.EVENT_READ, receive)

    def turn(self, seconds: float) -> bool:
        """Handle what comes within `seconds`; tell whether anything was about a probe."""
        before = self._seen
        give_up_at = time.monotonic() + seconds
        while self._seen == before:
            ready = self._selector.select(max(0.0, give_up_at - time.monotonic()))
            for key, _ in ready:
                key.data()
            if not ready or time.monotonic() >= give_up_at:
                break
        return self._seen != before

    @property
    def _seen(self) -> int:
        return sum(map(len, self.sightings.values()))

    def note_events(self, events: list[TracedPacket]) -> None:
        """Note verdicts of a node that are about a probe."""
        for event in events:
            found = self._probes.event(event)
            if found is not None:
                self.events.setdefault((found.number, found.is_answer), []).append(event)

    def unseen(self) -> int:
        """Return how many frames the taps had no room for."""
        return sum(struct.unpack("II", tap.getsockopt(SOL_PACKET, PACKET_STATISTICS, 8))[1] for tap in self._taps)

    def close(self) -> None:
        """Forget the sockets."""
        self._selector.close()

    def _note(self, where: tuple[str, str, str, bool], at: int, packet: bytes) -> None:
        tunneled = packet[9:10] == bytes((UDP,)) and packet[22:24] == _GENEVE_PORT and packet[0] >> 4 == 4
        if tunneled:
            try:
                packet = decapsulate(packet).packet
            except WireError:
                return
        found = self._probes.recognise(packet)
        if found is None:
            return
        ip, what = found
        family = socket.AF_INET if ip.version == 4 else socket.AF_INET6
        source, destination = (socket.inet_ntop(family, each) for each in (ip.source, ip.destination))
        one = Sighting(at, time.monotonic(), *where, tunneled, destination, what.error, source)
        self.sightings.setdefault((what.number, what.is_answer), []).append(one)


@contextmanager
def watching(plan: Plan) -> Iterator[Watch]:
    """Watch every namespace of a lab for as long as the block runs.

    Raises LabError at its end when there was so much traffic that frames were missed.
    """
    watch = Watch(plan)
    opened: list[socket.socket] = []
    try:
        for namespace in plan.namespaces:
            if namespace.role in ROLES:
                sock = open_socket(namespace.name, socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
                opened.append(sock)
                sock.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
                watch.tap(sock, namespace.resource, namespace.role)
        for instance in plan.instances[:1]:
            with inside(path_of(instance.namespace)):
                wait_for_stamps()
        yield watch
        if missed := watch.unseen():
            raise LabError(
                f"{missed} frames of the lab went by unseen: there is too much traffic in it to follow probes"
            )
    finally:
        watch.close()
        for sock in opened:
            sock.close()


def open_socket(namespace: str, family: int, kind: int, protocol: int = 0) -> socket.socket:
    """Return a socket of a namespace, with room for many packets."""
    with inside(path_of(namespace)):
        sock = socket.socket(family, kind, protocol)
    sock.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, BUFFER)
    return sock


@contextmanager
def sent(watch: Watch, probe: Probe) -> Iterator[None]:
    """Send a probe; its socket stays open for the answer, so that nobody else gets the port."""
    family = socket.AF_INET6 if probe.is_ipv6 else socket.AF_INET
    kind, protocol, own_port, port = socket.SOCK_RAW, probe.protocol, 0, 0
    if probe.protocol == UDP:
        kind, protocol, own_port, port = socket.SOCK_DGRAM, 0, probe.source_port, probe.destination_port
    with open_socket(probe.sender.namespace, family, kind, protocol) as sock:
        try:
            sock.bind((probe.source, own_port))
            sock.sendto(probe.segment(), (probe.destination, port))
        except OSError as error:
            watch.not_sent[probe.number] = str(error.strerror)
        yield


@contextmanager
def answering(watch: Watch, instance: Instance, port: int, family: int) -> Iterator[bool]:
    """Answer datagrams to a port that nobody has, as they are; yields whether it is ours."""
    with open_socket(instance.namespace, family, socket.SOCK_DGRAM) as sock:
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        try:
            sock.bind(("", port))
        except OSError:  # a program's own: it answers as it does
            yield False
            return

        def echo(data: bytes, address: tuple[object, ...]) -> None:
            with suppress(OSError):
                sock.sendto(data, (str(address[0]), int(str(address[1]))))

        watch.on(sock, echo)
        yield True
        watch.forget(sock)


def refusal(events: list[TracedPacket]) -> TracedPacket | None:
    """Return the verdict by which a node ended a packet, if one did."""
    return next((event for event in events if event.verdict in ("drop", "reset")), None)
