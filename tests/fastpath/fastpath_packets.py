"""Random inner packets, most of them usual, some broken in one way: made with struct, judged by others."""

from __future__ import annotations

import struct
from random import Random

V4 = (bytes([10, 1, 0, 2]), bytes([10, 2, 0, 2]), bytes([10, 2, 0, 3]))
V6 = tuple(bytes.fromhex(f"fd0000{i:02x}000000000000000000000002") for i in (1, 2, 3))
PORTS = (443, 50000, 50001)


def total(data: bytes) -> int:
    return sum(struct.unpack(f">{len(data + b'0') // 2}H", data + b"\0" * (len(data) & 1)))


def folded(number: int) -> int:
    while number >> 16:
        number = (number & 0xFFFF) + (number >> 16)
    return ~number & 0xFFFF


def ipv4(
    source: bytes,
    destination: bytes,
    protocol: int,
    payload: bytes,
    *,
    ttl: int = 64,
    fragment: int = 0,
    options: bytes = b"",
) -> bytes:
    first, size = 0x45 + len(options) // 4, 20 + len(options) + len(payload)
    head = (
        struct.pack(">BBHHHBBH4s4s", first, 0, size, 0x1234, fragment, ttl, protocol, 0, source, destination) + options
    )
    return head[:10] + struct.pack(">H", folded(total(head))) + head[12:] + payload


def ipv6(source: bytes, destination: bytes, protocol: int, payload: bytes, *, ttl: int = 64) -> bytes:
    return struct.pack(">IHBB", 0x6ABCDEF0, len(payload), protocol, ttl) + source + destination + payload


def summed(source: bytes, destination: bytes, protocol: int, segment: bytes, at: int) -> bytes:
    """Put the checksum at offset `at`, over the pseudo-header too."""
    value = folded(total(source + destination) + protocol + len(segment) + total(segment))
    return segment[:at] + struct.pack(">H", value or 0xFFFF) + segment[at + 2 :]


def tcp(source: bytes, destination: bytes, ports: tuple[int, int], flags: int, data: bytes) -> bytes:
    return summed(source, destination, 6, struct.pack(">HHIIBBHHH", *ports, 1, 2, 0x50, flags, 512, 0, 0) + data, 16)


def udp(source: bytes, destination: bytes, ports: tuple[int, int], data: bytes) -> bytes:
    return summed(source, destination, 17, struct.pack(">HHHH", *ports, 8 + len(data), 0) + data, 6)


def echo(version: int, source: bytes, destination: bytes, data: bytes, reply: bool) -> bytes:
    head = struct.pack(">BBHHH", (129 if reply else 128) if version == 6 else (0 if reply else 8), 0, 0, 7, 7)
    if version == 6:
        return summed(source, destination, 58, head + data, 2)
    message = head + data
    return message[:2] + struct.pack(">H", folded(total(message))) + message[4:]


def random_packet(random: Random) -> bytes:
    """A packet of one of a few dozen flows."""
    version = random.choice((4, 4, 6))
    source, destination = random.sample(V4 if version == 4 else V6, 2)
    ports = (random.choice(PORTS), random.choice(PORTS))
    data = random.randbytes(random.choice((0, 1, 7, 18, 100, 511, 1460, 1461)))
    ttl = random.choice((64, 64, 64, 64, 255, 3, 2, 1, 0))
    kind = random.choice(("tcp", "tcp", "udp", "udp", "echo", "other", "no checksum", "error"))
    protocol = {"tcp": 6, "udp": 17, "no checksum": 17, "other": 47}.get(kind, 1 if version == 4 else 58)
    if kind == "tcp":
        payload = tcp(
            source, destination, ports, random.choice((0x10, 0x10, 0x10, 0x18, 0x02, 0x12, 0x11, 0x14, 0xD0)), data
        )
    elif kind == "udp":
        payload = udp(source, destination, ports, data)
    elif kind == "no checksum":
        payload = struct.pack(">HHHH", *ports, 8 + len(data), 0) + data
    elif kind == "echo":
        payload = echo(version, source, destination, data, random.random() < 0.5)
    elif kind == "error":
        payload = (b"\x01" if version == 6 else b"\x03") + bytes(7) + data
    else:
        payload = data
    if version == 6:
        packet = ipv6(source, destination, protocol, payload, ttl=ttl)
    else:
        fragment = random.choice((0, 0, 0, 0, 0, 0, 0x4000, 0x2000, 0x0010))
        packet = ipv4(
            source,
            destination,
            protocol,
            payload,
            ttl=ttl,
            fragment=fragment,
            options=random.choice((b"", b"", b"", b"\x01" * 4)),
        )
    trouble = random.random()
    if trouble < 0.05:
        at = random.randrange(len(packet))
        packet = packet[:at] + bytes([packet[at] ^ 1 << random.randrange(8)]) + packet[at + 1 :]
    elif trouble < 0.08:
        packet = packet[: random.randrange(len(packet))]
    elif trouble < 0.1:
        packet += random.randbytes(random.randrange(1, 20))
    return packet
