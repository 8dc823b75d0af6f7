"""Probes are known wherever they are seen, and so are their answers; nothing else is."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address

import pytest

from gwlbemu.topology.plan.values import Instance
from gwlbemu.trials.probe_packets import Probe, Probes, Recognised
from gwlbemu.views.traces import TracedPacket
from gwlbemu.wire.build import build_ip
from gwlbemu.wire.icmp import build_icmp_error
from gwlbemu.wire.protocols import ICMP, ICMPV6, TCP, UDP
from gwlbemu.wire.tcp import ACK, RST, SYN, build_tcp
from gwlbemu.wire.udp import build_udp

CLIENT = Instance("client", "ns-client", "", "internet", "", "198.51.100.10", "2001:db8:f::10")
WEB = Instance("web", "ns-web", "app", "app-a", "a", "10.0.1.10", "2001:db8::10", "203.0.113.10")
MARK = b"8 octets"
A, B, PRIVATE = (ip_address(each).packed for each in ("198.51.100.10", "203.0.113.10", "10.0.1.10"))

TCP_PROBE = Probe(0, MARK, CLIENT, WEB, "198.51.100.10", "203.0.113.10", TCP, 40000, 80)
UDP_PROBE = Probe(1, MARK, CLIENT, WEB, "198.51.100.10", "203.0.113.10", UDP, 40001, 53)
PING = Probe(2, MARK, CLIENT, WEB, "198.51.100.10", "203.0.113.10", ICMP)
PROBES = Probes([TCP_PROBE, UDP_PROBE, PING])


def known(packet: bytes) -> Recognised | None:
    found = PROBES.recognise(packet)
    return found[1] if found else None


def test_a_syn_and_its_answers_and_no_other_segment_of_the_connection() -> None:
    syn = build_ip(A, B, TCP, TCP_PROBE.segment())
    assert len(syn) == TCP_PROBE.length
    assert known(syn) == Recognised(0, False)
    for flags, answer in ((SYN | ACK, Recognised(0, True)), (RST | ACK, Recognised(0, True)), (ACK, None)):
        assert known(build_tcp(PRIVATE, A, 80, 40000, flags=flags)) == answer  # behind the internet gateway
    assert known(build_tcp(A, B, 40000, 80, flags=RST)) is None  # by which the sender ends it
    assert known(build_tcp(A, B, 40000, 81, flags=SYN)) is None
    assert known(build_tcp(A, B, 40009, 80, flags=SYN)) is None


def test_datagrams_go_by_their_ports() -> None:
    assert known(build_udp(A, B, 40001, 53, UDP_PROBE.payload)) == Recognised(1, False)
    assert known(build_udp(B, A, 53, 40001, b"whatever the program says")) == Recognised(1, True)
    assert known(build_udp(A, B, 40002, 53, UDP_PROBE.payload)) is None


def test_echo_requests_go_by_what_they_carry() -> None:
    asked = build_ip(A, B, ICMP, PING.segment())
    assert len(asked) == PING.length
    assert known(asked) == Recognised(2, False)
    assert known(build_ip(B, A, ICMP, b"\0" + PING.segment()[1:])) == Recognised(2, True)
    somebody = replace(PING, mark=b"an other").segment()
    assert known(build_ip(A, B, ICMP, somebody)) is None
    assert known(build_ip(A, B, ICMP, PING.segment()[:8])) is None


@pytest.mark.parametrize("probe", [TCP_PROBE, UDP_PROBE, PING], ids=lambda probe: str(probe.protocol))
def test_an_error_tells_which_packet_it_is_about(probe: Probe) -> None:
    packet = (
        build_udp(A, B, 40001, 53, probe.payload)
        if probe.protocol == UDP
        else build_ip(A, B, probe.protocol, probe.segment())
    )
    error = build_icmp_error(packet, 3, 1, PRIVATE)
    assert error is not None
    assert known(error) == Recognised(probe.number, False, (3, 1))


def test_over_ipv6_as_well() -> None:
    six = replace(PING, source="2001:db8:f::10", destination="2001:db8::10", protocol=ICMPV6)
    ends = ip_address(six.source).packed, ip_address(six.destination).packed
    packet = build_ip(*ends, ICMPV6, six.segment())
    found = Probes([six]).recognise(packet)
    assert found is not None
    assert (found[1], len(packet)) == (Recognised(2, False), six.length)


def event(protocol: int, source: str, destination: str, length: int, ports: tuple[int, int] = (0, 0)) -> TracedPacket:
    return TracedPacket(
        at=1.0, node="n", endpoint="e", direction="out", protocol=protocol, source=source, source_port=ports[0],
        destination=destination, destination_port=ports[1], ip_id=0, length=length, verdict="to-target", target="fw",
        cookie="", reason="",
    )  # fmt: skip


def test_verdicts_are_told_apart_by_direction_whatever_address_a_nat_gateway_gave() -> None:
    assert PROBES.event(event(ICMP, "198.51.100.10", "10.0.1.10", PING.length)) == Recognised(2, False)
    assert PROBES.event(event(ICMP, "10.0.3.4", "203.0.113.10", PING.length)) == Recognised(2, False)
    assert PROBES.event(event(ICMP, "10.0.1.10", "198.51.100.10", PING.length)) == Recognised(2, True)
    assert PROBES.event(event(ICMP, "10.0.1.10", "198.51.100.10", PING.length + 1)) is None
    assert PROBES.event(event(ICMP, "10.9.9.9", "10.8.8.8", PING.length)) is None
    assert PROBES.event(event(TCP, "10.0.3.4", "10.0.1.10", TCP_PROBE.length, (40000, 80))) == Recognised(0, False)
    assert PROBES.event(event(TCP, "10.0.3.4", "10.0.1.10", 40, (40000, 80))) is None  # the RST of its sender
    assert PROBES.event(event(TCP, "10.0.1.10", "10.0.3.4", 40, (80, 40000))) == Recognised(0, True)
