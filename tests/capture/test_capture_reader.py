"""Foreign, truncated and damaged files are read as far as they go."""

from __future__ import annotations

import struct
import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gwlbemu.capture.pcapng import enhanced_packet, interface_description, section_header
from tests.capture.capture_helpers import AT, ethernet, our_file, pcap_file, read, recorded, syn, tunnelled
from tests.paths import PCAPS

FRAME = ethernet(syn())
OURS = our_file(*(enhanced_packet(n % 2, AT + n, ethernet(tunnelled(syn())), comments=["x" * n]) for n in range(3)))
PCAP = pcap_file([(1_000_001, FRAME), (2_000_002, FRAME)])


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize(("magic", "tick_ns"), [(0xA1B2C3D4, 1000), (0xA1B23C4D, 1)])
def test_pcap_is_read_in_both_byte_orders_and_resolutions(order: str, magic: int, tick_ns: int) -> None:
    packets, reader = read(pcap_file([(5_000_000_007, FRAME), (6_000_000_008, b"")], order, magic, 101))
    assert [packet.at_ns for packet in packets] == [5_000_000_007 * tick_ns, 6_000_000_008 * tick_ns]
    assert [packet.data for packet in packets] == [FRAME, b""]
    assert packets[0].interface.link_type == 101
    assert reader.ending.complete


def test_a_big_endian_pcapng_with_other_clocks_and_two_sections_is_read() -> None:
    def block(kind: int, body: bytes) -> bytes:
        return struct.pack(">II", kind, len(body) + 12) + body + struct.pack(">I", len(body) + 12)

    section = block(0x0A0D0D0A, struct.pack(">IHHq", 0x1A2B3C4D, 1, 0, -1))
    micro = block(1, struct.pack(">HHI", 1, 0, 0))
    binary = block(
        1, struct.pack(">HHI", 101, 0, 4) + struct.pack(">HHBxxx", 9, 1, 0x80 | 10) + struct.pack(">HHq", 14, 8, 100)
    )
    body = struct.pack(">IIIII", 0, 0, 5, 3, 3) + b"abc\0"
    later = struct.pack(">IIIII", 1, 0, 1024 + 512, 3, 3) + b"abc\0"
    unknown, simple = block(0x0BAD, b"1234"), block(3, struct.pack(">I", 9) + b"abcdefgh" + b"i\0\0\0")
    data = section + micro + binary + unknown + block(6, body) + block(6, later) + simple + OURS
    packets, reader = read(data)
    assert [packet.at_ns for packet in packets[:3]] == [5000, 101_500_000_000, 0]
    assert [packet.data for packet in packets[:3]] == [b"abc", b"abc", b"abcdefghi"]
    assert [packet.interface.name for packet in packets] == [
        "interface 0",
        "interface 1",
        "interface 0",
        "client/eth0",
        "fw-a1/eth0",
        "client/eth0",
    ]
    assert [packet.number for packet in packets] == [1, 2, 3, 4, 5, 6]
    assert reader.ending.complete


@pytest.mark.parametrize(("whole", "name"), [(OURS, "pcapng"), (PCAP, "pcap")])
def test_a_file_cut_anywhere_gives_its_whole_packets_and_says_where_it_ends(whole: bytes, name: str) -> None:
    everything, _ = read(whole)
    ends = set()
    for length in range(len(whole)):
        packets, reader = read(whole[:length])
        assert packets == everything[: len(packets)]
        assert reader.ending.offset <= length
        assert reader.ending.reason
        if reader.ending.complete:
            assert reader.ending.offset == length, "only a cut between blocks is a complete file"
            ends.add(length)
    # Between blocks: after the section, two interfaces and two packets; after the file header and one packet.
    assert len(ends) == {"pcapng": 5, "pcap": 2}[name]


def test_a_cut_packet_is_named_with_its_offset() -> None:
    packets, reader = read(PCAP[:-10])
    assert len(packets) == 1
    assert reader.ending.offset == len(PCAP) - len(FRAME)
    assert (
        reader.ending.reason == f"the file ends inside packet 2: {len(FRAME)} bytes announced, {len(FRAME) - 10} there"
    )


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "the file is empty"),
        (b"\x7fELF", "not a pcap or pcapng file: it begins with 7f 45 4c 46"),
        (b"\x7f", "the file ends inside the first four bytes"),
        (PCAP[:24] + b"\xff" * 16, "packet 1 claims 4294967295 bytes, which cannot be right"),
        (PCAP[:24] + struct.pack("<IIII", 0, 0, 10, 9), "packet 1 claims 10 bytes of 9"),
        (OURS[:8] + b"abcd", "unknown byte order"),
        (section_header() + struct.pack("<II", 1, 13), "a block claims 13 bytes"),
        (section_header() + struct.pack("<II", 1, 0xFFFFFFFC), "claims 4294967284 bytes"),
        (section_header() + enhanced_packet(0, AT, FRAME), "interface 0 was never described"),
        (section_header() + interface_description("x")[:-1] + b"\xff", "a block's two lengths differ"),
        (section_header() + struct.pack("<III", 1, 12, 12), "a block of type 1 is inconsistent"),
    ],
)
def test_what_is_wrong_with_a_file_is_said(data: bytes, reason: str) -> None:
    packets, reader = read(data)
    assert packets == []
    assert not reader.ending.complete
    assert reason in reader.ending.reason


def test_a_packet_longer_than_its_block_ends_the_reading_there() -> None:
    good, bad = enhanced_packet(0, AT, FRAME), bytearray(enhanced_packet(0, AT, FRAME))
    bad[20:24] = (1000).to_bytes(4, "little")
    packets, reader = read(our_file(good, bytes(bad), good))
    assert len(packets) == 1
    assert reader.ending.offset == len(our_file(good))
    assert "1000 bytes of packet" in reader.ending.reason


def test_options_that_run_out_of_their_block_do_not_lose_the_packet() -> None:
    block = bytearray(enhanced_packet(0, AT, b"abcd", comments=["ok", "broken"]))
    at = bytes(block).index(b"broken") - 2
    block[at : at + 2] = (500).to_bytes(2, "little")
    (packet,), reader = read(our_file(bytes(block)))
    assert packet.comments == ("ok",)
    assert reader.ending.complete


@settings(max_examples=300)
@given(
    st.sampled_from([OURS, PCAP, b""]),
    st.lists(st.tuples(st.integers(0, 2000), st.integers(0, 255)), max_size=8),
    st.binary(max_size=40),
)
def test_no_bytes_whatever_make_the_reader_raise(whole: bytes, changes: list[tuple[int, int]], tail: bytes) -> None:
    data = bytearray(whole + tail)
    for index, value in changes:
        if data:
            data[index % len(data)] = value
    _, reader = read(bytes(data))
    assert reader.ending.offset <= len(data)
    assert reader.ending.reason != "not read yet"


@pytest.mark.parametrize("name", sorted(path.name for path in PCAPS.glob("*.pcap")) or ["none"])
def test_recorded_captures_have_as_many_packets_as_capinfos_counts(name: str) -> None:
    packets, reader = read(recorded(name))
    counted = subprocess.run(["capinfos", "-rcTM", str(PCAPS / name)], capture_output=True, text=True, check=True)
    assert reader.ending.complete
    assert len(packets) == int(counted.stdout.split()[-1])


@pytest.mark.parametrize("format_name", ["pcapng", "nsecpcap", "pcap"])
def test_what_editcap_makes_of_our_file_is_read(format_name: str, tmp_path: Path) -> None:
    ours, theirs = tmp_path / "ours.pcapng", tmp_path / "theirs"
    ours.write_bytes(OURS)
    subprocess.run(["editcap", "-F", format_name, str(ours), str(theirs)], check=True, capture_output=True)
    packets, reader = read(theirs.read_bytes())
    assert reader.ending.complete
    expected = [AT + n for n in range(3)]
    assert [packet.at_ns for packet in packets] == (
        [n // 1000 * 1000 for n in expected] if format_name == "pcap" else expected
    )
    assert [packet.data for packet in packets] == [packet.data for packet in read(OURS)[0]]


def test_a_section_of_more_interfaces_than_any_machine_has_is_refused_where_one_is_too_many() -> None:
    one, most = interface_description("eth0"), 1 << 16
    head = section_header()
    packet = enhanced_packet(most - 1, AT, FRAME)
    packets, reader = read(head + one * most + packet + head + one + enhanced_packet(0, AT, FRAME))
    assert (len(packets), reader.ending.complete) == (2, True)
    packets, reader = read(head + one * most + packet + one * 2 + packet)
    assert (len(packets), reader.ending.complete, reader.ending.offset) == (
        1, False, len(head) + len(one) * most + len(packet)
    )  # fmt: skip
    assert reader.ending.reason == "more than 65536 interfaces in one section"
