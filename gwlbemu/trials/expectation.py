"""What the path model says about an injected packet, held against what was seen of it."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace
from ipaddress import ip_address

from gwlbemu.errors import SettingError, WireError
from gwlbemu.paths.values import Cause, Exchange, Kind, Packet, States, Way
from gwlbemu.paths.walk import Paths, exchange, way
from gwlbemu.topology.plan.values import Instance
from gwlbemu.trials.craft import CraftedPacket
from gwlbemu.trials.packet_report import Answer, Expected, NodeVerdict, PacketReport
from gwlbemu.wire.icmp import ECHO_REPLY, V6_ECHO_REPLY, decode_icmp
from gwlbemu.wire.ip import decode_ip
from gwlbemu.wire.protocols import ICMP, ICMPV6, TCP
from gwlbemu.wire.tcp import SYN, decode_tcp

_BY_CONNECTION = (Cause.SECURITY_GROUP.value, Cause.NAT_NO_SESSION.value)


class SenderModel:
    """The path model of a lab in the states that it was in when `sender` sent packets."""

    def __init__(self, paths: Paths, states: States, sender: Instance) -> None:
        self._paths, self._states, self._sender = paths, states, sender
        self._known: dict[tuple[Packet, Packet | None], Exchange] = {}

    def receivers(self, crafted: CraftedPacket) -> tuple[str, ...]:
        """Return the instances at which a packet arrives, by the model."""
        packet = self._from_sender(crafted)
        found = self._exchange(packet) if packet else None
        if found is None:
            return ()
        return tuple({one.there.end.at: None for one in found.possible if one.there.delivered})

    def held_against(
        self, report: PacketReport, crafted: CraftedPacket, answer: bytes | None, silent: Collection[str] = ()
    ) -> Expected | None:
        """Return what the model says of a packet of which this was seen, `answer` being its receiver's as it left.

        None where the model cannot tell: bytes are not what they claim to be, something on the way makes another packet
        of it, or what was seen departs from the model while nodes (`silent`) said nothing of what they saw.
        """
        found = self._held_against(report, crafted, answer, silent)
        return None if found and silent and not found.agrees else found

    def _held_against(
        self, report: PacketReport, crafted: CraftedPacket, answer: bytes | None, silent: Collection[str]
    ) -> Expected | None:
        packet = self._from_sender(crafted)
        if report.is_changed or packet is None or report.wrong:
            return None
        sent = in_model(answer) if answer else None
        found = self._exchange(packet, sent)
        if found is None:
            return None
        unheard = {each.name for each in self._paths.plan.endpoints if each.node in silent}
        by_way = [each for each in found.possible if _is_seen(each.there, report.hops, report.delivered_to, unheard)]
        if not by_way:
            return Expected(False, expected=_told(found.possible[0].there), seen=_seen(report.hops, _end(report)))
        there = by_way[0].there
        if report.answer is None or answer is None:
            return Expected(True, _ends([there]), () if there.delivered else _parting(by_way[0]))
        if sent is None or sent.protocol != packet.protocol:
            return Expected(True, self._why_an_error_is_lost(report.answer, answer))
        arrived_at = report.answer.sent_to if report.answer.after is not None else ""
        both = [e for e in by_way if e.back is not None and _is_seen(e.back, report.answer.hops, arrived_at, unheard)]
        if not both:
            first = by_way[0].back
            told = f"the answer {_told(first)}" if first else "no answer"
            seen = _seen(report.answer.hops, _answer_end(report.answer))
            return Expected(False, expected=told, seen=f"the answer {seen}")
        back = both[0].back
        assert back is not None
        return Expected(True, _ends([back]), _parting(both[0]))

    def _exchange(self, packet: Packet, answer: Packet | None = None) -> Exchange | None:
        """Return the way of a packet and its answer; None where the model does not know an end."""
        key = packet, answer
        if key not in self._known:
            try:
                self._known[key] = exchange(self._paths, packet, self._states, answer)
            except SettingError:  # a family that the sender has not
                return None
        return self._known[key]

    def _from_sender(self, crafted: CraftedPacket) -> Packet | None:
        """Return a packet in the model's words, from the sender by its name: another may have the same address."""
        packet = in_model(crafted.packet)
        if packet is None or packet.source not in (self._sender.address, self._sender.ipv6_address):
            return None
        return replace(packet, source=self._sender.name)

    def _why_an_error_is_lost(self, answer: Answer, data: bytes) -> tuple[str, ...]:
        """Return where a lost ICMP error ends by the routes. What rules and translations make of one, which quotes the
        packet, is not in the model: nothing is said of those.
        """
        if answer.after is not None:
            return ()
        ip = decode_ip(data, quoted=True)
        destination = str(ip_address(ip.destination))
        packet = Packet(answer.sent_by, destination, ip.protocol, size=ip.total_length, ttl=ip.ttl, is_answer=True)
        try:
            found = way(self._paths, packet, self._states)
        except SettingError:
            return ()
        ways = [each for each in found.alternatives or (found,) if _is_seen(each, answer.hops, "")]
        return _ends(ways[:1]) if ways and ways[0].end.reason not in _BY_CONNECTION else ()


def in_model(data: bytes) -> Packet | None:
    """Return a packet in the model's words; None for one that it has no words for."""
    try:
        ip = decode_ip(data)
        answer, flags, sequence = False, SYN, 0
        if ip.protocol in (ICMP, ICMPV6) and not ip.fragment_offset:
            kind = decode_icmp(data, ip)
            if kind.is_error:
                return None
            answer = kind.type in (ECHO_REPLY, V6_ECHO_REPLY)
        elif ip.protocol == TCP and not ip.is_fragment:
            head = decode_tcp(data, ip)
            flags, sequence = head.flags, head.sequence
    except WireError:
        return None
    if ip.fragment_offset or (ip.version == 4 and data[6] & 0x20):
        return None  # a fragment that a host made: whether a router waits for the others is not in the model
    has_ports = bool(ip.source_port or ip.destination_port)
    return Packet(
        str(ip_address(ip.source)),
        str(ip_address(ip.destination)),
        ip.protocol,
        ip.source_port if has_ports else None,
        ip.destination_port if has_ports else None,
        size=ip.total_length,
        ttl=ip.ttl,
        df=ip.version == 6 or bool(data[6] & 0x40),
        tcp_flags=flags,
        is_answer=answer,
        sequence=sequence if ip.protocol == TCP and flags == SYN else None,
    )


def _is_seen(way: Way, hops: Sequence[NodeVerdict], arrived_at: str, unheard: Collection[str] = ()) -> bool:
    """Whether nodes and sockets saw what the model says of a way; of a loop, that it met the same endpoints.

    Of the endpoints `unheard` nobody said anything.
    """
    if _once(each for each in way.endpoints if each not in unheard) != _once(
        h.endpoint for h in hops if not h.returned
    ):
        return False
    if way.end.kind is Kind.LOOP:
        return not arrived_at
    returns = (hop.at for hop in way.hops if hop.kind == "return" and hop.at not in unheard)
    if _once(returns) != _once(_returns(hops)):
        return False
    told = {target for endpoint, target in zip(way.endpoints, way.targets, strict=False) if endpoint not in unheard}
    if not told <= {(hop.node, hop.target) for hop in hops if hop.verdict == "to-target"}:
        return False
    if (way.end.at if way.delivered else "") != arrived_at:
        return False
    dropped = next((hop.reason for hop in reversed(hops[-1:]) if hop.verdict == "drop"), "")
    return not dropped or way.end.reason == dropped


def _returns(hops: Iterable[NodeVerdict]) -> list[str]:
    return [hop.endpoint for hop in hops if hop.verdict == "to-endpoint"]


def _once(names: Iterable[str]) -> list[str]:
    """Each name once: fragments of a packet meet the same endpoints."""
    return list(dict.fromkeys(names))


def _ends(ways: Iterable[Way]) -> tuple[str, ...]:
    return tuple(f"{way.end.sentence} [{way.end.reason}]" for way in ways if not way.delivered)


def _parting(found: Exchange) -> tuple[str, ...]:
    if found.parting is None:
        return ()
    return found.parting.sentence, *(f"{word:<5} {hop.at}: {hop.rule}" for word, hop in found.parting.sides)


def _told(way: Way) -> str:
    """A way in the words in which what was seen is told."""
    met = [f"{endpoint} ({target})" for endpoint, (_, target) in zip(way.endpoints, way.targets, strict=False)]
    met += way.endpoints[len(met) :]
    end = f"arrives at {way.end.at}" if way.delivered else f"{way.end.kind.value}: {way.end.sentence}"
    if way.end.reason == Cause.SECURITY_GROUP.value:
        end += ", unless its port knows a connection of the two"  # which is not among the states that are asked for
    return _by(met, end)


def _seen(hops: Sequence[NodeVerdict], end: str) -> str:
    return _by(_once(f"{h.endpoint} ({h.target})" if h.target else h.endpoint for h in hops if not h.returned), end)


def _by(met: Sequence[str], end: str) -> str:
    return f"{'by ' if met else 'past every endpoint, '}{', '.join([*met, end])}"


def _end(report: PacketReport) -> str:
    return f"arrives at {report.delivered_to}" if report.delivered_to else report.outcome


def _answer_end(answer: Answer) -> str:
    return "lost" if answer.after is None else f"arrives at {answer.sent_to}"
