"""What we write is read by tshark, tcpdump and ourselves."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gwlbemu.capture import pcapng
from gwlbemu.capture.packet import CapturedPacket, Interface, Statistics
from gwlbemu.capture.pcapng import Direction, enhanced_packet
from gwlbemu.wire.udp import build_udp
from tests.capture.capture_helpers import AT, CLIENT, SERVER, ethernet, our_file, read, syn, tunnelled

PLAIN, TUNNELLED = ethernet(syn()), ethernet(tunnelled(syn()))


def example() -> bytes:
    return our_file(
        enhanced_packet(0, AT, PLAIN, direction="out"),
        enhanced_packet(1, AT + 1, TUNNELLED, direction="in", comments=["to target fw-a1", "cookie 0x98ef1b00, grün"]),
        enhanced_packet(1, AT + 2, TUNNELLED[:61], original_length=len(TUNNELLED)),
        pcapng.interface_statistics(0, AT + 3, received=10, dropped=2),
    )


def test_our_own_file_is_read_back() -> None:
    packets, reader = read(example())
    client, firewall = Interface("client/eth0", "the client", 1), Interface("fw-a1/eth0", "", 1)
    comments = ("to target fw-a1", "cookie 0x98ef1b00, grün")
    assert packets == [
        CapturedPacket(1, AT, client, PLAIN, len(PLAIN), "out"),
        CapturedPacket(2, AT + 1, firewall, TUNNELLED, len(TUNNELLED), "in", comments),
        CapturedPacket(3, AT + 2, firewall, TUNNELLED[:61], len(TUNNELLED)),
    ]
    assert reader.ending.complete
    assert reader.ending.offset == len(example())
    assert reader.statistics == {"client/eth0": Statistics(received=10, dropped=2)}


@given(
    st.binary(max_size=70),
    st.integers(0, 2**64 - 1),
    st.sampled_from(["in", "out", ""]),
    st.lists(st.text(st.characters(codec="utf-8"), max_size=20), max_size=4),
)
def test_any_packet_comes_back_as_it_was_written(
    frame: bytes, at_ns: int, direction: Direction, comments: list[str]
) -> None:
    block = enhanced_packet(1, at_ns, frame, direction=direction, comments=comments)
    assert len(block) % 4 == 0
    (packet,), reader = read(our_file(block))
    assert (packet.data, packet.at_ns, packet.direction) == (frame, at_ns, direction)
    assert packet.comments == tuple(comments)
    assert reader.ending.complete


def test_a_comment_too_long_for_its_field_is_cut_between_characters() -> None:
    (packet,), _ = read(our_file(enhanced_packet(0, AT, PLAIN, comments=["ü" * 40000])))
    assert packet.comments == ("ü" * 32767,)


def tshark(path: Path, *fields: str) -> list[dict[str, list[str]]]:
    command = ["tshark", "-n", "-r", str(path), "-T", "json"]
    for field in fields:
        command += ["-e", field]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "cut short" not in result.stderr
    assert "appears to be" not in result.stderr
    return [packet["_source"]["layers"] for packet in json.loads(result.stdout)]


def test_tshark_reads_names_times_directions_and_every_comment(tmp_path: Path) -> None:
    path = tmp_path / "lab.pcapng"
    path.write_bytes(example())
    fields = ("frame.interface_name", "frame.interface_description", "frame.time_epoch", "frame.comment", "frame.len")
    first, second, third = tshark(path, *fields, "frame.packet_flags_direction")
    assert first["frame.interface_name"] == ["client/eth0"]
    assert first["frame.interface_description"] == ["the client"]
    assert first["frame.time_epoch"] == ["1700000000.123456789"]
    assert int(first["frame.packet_flags_direction"][0], 16) == 2
    assert second["frame.comment"] == ["to target fw-a1", "cookie 0x98ef1b00, grün"]
    assert int(second["frame.packet_flags_direction"][0], 16) == 1
    assert third["frame.len"] == [str(len(TUNNELLED))]


def test_capinfos_finds_the_taps_and_the_statistics(tmp_path: Path) -> None:
    path = tmp_path / "lab.pcapng"
    path.write_bytes(example())
    result = subprocess.run(["capinfos", "-M", str(path)], capture_output=True, text=True, check=True)
    assert "Interface #0" in result.stdout
    assert "client/eth0" in result.stdout
    assert "gwlbemu" in result.stdout
    assert "Number of stat entries = 1" in result.stdout
    assert result.stderr == ""


def test_tcpdump_reads_every_packet_without_a_complaint(tmp_path: Path) -> None:
    path = tmp_path / "lab.pcapng"
    path.write_bytes(example())
    result = subprocess.run(["tcpdump", "-nvr", str(path)], capture_output=True, text=True, check=True)
    assert result.stdout.count("IP (") == 4  # the second frame's outer and inner packet; the third is cut
    assert "bad" not in result.stdout
    assert "incorrect" not in result.stdout
    assert "cksum" in result.stdout
    complaints = [line for line in result.stderr.splitlines() if not line.startswith("reading from file")]
    assert complaints == []


@pytest.mark.parametrize("snap_length", [0, 256])
def test_a_file_without_packets_is_complete(snap_length: int) -> None:
    data = pcapng.section_header() + pcapng.interface_description("x", snap_length=snap_length)
    packets, reader = read(data)
    assert packets == []
    assert reader.ending.complete


def test_ipv6_is_written_like_anything_else() -> None:
    frame = ethernet(build_udp(bytes(15) + b"\1", bytes(15) + b"\2", 1, 2, CLIENT + SERVER))
    (packet,), _ = read(our_file(enhanced_packet(0, AT, frame)))
    assert packet.data == frame
