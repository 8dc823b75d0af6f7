"""Literal packets, recorded captures and other people's decoders for the tests of the wire."""

from __future__ import annotations

import json
import struct
import subprocess
from pathlib import Path

import pytest

from tests.paths import PCAPS

NODE, TARGET = bytes((10, 254, 11, 60)), bytes((10, 254, 11, 101))
GOLDEN_HEADER = bytes.fromhex("0800080000000000 01080102 2356de92d389839c 01080202 0000000000000000 01080301 98ef1b00")
GOLDEN_INNER = bytes.fromhex("45000020123440003f11dff80a011565c63364079c400035000c31e674657374")
GOLDEN_DATAGRAM = (
    bytes.fromhex("4500006400000000ff118eec0afe0b3c0afe0b65 ea6117c10050f430") + GOLDEN_HEADER + GOLDEN_INNER
)
ETHERNET_IPV4 = bytes.fromhex("020000000002 020000000001 0800")
ETHERNET_IPV6 = bytes.fromhex("020000000002 020000000001 86dd")


def recorded(name: str) -> list[bytes]:
    """Return the frames of a recorded little-endian microsecond capture; skip the test where it is not there."""
    path = PCAPS / name
    if not path.exists():
        pytest.skip(f"the recorded capture {name} is not beside this checkout")
    data = path.read_bytes()
    order = "<" if data[:4] == bytes.fromhex("d4c3b2a1") else ">"
    frames, offset = [], 24
    while offset < len(data):
        length = struct.unpack_from(f"{order}I", data, offset + 8)[0]
        frames.append(data[offset + 16 : offset + 16 + length])
        offset += 16 + length
    return frames


def frame(packet: bytes) -> bytes:
    """Put an Ethernet header in front of an IP packet."""
    return (ETHERNET_IPV6 if packet[0] >> 4 == 6 else ETHERNET_IPV4) + packet


def tshark(packets: list[bytes], folder: Path, *fields: str) -> list[dict[str, list[str]]]:
    """Return what tshark says about IP packets, with every checksum checked."""
    path = folder / "packets.pcap"
    body = b"".join(struct.pack("<IIII", 0, 0, len(f), len(f)) + f for f in map(frame, packets))
    path.write_bytes(struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 262144, 1) + body)
    checks = [f"{layer}:TRUE" for layer in ("ip.check_checksum", "udp.check_checksum", "tcp.check_checksum")]
    command = ["tshark", "-n", "-r", str(path), "-T", "json", "-o", "tcp.analyze_sequence_numbers:FALSE"]
    command += ["--disable-protocol", "dns"]  # the golden packet's "test" to port 53 is no DNS
    for check in checks:
        command += ["-o", check]
    for field in ("_ws.malformed", "_ws.expert.message", "ip.checksum.status", "udp.checksum.status", *fields):
        command += ["-e", field]
    for field in ("tcp.checksum.status", "icmp.checksum.status", "icmpv6.checksum.status"):
        command += ["-e", field]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    return [packet["_source"]["layers"] for packet in json.loads(result.stdout)]


def assert_clean(layers: dict[str, list[str]]) -> None:
    """Fail where tshark found something malformed or a checksum that is not good (1)."""
    assert "_ws.malformed" not in layers, layers
    for key, values in layers.items():
        if key.endswith("checksum.status"):
            assert set(values) == {"1"}, layers
