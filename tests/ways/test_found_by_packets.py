"""What the path model once said otherwise than packets in a lab (see tests/differential), by name."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gwlbemu.core.gateway.verdict import Reason
from gwlbemu.paths.values import Cause, Packet
from gwlbemu.paths.walk import Paths, exchange, way
from gwlbemu.topology.plan.resolve import load
from gwlbemu.wire.protocols import ICMP, TCP, UDP
from gwlbemu.wire.tcp import ACK, RST
from tests.paths import TOPOLOGIES
from tests.topology.builder import put
from tests.ways.test_ends import NAT, REQUEST, dropped, ended, own_subnet, paths, walked

PING = Packet("web", "203.0.113.99", ICMP)
BIG = Packet("client-a", "server-b", ICMP)
BY_NAT = [*NAT, put("vpcs.0.route_tables.1.routes.0.target", "nat")]


@pytest.mark.parametrize("protocol", [ICMP, TCP, UDP])
def test_a_packet_to_the_own_nat_gateways_public_address_comes_back_to_it_and_belongs_to_no_connection(
    protocol: int,
) -> None:
    """The internet gateway turns it around with both addresses the NAT gateway's. An echo request is no echo reply."""
    packet = replace(PING, protocol=protocol)
    if protocol != ICMP:
        packet = replace(packet, source_port=40000, destination_port=80)
    assert ended(walked(packet, *BY_NAT)) == dropped("nat", Cause.NAT_NO_SESSION)


def test_nobody_in_the_own_subnet_is_said_of_the_subnet() -> None:
    """The frame leaves the instance and gets as far as the subnet."""
    found = walked(Packet("web", "10.0.1.77", TCP, 40000, 80))
    assert ended(found) == dropped("app-a", Cause.UNKNOWN_ADDRESS)
    assert found.end.sentence == "nobody in app-a has the address 10.0.1.77"


@pytest.mark.parametrize(("size", "reason"), [(8504, Cause.TOO_BIG), (8505, Cause.LINK_TOO_BIG)])
def test_a_port_of_a_bridge_takes_four_bytes_more_than_its_mtu(size: int, reason: Cause) -> None:
    """Linux leaves room for a VLAN tag. The transit gateway's link has an MTU of 8500, and so has the next one."""
    found = way(
        Paths(load((TOPOLOGIES / "transit-gateway.yaml").read_text(), "transit-gateway.yaml")), replace(BIG, size=size)
    )
    assert ended(found) == dropped("tgw" if reason is Cause.TOO_BIG else "left-a", reason)


def test_a_rst_does_not_go_round_for_ever() -> None:
    """It ends its flow in the first round, and in the second it is a packet of no flow."""
    refusal = replace(REQUEST.answer(), tcp_flags=RST | ACK)
    found = exchange(paths(own_subnet), REQUEST, answer=refusal)
    assert found.back is not None
    assert ended(found.back) == dropped("vpce-a", Reason.MIDSTREAM)
    assert found.back.endpoints == ("vpce-a", "vpce-a")
    assert len(found.back.targets) == 1
