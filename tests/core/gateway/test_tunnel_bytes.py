"""What leaves towards a target, byte for byte; scapy judges the checksums."""

import pytest

from gwlbemu.core.gateway.verdict import Drop, Reason, ToEndpoint
from gwlbemu.wire.build import build_ip
from gwlbemu.wire.icmp import ECHO
from gwlbemu.wire.outer import decapsulate, encapsulate
from gwlbemu.wire.tcp import build_tcp
from gwlbemu.wire.udp import build_udp
from tests.core.gateway.core_lab import (
    CLIENT,
    CLIENT6,
    NODE,
    SERVER,
    SERVER6,
    VPCE_A,
    VPCE_B,
    data,
    give_back,
    node,
    query,
    reply,
    sent,
    syn,
)

PACKETS = [
    syn(),
    data(),
    query(),
    query(payload=b"odd"),
    query(payload=bytes(1400)),
    build_ip(CLIENT, SERVER, 47, b"gre!"),
]


def sums_are_right(datagram: bytes) -> bool:
    from scapy.layers.inet import IP

    def built(number: int | None) -> tuple[int, int]:
        packet = IP(datagram)
        if number is None:
            del packet.chksum
            del packet["UDP"].chksum
            packet = IP(bytes(packet))
        return packet.chksum, packet["UDP"].chksum

    return built(1) == built(None)


@pytest.mark.contract("GV-02", "GV-03", "GV-05", "GV-06", "GV-07")
def test_a_datagram_has_the_bytes_of_the_captures() -> None:
    balancer = node(1)
    datagram = sent(balancer.receive_packet(VPCE_A, query(ttl=64), now=1.0)).datagram
    # Outer: TOS 0, ID 0, DF clear, TTL 255; GENEVE 08 00 08 00, VNI 0; options 1, 2 (zero), 3.
    assert datagram[:10].hex() == "4500006400000000ff11"
    assert datagram[12:20] == NODE + bytes([10, 254, 11, 101])
    assert datagram[20:22] in (b"\xea\x60", b"\xea\x61")
    assert datagram[22:26].hex() == "17c10050"
    assert datagram[28:64].hex() == "0800080000000000010801022356de92d389839c01080202000000000000000001080301"
    assert datagram[68:].hex() == "45000020000040003f11f22c0a011565c63364079c400035000c31e674657374".replace(
        "f22c", datagram[78:80].hex()
    )


@pytest.mark.contract("GV-03")
@pytest.mark.parametrize("packet", PACKETS, ids=len)
def test_outer_checksums_are_present_and_right_for_the_first_and_the_later_packets(packet: bytes) -> None:
    balancer = node(2, emulation={"midstream": "new"})
    for now in (1.0, 2.0):  # the first goes the careful way, the second the hot one
        datagram = sent(balancer.receive_packet(VPCE_A, packet, now=now)).datagram
        assert datagram[26:28] != b"\0\0"
        assert sums_are_right(datagram)


@pytest.mark.parametrize("step", [0, 1, 2])
@pytest.mark.parametrize("packet", PACKETS, ids=len)
def test_the_hot_path_and_the_careful_path_write_the_same_bytes(packet: bytes, step: int) -> None:
    balancer = node(2, emulation={"midstream": "new", "ttl_decrement": step})
    first, second = (sent(balancer.receive_packet(VPCE_A, packet, now=now)) for now in (1.0, 2.0))
    assert first == second
    outer = decapsulate(second.datagram)
    assert second.datagram == encapsulate(
        outer.source, outer.destination, outer.source_port, outer.header, outer.packet
    )


@pytest.mark.contract("GV-01")
@pytest.mark.parametrize(
    ("packet", "ethertype"), [(query(), "0800"), (build_udp(CLIENT6, SERVER6, 1, 2, b"six"), "86dd")], ids=["4", "6"]
)
def test_ipv4_and_ipv6_travel_behind_the_same_68_bytes_of_ipv4(packet: bytes, ethertype: str) -> None:
    datagram = sent(node().receive_packet(VPCE_A, packet, now=1.0)).datagram
    assert datagram[0] == 0x45
    assert len(datagram) == 68 + len(packet)
    assert datagram[30:32].hex() == ethertype
    assert sums_are_right(datagram)


@pytest.mark.contract("GV-08", "GV-03")
@pytest.mark.parametrize(
    ("there", "back"),
    [
        (syn(), reply()),
        (query(), build_udp(SERVER, CLIENT, 53, 40000, b"answer")),
        (build_udp(CLIENT6, SERVER6, 1, 2), build_udp(SERVER6, CLIENT6, 2, 1)),
        (
            build_ip(CLIENT, SERVER, 1, bytes([ECHO, 0, 0, 0, 0, 1, 0, 1])),
            build_ip(SERVER, CLIENT, 1, bytes([0, 0, 0, 0, 0, 1, 0, 1])),
        ),
    ],
    ids=["tcp", "udp", "udp6", "icmp"],
)
def test_both_directions_of_a_flow_have_one_header_and_one_source_port(there: bytes, back: bytes) -> None:
    balancer = node(4)
    one, other = (sent(balancer.receive_packet(VPCE_A, packet, now=1.0)).datagram for packet in (there, back))
    assert one[28:68] == other[28:68]
    assert one[20:22] == other[20:22]


@pytest.mark.contract("GV-04", "GV-03")
@pytest.mark.parametrize(("policy", "allowed"), [("aws", range(60000, 60002)), ("rfc8926", range(49152, 65536))])
def test_the_source_port_policy_is_a_switch(policy: str, allowed: range) -> None:
    balancer = node(emulation={"source_port": policy})
    ports = {
        int.from_bytes(sent(balancer.receive_packet(VPCE_A, query(port), now=1.0)).datagram[20:22], "big")
        for port in range(1, 400)
    }
    assert ports <= set(allowed)
    assert len(ports) == (2 if policy == "aws" else len(ports))
    assert len(ports) > 300 or policy == "aws"


@pytest.mark.contract("GV-20")
@pytest.mark.parametrize(
    ("setting", "at_the_target", "at_the_end"),
    [(0, (64, 64), (64, 64)), (1, (63, 64), (63, 63)), (2, (63, 63), (62, 62))],
)
@pytest.mark.parametrize("family", [(CLIENT, SERVER), (CLIENT6, SERVER6)], ids=["ipv4", "ipv6"])
def test_a_pass_takes_as_many_hops_as_the_switch_says(
    family: tuple[bytes, bytes], setting: int, at_the_target: tuple[int, int], at_the_end: tuple[int, int]
) -> None:
    balancer = node(emulation={"ttl_decrement": setting})
    for index, (source, destination, ports) in enumerate([(*family, (5, 6)), (*family[::-1], (6, 5))]):
        for _ in range(2):
            verdict = balancer.receive_packet(VPCE_A, build_udp(source, destination, *ports, b"x"), now=1.0)
            returned = give_back(balancer, verdict, now=1.0)
            assert isinstance(returned, ToEndpoint)
            hops = 8 if len(source) == 4 else 7
            assert (sent(verdict).datagram[68 + hops], returned.packet[hops]) == (
                at_the_target[index],
                at_the_end[index],
            )


@pytest.mark.contract("GV-20")
@pytest.mark.parametrize(("setting", "ttl", "dropped"), [(2, 1, True), (2, 2, False), (0, 1, False)])
def test_a_packet_without_a_hop_left_is_dropped_by_that_name(setting: int, ttl: int, dropped: bool) -> None:
    verdict = node(emulation={"ttl_decrement": setting}).receive_packet(VPCE_A, query(ttl=ttl), now=1.0)
    assert (verdict == Drop(Reason.TTL_EXPIRED)) is dropped


@pytest.mark.contract("GV-19")
@pytest.mark.parametrize(("size", "dropped"), [(8500, False), (8501, True)])
def test_a_packet_over_8500_bytes_is_dropped_without_a_word(size: int, dropped: bool) -> None:
    balancer = node()
    for now in (1.0, 2.0):
        verdict = balancer.receive_packet(VPCE_A, query(payload=bytes(size - 28)), now=now)
        assert (verdict == Drop(Reason.TOO_LONG)) is dropped


@pytest.mark.contract("GV-18")
def test_a_returned_packet_leaves_at_the_endpoint_of_its_option_1() -> None:
    balancer = node()
    for endpoint in (VPCE_A, VPCE_B):
        for now in (1.0, 2.0):
            returned = give_back(balancer, balancer.receive_packet(endpoint, query(), now=now), now=now)
            assert isinstance(returned, ToEndpoint)
            assert returned.endpoint == endpoint


def test_padding_behind_a_short_packet_does_not_travel() -> None:
    datagram = sent(node().receive_packet(VPCE_A, query() + bytes(14), now=1.0)).datagram
    assert len(datagram) == 68 + len(query())


def test_mss_is_lowered_to_8460_only_when_the_switch_says_so() -> None:
    offer = build_tcp(
        CLIENT, SERVER, 1, 80, options=b"\x01\x01\x01\x01\x02\x04\x22\xf1"
    )  # 8945 as a jumbo interface has it
    plain, clamped = (
        sent(node(1, emulation={"mss_clamp": on}).receive_packet(VPCE_A, offer, now=1.0)).datagram[68:]
        for on in (False, True)
    )
    assert (plain[46:48].hex(), clamped[46:48].hex()) == ("22f1", "210c")
    from scapy.layers.inet import IP

    again = IP(clamped)
    del again["TCP"].chksum
    assert bytes(again)[36:38] == clamped[36:38]
