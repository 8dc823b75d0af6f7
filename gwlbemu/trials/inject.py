"""Send crafted packets from inside an instance, trace them on every node, and report on each (see `packet_report`)."""

from __future__ import annotations

import errno
import select
import socket
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace

from gwlbemu.errors import LabError, NetError, SettingError, TraceGoneError
from gwlbemu.lab.failure import failures
from gwlbemu.lab.running import RunningLab
from gwlbemu.net.inside import inside
from gwlbemu.net.namespaces import path_of
from gwlbemu.topology.plan.values import Instance
from gwlbemu.trials.craft import CraftedPacket
from gwlbemu.trials.packet_report import PacketReport, SeenPacket, flows_to_trace, packet_report
from gwlbemu.trials.trace import TraceSession
from gwlbemu.views.appliance_logs import ApplianceLogs
from gwlbemu.views.traces import TracedPacket

SOL_PACKET, PACKET_IGNORE_OUTGOING, ETH_P_ALL = 263, 23, 3
ETHERNET_LENGTH = 14
QUIET = 0.3  # a packet that nobody has seen for this long (seconds) is not on its way any more
LONGEST = 3.0  # that packets are waited for after the last one was sent, seconds
LONGEST_INTERVAL = 3600  # between two packets, seconds


def inject(
    lab: RunningLab,
    source: Instance,
    destination: Instance | None,
    packets: Sequence[CraftedPacket],
    interval: float = 0.0,
) -> list[PacketReport]:
    """Send `packets` from `source`'s eth0, `interval` seconds apart, and follow them until nobody sees one any more.

    `destination` is the instance whose eth0 is watched (None: an address outside the lab's instances). A node that does
    not answer is left out, and named in every report. Raises SettingError for a packet that is longer than the MTU and
    for an interval that is not from 0 to 3600 seconds, NetError or LabError where nothing can be sent.
    """
    if not isinstance(interval, int | float) or not 0 <= interval <= LONGEST_INTERVAL:
        raise SettingError(f"inject: interval {interval!r}: expected seconds from 0 to {LONGEST_INTERVAL}")
    gateway = _next_hop_mac(lab, source)
    watched = [source] + ([destination] if destination and destination.name != source.name else [])
    logs = ApplianceLogs(lab)
    with ExitStack() as stack:
        watchers = {stack.enter_context(_packet_socket(instance)): instance for instance in watched}
        session = stack.enter_context(TraceSession(lab, flows_to_trace(lab.plan, packets)))
        silent = dict(session.silent)
        sent_at: list[float] = []
        seen: list[SeenPacket] = []
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
        traced = _read(session, silent)
    broken = tuple(f"{kind} {name}" for kind, name in failures(lab))
    reports = [
        packet_report(
            crafted, number=number, sent_at=at, sender=source, seen=seen, traced=traced, explain=logs.sentence
        )
        for number, (crafted, at) in enumerate(zip(packets, sent_at, strict=True), 1)
    ]
    return [replace(report, silent=tuple(silent.values()), broken=broken) for report in reports]


def _read(session: TraceSession, silent: dict[str, str]) -> list[TracedPacket]:
    """Return the verdicts of every node; one that does not answer any more gets a sentence in `silent`."""
    traced: list[TracedPacket] = []
    for node in session.nodes:
        try:
            traced += session.read_node(node)
        except TraceGoneError:
            silent[node] = f"{node} noted no more: this command stood still for longer than a node keeps a trace"
        except LabError as error:
            silent[node] = f"{node} does not answer: {error}"
    return traced


def sent_frame(lab: RunningLab, source: Instance, crafted: CraftedPacket) -> bytes:
    """Return the Ethernet frame that `inject` sends for a packet."""
    return _frame(_next_hop_mac(lab, source), source, crafted)


def _send(out: socket.socket, frame: bytes, source: Instance) -> None:
    try:
        out.send(frame)
    except OSError as error:
        if error.errno != errno.EMSGSIZE:
            raise NetError(f"inject: cannot send from {source.name}/eth0: {error.strerror}") from error
        length = len(frame) - ETHERNET_LENGTH
        raise SettingError(f"inject: {length} bytes are more than the MTU of {source.name}/eth0") from error


def _frame(gateway: str, source: Instance, crafted: CraftedPacket) -> bytes:
    ethertype = b"\x86\xdd" if crafted.packet[0] >> 4 == 6 else b"\x08\x00"
    return bytes.fromhex((gateway + source.mac).replace(":", "")) + ethertype + crafted.packet


def _next_hop_mac(lab: RunningLab, source: Instance) -> str:
    namespace = next(ns for ns in lab.plan.namespaces if ns.name == source.namespace)
    gateways = {route.via for route in namespace.routes if route.via}
    for neighbour in namespace.neighbours:
        if neighbour.address in gateways:
            return neighbour.mac
    raise LabError(f"{source.name} has no default gateway in the plan, so there is nowhere to send a packet")


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


def _collect(watchers: dict[socket.socket, Instance], timeout: float) -> list[SeenPacket]:
    seen: list[SeenPacket] = []
    ready, _, _ = select.select(list(watchers), [], [], timeout)
    for sock in ready:
        while True:
            try:
                frame = sock.recv(65535)
            except BlockingIOError:
                break
            if frame[12:14] in (b"\x08\x00", b"\x86\xdd"):
                seen.append(SeenPacket(time.monotonic(), watchers[sock].name, frame[14:]))
    return seen
