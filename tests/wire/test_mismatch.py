"""Wrong checksums are named with what belongs there; right ones, and what has none, are not."""

from __future__ import annotations

from typing import Any

import pytest
from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.inet6 import ICMPv6EchoRequest, IPv6
from scapy.packet import Packet

from gwlbemu.wire.mismatch import Mismatch, wrong_checksum

FOUR: dict[str, Any] = {"src": "10.0.0.1", "dst": "10.0.0.2"}
SIX: dict[str, Any] = {"src": "2001:db8::1", "dst": "2001:db8::2"}
GOOD = [
    IP(**FOUR) / UDP(sport=1, dport=2) / b"x",
    IP(**FOUR) / TCP(sport=1, dport=2),
    IP(**FOUR) / ICMP(),
    IPv6(**SIX) / UDP(sport=1, dport=2),
    IPv6(**SIX) / ICMPv6EchoRequest(),
    IP(**FOUR, proto=50) / b"esp",
    IP(**FOUR) / UDP(sport=1, dport=2, chksum=0),
]


@pytest.mark.parametrize("packet", GOOD, ids=lambda packet: packet.summary())
def test_a_right_checksum_is_no_mismatch(packet: Packet) -> None:
    assert wrong_checksum(bytes(packet)) is None


@pytest.mark.parametrize(
    ("layer", "field", "name"),
    [(0, 10, "IP"), (0, 26, "UDP"), (1, 36, "TCP"), (2, 22, "ICMP"), (3, 46, "UDP"), (4, 42, "ICMPV6")],
)
def test_a_wrong_checksum_is_told_with_the_right_one(layer: int, field: int, name: str) -> None:
    good = bytes(GOOD[layer])
    bad = good[:field] + bytes([good[field] ^ 0x55]) + good[field + 1 :]
    told = wrong_checksum(bad, "inner ")
    right = good[field : field + 2].hex()
    assert told == Mismatch(f"inner {name} checksum", f"0x{bad[field : field + 2].hex()}", f"0x{right}")
    assert str(told).endswith(f", expected 0x{right}")


def test_a_fragments_segment_and_what_is_no_packet_are_not_judged() -> None:
    assert wrong_checksum(bytes(IP(**FOUR, flags="MF") / UDP(sport=1, dport=2, chksum=9))) is None
    assert wrong_checksum(b"\x45no packet") is None
