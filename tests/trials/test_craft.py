"""What `inject` makes of a scapy expression, and what it refuses."""

from __future__ import annotations

import pytest
from scapy.layers.inet import IP, UDP, fragment
from scapy.plist import PacketList

from gwlbemu.errors import SettingError
from gwlbemu.topology.plan.resolve import load
from gwlbemu.trials.craft import CraftedPacket, PacketSpec, craft
from gwlbemu.trials.injection import prepare
from tests.paths import TOPOLOGIES

TEXT = "fragment(IP(dst='203.0.113.10', id=7)/UDP()/(b'x' * 3000))"
PACKET = IP(dst="203.0.113.10", id=7) / UDP() / (b"x" * 3000)


def crafted(expression: object) -> CraftedPacket:
    spec = PacketSpec("expression", expression=expression)
    return craft(spec, "198.51.100.10", "203.0.113.10", ip_id=9, source_port=5000)


@pytest.mark.parametrize("expression", [TEXT, fragment(PACKET), tuple(fragment(PACKET)), PacketList(fragment(PACKET))])
def test_a_list_of_packets_is_refused_with_the_way_to_inject_fragments(expression: object) -> None:
    with pytest.raises(SettingError) as caught:
        crafted(expression)
    told = str(caught.value)
    assert told.startswith("inject: expected one packet, got 3 in a list: inject them one after the other")
    assert TEXT + "[0]" in told
    one, last = crafted(TEXT + "[0]"), crafted(TEXT + "[2]")  # what it says works
    assert one.packet[4:6] == last.packet[4:6] == b"\0\7"
    assert (one.packet[6] & 0x20, last.packet[6] & 0x20) == (0x20, 0)


@pytest.mark.parametrize("protocol", ["tcp", "udp"])
def test_port_0_is_no_destination_as_it_is_no_source(protocol: str) -> None:
    plan = load((TOPOLOGIES / "minimal.yaml").read_text(), "minimal.yaml")
    with pytest.raises(SettingError, match=f"inject: {protocol} 0: expected a whole number from 1 to 65535"):
        prepare(plan, [PacketSpec(protocol, 0)])
