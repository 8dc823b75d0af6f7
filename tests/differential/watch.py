"""The sockets that tell what becomes of packets: taps, and hosts that send and answer.

One packet socket for each namespace sees every frame on every interface there; raw sockets in the instances see what
their kernels let through.
"""

from __future__ import annotations

import selectors
import socket
import struct
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from pathlib import Path

from gwlbemu.errors import WireError
from gwlbemu.net.inside import inside
from gwlbemu.net.namespaces import path_of
from gwlbemu.topology.plan.machine_half import Namespace
from gwlbemu.topology.plan.values import ApplicationNode, Instance, NetworkNode, Plan
from gwlbemu.views.traces import TracedPacket
from gwlbemu.wire import geneve
from gwlbemu.wire.build import build_ipv6
from gwlbemu.wire.outer import decapsulate
from gwlbemu.wire.protocols import GRE, ICMP, ICMPV6, TCP, UDP
from tests.differential.probes import GRE_HEAD, PORTS, WEB, Probe, Recognised, answer_to, of_payload, recognise
from tests.differential.sightings import Sighting, Which, address_text, key_at_node, key_of

ETH_P_ALL, PACKET_OUTGOING, SO_RCVBUFFORCE, SO_TIMESTAMPNS = 3, 4, 33, 35
IP_MTU_DISCOVER, IPV6_MTU_DISCOVER, PROBE_MTU = 10, 23, 3  # don't fragment, whatever ICMP has said before
BUFFER = 8 << 20
IPV4, IPV6 = b"\x08\x00", b"\x86\xdd"
GENEVE_PORT = geneve.PORT.to_bytes(2, "big")


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

    def serve(self, sock: socket.socket) -> None:
        """Answer what asks a listening socket over HTTP: health checks."""
        sock.setblocking(False)

        def accept() -> None:
            with suppress(OSError):
                connection, _ = sock.accept()
                connection.setblocking(False)
                self._selector.register(connection, selectors.EVENT_READ, partial(self._answer, connection))

        self._selector.register(sock, selectors.EVENT_READ, accept)

    def _answer(self, connection: socket.socket) -> None:
        with suppress(OSError):
            if connection.recv(65536):
                connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        self._selector.unregister(connection)
        connection.close()

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
        """Forget the sockets, and close those that were accepted."""
        for key in list(self._selector.get_map().values()):
            if isinstance(key.data, partial):
                key.data.args[0].close()
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
        seen = Counter(key for one in self.sightings if (key := key_at_node(one)))
        return (seen - Counter(key_of(event) for event in self.events)).total()

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


@contextmanager
def _socket(namespace: str, family: int, kind: int, protocol: int = 0) -> Iterator[socket.socket]:
    with inside(path_of(namespace)):
        sock = socket.socket(family, kind, protocol)
    with sock:
        sock.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, BUFFER)
        yield sock


@contextmanager
def tapped(watch: Watch, namespace: Namespace) -> Iterator[None]:
    """Watch every interface of a namespace, and let its kernel send as many ICMP errors as it likes."""
    with inside(path_of(namespace.name)):
        Path("/proc/sys/net/ipv4/icmp_ratelimit").write_text("0")
        Path("/proc/sys/net/ipv6/icmp/ratelimit").write_text("0")
    with _socket(namespace.name, socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL)) as sock:
        sock.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
        watch.tap(sock, namespace)
        yield


@contextmanager
def reflector(watch: Watch, instance: Instance) -> Iterator[None]:
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
def host(watch: Watch, instance: Instance) -> Iterator[None]:
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
            watch.serve(web)
        yield


@contextmanager
def door(watch: Watch, node: NetworkNode | ApplicationNode) -> Iterator[None]:
    """A load balancer's node: see what its kernel takes for itself. What it listens at is its own."""
    with inside(path_of(node.namespace)):
        Path("/proc/sys/net/ipv4/tcp_synack_retries").write_text("0")
    with ExitStack() as stack:

        def seen(packet: bytes, _: tuple[object, ...], protocol: int, family: int) -> None:
            if family == socket.AF_INET6:
                packet = build_ipv6(bytes(16), bytes(16), protocol, packet)
            found = recognise(packet)
            watch.note_delivery(node.name, found[1] if found else None)

        kinds = [(socket.AF_INET, TCP), (socket.AF_INET, ICMP)]
        kinds += [(socket.AF_INET6, TCP), (socket.AF_INET6, ICMPV6)] if node.ipv6_address else []
        for family, protocol in kinds:
            sock = stack.enter_context(_socket(node.namespace, family, socket.SOCK_RAW, protocol))
            watch.on(sock, partial(seen, protocol=protocol, family=family))
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
def sent(watch: Watch, probe: Probe) -> Iterator[None]:
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


def _stamp(ancillary: list[tuple[int, int, bytes]]) -> int:
    seconds, nanoseconds = struct.unpack("qq", ancillary[0][2])
    return int(seconds) * 1_000_000_000 + int(nanoseconds)
