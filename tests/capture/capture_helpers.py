"""Frames and files for the tests of the capture."""

from __future__ import annotations

import io
import struct

import pytest

from gwlbemu.capture import pcapng
from gwlbemu.capture.packet import CapturedPacket
from gwlbemu.capture.reader import CaptureReader
from gwlbemu.wire import aws
from gwlbemu.wire.outer import encapsulate
from gwlbemu.wire.tcp import SYN, build_tcp
from tests.paths import PCAPS

CLIENT, PUBLIC, SERVER = bytes((198, 51, 100, 10)), bytes((203, 0, 113, 10)), bytes((10, 0, 1, 10))
NODE, TARGET = bytes((10, 254, 1, 4)), bytes((10, 254, 1, 10))
ENDPOINT, COOKIE = 0x2356DE92D389839C, 0x98EF1B00
ETHERNET = bytes.fromhex("020000000002 020000000001")
AT = 1_700_000_000_123_456_789  # 22:13:20 UTC


def ethernet(packet: bytes, *, hop: int = 0) -> bytes:
    """Put an Ethernet header in front of an IP packet; `hop` tells the links of a path apart."""
    return ETHERNET[:11] + bytes((hop,)) + (b"\x86\xdd" if packet[0] >> 4 == 6 else b"\x08\x00") + packet


def syn(source: bytes = CLIENT, destination: bytes = SERVER, *, ttl: int = 64, identification: int = 7) -> bytes:
    return build_tcp(source, destination, 40000, 80, sequence=1000, flags=SYN, ttl=ttl, identification=identification)


def tunnelled(packet: bytes, source: bytes = NODE, destination: bytes = TARGET, cookie: int = COOKIE) -> bytes:
    kind = 0x86DD if packet[0] >> 4 == 6 else 0x0800
    return encapsulate(source, destination, 60001, aws.encode_header(kind, ENDPOINT, cookie), packet)


def our_file(*packets: bytes) -> bytes:
    """Return a file of ours with two taps; `packets` are blocks."""
    taps = pcapng.interface_description("client/eth0", "the client") + pcapng.interface_description("fw-a1/eth0")
    return pcapng.section_header() + taps + b"".join(packets)


def pcap_file(frames: list[tuple[int, bytes]], order: str = "<", magic: int = 0xA1B2C3D4, link_type: int = 1) -> bytes:
    """Return a classic capture of (tick, frame); ticks are micro- or nanoseconds, as `magic` says."""
    per_second = 1_000_000 if magic == 0xA1B2C3D4 else 1_000_000_000
    data = struct.pack(f"{order}IHHiIII", magic, 2, 4, 0, 0, 262144, link_type)
    for ticks, frame in frames:
        data += struct.pack(f"{order}IIII", *divmod(ticks, per_second), len(frame), len(frame)) + frame
    return data


def read(data: bytes) -> tuple[list[CapturedPacket], CaptureReader]:
    reader = CaptureReader(io.BytesIO(data))
    return list(reader), reader


def recorded(name: str) -> bytes:
    """Return a recorded capture; skip the test where it is not there."""
    path = PCAPS / name
    if not path.exists():
        pytest.skip(f"the recorded capture {name} is not beside this checkout")
    return path.read_bytes()
