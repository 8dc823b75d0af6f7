"""Send crafted packets from inside an instance, follow them and their answers, and report on each.

Nodes are traced, both ends are watched, what ports drop is counted before and after; what is told of that is decided in
`evidence`, what the path model says of it in `expectation`.
"""

from __future__ import annotations

import errno
import socket
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace

from gwlbemu.errors import LabError, NetError, SettingError, TraceGoneError
from gwlbemu.lab.running import RunningLab
from gwlbemu.paths.walk import Paths
from gwlbemu.topology.plan.port_rules import DIRECTIONS, REASONS
from gwlbemu.topology.plan.values import AddressedNode, Instance
from gwlbemu.trials.connections import connections_of, goes_to, read_connections
from gwlbemu.trials.craft import CraftedPacket
from gwlbemu.trials.evidence import Evidence
from gwlbemu.trials.expectation import SenderModel
from gwlbemu.trials.kept import Kept
from gwlbemu.trials.packet_report import PacketReport
from gwlbemu.trials.recognise import SeenPacket, balanced_ports, flows_to_trace, nat_addresses
from gwlbemu.trials.trace import TraceSession
from gwlbemu.trials.watchers import watching
from gwlbemu.views.port_drops import PortDrops, read_port_drops
from gwlbemu.views.states import present_states
from gwlbemu.views.traces import TracedPacket

ETHERNET_LENGTH = 14
QUIET = 0.3  # a packet that nobody has seen for this long (seconds) is not on its way any more
PATIENCE = 1.0  # seconds without a packet, while an appliance that runs has one in hand and says nothing of it
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

    `destination` is the instance whose eth0 is watched (None: an address outside the lab's instances); where the path
    model sees a packet arrive is watched, too. A node that does not answer is left out, and named in every report.
    Raises SettingError for a packet that is longer than the MTU and for an interval that is not from 0 to 3600 seconds,
    NetError or LabError where nothing can be sent.
    """
    if not isinstance(interval, int | float) or not 0 <= interval <= LONGEST_INTERVAL:
        raise SettingError(f"inject: interval {interval!r}: expected seconds from 0 to {LONGEST_INTERVAL}")
    gateway = _next_hop_mac(lab, source)
    plan, states, _ = present_states(lab)
    model, kept = SenderModel(Paths(plan), states, source), Kept(lab, states.broken)
    names = {name for packet in packets for name in model.receivers(packet)}
    names |= {source.name} | ({destination.name} if destination else set())
    names |= {node.name for node in plan.addressed_nodes if any(goes_to(node, packet) for packet in packets)}
    drops, connections = read_port_drops(lab), read_connections(lab, packets)
    with ExitStack() as stack:
        ends: tuple[Instance | AddressedNode, ...] = (*plan.instances, *plan.addressed_nodes)
        watchers = stack.enter_context(watching(each for each in ends if each.name in names))
        session = stack.enter_context(TraceSession(lab, flows_to_trace(plan, packets)))
        silent = dict(session.silent)
        sent_at: list[float] = []
        seen: list[SeenPacket] = []
        traced: list[TracedPacket] = []
        for crafted in packets:
            sent_at.append(time.monotonic())  # before it is sent: on a busy machine it arrives before `_send` returns
            _send(watchers.of[source.name], _frame(gateway, source, crafted), source)
            seen += watchers.collect(0)
            while (pause := sent_at[-1] + interval - time.monotonic()) > 0:
                seen += watchers.collect(pause)
        deadline, quiet = time.monotonic() + LONGEST, QUIET
        while (began := time.monotonic()) < deadline:
            news = watchers.collect(quiet)
            seen += news
            if news:
                quiet = QUIET
                continue
            fresh = _read(session, silent)
            traced += fresh
            if any(step.at > began + QUIET / 2 for step in fresh):  # nodes still move packets: a busy machine
                quiet = QUIET
            elif quiet > QUIET or not kept.is_in_hand(traced):
                break
            else:
                quiet = PATIENCE - QUIET
        traced += _read(session, silent)
        seen += watchers.collect(0)
    appliances = {each.name for each in plan.instances if each.appliance}
    now = read_connections(lab, packets)
    silent |= now.silent
    ports = _port_drops(drops, read_port_drops(lab), names | appliances)
    evidence = Evidence(source, seen, traced, nat_addresses(plan), balanced_ports(plan))
    reports = []
    for number, (crafted, at) in enumerate(zip(packets, sent_at, strict=True), 1):
        report, answer = evidence.report(
            crafted,
            number=number,
            sent_at=at,
            receiver=destination,
            nodes={node.name for node in plan.addressed_nodes} - set(model.receivers(crafted)),
            explain=kept.sentence,
        )
        report = replace(
            report,
            silent=tuple(silent.values()),
            broken=tuple(f"{kind} {name}" for kind, name in sorted(states.broken)),
            connections=connections_of(lab, crafted, connections, now),
            port_drops=ports,
        )
        reports.append(replace(report, expected=model.held_against(report, crafted, answer, silent)))
    return reports


def _port_drops(before: Sequence[PortDrops], after: Sequence[PortDrops], names: set[str]) -> tuple[str, ...]:
    """Say what the ports of these instances have dropped meanwhile, whoever's packets those were.

    Frames that are no unicast IP are passed over: hosts send such now and then.
    """
    known = {(each.instance, each.direction, each.reason): each.packets for each in before}
    found = []
    for each in after:
        count = each.packets - known.get((each.instance, each.direction, each.reason), 0)
        if each.instance in names and each.reason != "frame" and count > 0:
            packets = "1 packet" if count == 1 else f"{count} packets"
            what = f"the port of {each.instance} dropped {packets} that it {DIRECTIONS[each.direction]} meanwhile"
            found.append(f"{what}: {REASONS[each.reason]}")
    return tuple(found)


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
