"""What arrives from the load balancer, and how it goes back."""

from __future__ import annotations

import pytest
from scapy.contrib.geneve import GENEVE
from scapy.layers.inet import IP, TCP, UDP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import Ether
from scapy.utils import rdpcap

from appliances.tunnel import read, swap, wrap
from gwlbemu.errors import WireError
from tests.appliances.appliance_helpers import (
    APPLIANCE,
    CLIENT,
    COOKIE,
    ENDPOINT,
    GOLDEN_FRAME,
    GOLDEN_HEADER,
    GOLDEN_INNER,
    NODE,
    SERVER,
    tunnelled,
)
from tests.paths import PCAPS

AWS_CAPTURE = PCAPS / "suricata-verify_bug-6402-01_AWS-GWLB.pcap"


def test_the_golden_frame_is_read_as_aws_wrote_it() -> None:
    received = read(GOLDEN_FRAME)
    assert (received.endpoint, received.cookie) == (ENDPOINT, COOKIE)
    assert received.outer.header == GOLDEN_HEADER
    assert received.packet == GOLDEN_INNER


def test_a_returned_frame_has_everything_swapped_and_nothing_else_changed() -> None:
    expected = (
        "020000000001020000000002080045000064"
        "00000000ff118eec0afe0b650afe0b3cea6117c10050f430" + GOLDEN_HEADER.hex() + GOLDEN_INNER.hex()
    )
    assert swap(GOLDEN_FRAME).hex() == expected


def test_a_returned_frame_gets_a_fresh_ttl_and_a_right_header_checksum() -> None:
    worn = Ether(GOLDEN_FRAME)
    worn[IP].ttl = 7
    del worn[IP].chksum
    assert swap(bytes(worn)) == swap(GOLDEN_FRAME)


def test_frames_of_the_recorded_aws_capture_are_read_and_echo_their_header() -> None:
    if not AWS_CAPTURE.exists():
        pytest.skip("the recorded capture is not here")
    frames = [bytes(packet) for packet in rdpcap(str(AWS_CAPTURE))]
    assert len(frames) == 12
    for frame in frames:
        received = read(frame)
        assert (received.endpoint, received.cookie) == (0x31E129CDC0CD8633, 0x3DC956AC)
        back = swap(frame)
        assert back[42:] == frame[42:]
        assert back[26:34] == frame[30:34] + frame[26:30]
        assert checksums_are_right(back)


@pytest.mark.parametrize(
    "inner",
    [
        IP(src=SERVER, dst=CLIENT) / TCP(sport=80, dport=40000, flags="RA"),
        IPv6(src="2001:db8::1", dst="2001:db8::2") / UDP(sport=53, dport=40000) / b"odd",
    ],
    ids=["IPv4", "IPv6"],
)
def test_another_packet_of_the_same_family_travels_in_the_same_header(inner: IP | IPv6) -> None:
    request = inner.copy()
    request.src, request.dst = inner.dst, inner.src
    frame = wrap(read(tunnelled(request, port=60000)), bytes(inner))
    parsed = Ether(frame)
    assert (parsed[IP].src, parsed[IP].dst, parsed[UDP].sport, parsed[UDP].dport) == (APPLIANCE, NODE, 60000, 6081)
    assert bytes(parsed[GENEVE])[:40] == tunnelled(request)[42:82]
    assert frame[82:] == bytes(inner)
    assert checksums_are_right(frame)


def test_options_in_another_order_and_unknown_ones_are_understood() -> None:
    reordered = with_header(
        bytes.fromhex("0a000800000000000108030198ef1b00ff010101deadbeef010801022356de92d389839c")
        + bytes.fromhex("010802020000000000000000")
    )
    received = read(reordered)
    assert (received.endpoint, received.cookie) == (ENDPOINT, COOKIE)


@pytest.mark.parametrize(
    ("what", "frame"),
    [
        ("an ARP frame", bytes(12) + b"\x08\x06" + bytes(28)),
        ("an empty frame", b""),
        ("a cut frame", GOLDEN_FRAME[:60]),
        ("version 1", GOLDEN_FRAME[:42] + b"\x48" + GOLDEN_FRAME[43:]),
        ("another UDP port", GOLDEN_FRAME[:36] + b"\x17\xc2" + GOLDEN_FRAME[38:]),
        ("TCP outside", GOLDEN_FRAME[:23] + b"\x06" + GOLDEN_FRAME[24:]),
        ("an Ethernet payload", GOLDEN_FRAME[:44] + b"\x65\x58" + GOLDEN_FRAME[46:]),
        ("IPv6 announced, IPv4 inside", GOLDEN_FRAME[:44] + b"\x86\xdd" + GOLDEN_FRAME[46:]),
        ("the O bit", GOLDEN_FRAME[:43] + b"\x80" + GOLDEN_FRAME[44:]),
        ("an option longer than the area", GOLDEN_FRAME[:77] + b"\x1f" + GOLDEN_FRAME[78:]),
        ("an unknown critical option", GOLDEN_FRAME[:62] + b"\xff\x01\x82\x02" + GOLDEN_FRAME[66:]),
        ("no cookie", GOLDEN_FRAME[:76] + b"\x44" + GOLDEN_FRAME[77:]),
        ("an outer fragment", GOLDEN_FRAME[:20] + b"\x20\x00" + GOLDEN_FRAME[22:]),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_the_load_balancer_does_not_send_is_refused(what: str, frame: bytes) -> None:
    with pytest.raises(WireError):
        read(frame)


def with_header(header: bytes) -> bytes:
    """The golden frame with another GENEVE header, outer lengths and checksums made right by scapy."""
    outer = IP(src=NODE, dst=APPLIANCE, ttl=255, id=0) / UDP(sport=60001, dport=6081)
    return GOLDEN_FRAME[:14] + bytes(outer / (header + GOLDEN_INNER))


def checksums_are_right(frame: bytes) -> bool:
    """Let scapy compute the outer checksums anew, and compare."""
    anew = Ether(frame)
    anew[UDP].underlayer.chksum = anew[UDP].chksum = None
    return bytes(anew)[:42] == frame[:42]
