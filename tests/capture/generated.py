"""Captures as an imaginative network would give them, the same for the same seed: for `tshark_judge`."""

from __future__ import annotations

import random
import struct

from gwlbemu.wire import aws
from gwlbemu.wire.build import build_ipv4, build_ipv6
from gwlbemu.wire.tcp import build_tcp
from gwlbemu.wire.udp import build_udp

LINK_TYPES = (1, 101, 113, 276, 0)


class Network:
    """Makes frames; `seed` decides about everything."""

    def __init__(self, seed: int) -> None:
        self._dice = random.Random(seed)

    def capture(self, link_type: int, count: int) -> bytes:
        """Return a classic capture in nanoseconds, some packets cut."""
        data = struct.pack("<IHHiIII", 0xA1B23C4D, 2, 4, 0, 0, 262144, link_type)
        for number in range(count):
            frame = self._linked(link_type, self._packet(0))
            kept = (
                frame[: self._dice.randrange(34, len(frame) + 1)]
                if self._dice.random() < 0.15 and len(frame) > 60
                else frame
            )
            data += struct.pack("<IIII", number, number * 1001, len(kept), len(frame)) + kept
        return data

    def _linked(self, link_type: int, packet: bytes) -> bytes:
        ethertype = b"\x86\xdd" if packet[0] >> 4 == 6 else b"\x08\x00"
        if link_type == 1:
            tags = self._dice.choice((b"", b"", b"", b"\x81\x00\x20\x07", b"\x88\xa8\x00\x05\x81\x00\x00\x07"))
            return bytes(6) + b"\2" + bytes(5) + tags + ethertype + packet
        if link_type == 113:
            return bytes(5) + b"\6" + bytes(8) + ethertype + packet
        if link_type == 276:
            return ethertype + bytes(2) + struct.pack(">IHBB8s", 2, 1, 0, 6, bytes(8)) + packet
        if link_type == 0:
            return (30 if packet[0] >> 4 == 6 else 2).to_bytes(4, "little") + packet
        return packet

    def _packet(self, depth: int) -> bytes:
        dice = self._dice
        six = dice.random() < 0.3
        size = 16 if six else 4
        source, destination = (bytes((0xFD if six else 10,)) + dice.randbytes(size - 1) for _ in range(2))
        kind = dice.choice(
            ("tcp", "tcp", "udp", "udp", "ping", "fragment", "options", "geneve", "geneve", "vxlan", "gre", "ipip")
        )
        payload = dice.randbytes(dice.choice((0, 1, 8, 33, 200, 1400)))
        ports = dice.choice((0, 20000, 40001)), dice.choice((0, 30000, 40002))
        if depth < 3 and kind in ("geneve", "vxlan"):
            inside = self._geneve(depth) if kind == "geneve" else self._vxlan(depth)
            port = 6081 if kind == "geneve" else 4789
            return self._odd(build_udp(source, destination, ports[0] or 1, port, inside))
        if depth < 3 and kind in ("gre", "ipip"):
            inner = self._packet(depth + 1)
            protocol = 47 if kind == "gre" else 4 if inner[0] >> 4 == 4 else 41
            head = b"\0\0" + (b"\x86\xdd" if inner[0] >> 4 == 6 else b"\x08\0") if kind == "gre" else b""
            build = build_ipv6 if six else build_ipv4
            return self._odd(build(source, destination, protocol, head + inner))
        if kind == "udp":
            return self._odd(build_udp(source, destination, *ports, payload))
        if kind == "ping" and not six:
            return build_ipv4(
                source, destination, 1, b"\x08\0" + dice.randbytes(6) + payload, ttl=dice.randrange(1, 256)
            )
        if kind == "fragment" and not six:
            offset, more = dice.choice((0, 8, 800)), dice.random() < 0.5
            return build_ipv4(
                source, destination, dice.choice((6, 17)), dice.randbytes(40), fragment_offset=offset,
                more_fragments=more, identification=dice.getrandbits(16), dscp=dice.randrange(64), dont_fragment=False,
            )  # fmt: skip
        packet = build_tcp(
            source, destination, *ports, sequence=dice.getrandbits(32), acknowledgement=dice.getrandbits(32),
            flags=dice.randrange(256), window=dice.getrandbits(16), payload=payload, ttl=dice.randrange(1, 256),
            options=b"\1" * dice.choice((0, 4, 12)),
        )  # fmt: skip
        return self._odd(packet)

    def _odd(self, packet: bytes) -> bytes:
        """Spoil one byte in some packets, behind version and lengths."""
        if self._dice.random() < 0.25:
            at = self._dice.randrange(8, len(packet)) if packet[0] >> 4 == 4 else self._dice.randrange(40, len(packet))
            head = 20 if packet[0] >> 4 == 4 else 40
            if at not in (9, head + 4, head + 5, head + 12):  # protocol, UDP's length, TCP's
                return packet[:at] + bytes((packet[at] ^ 1 << self._dice.randrange(8),)) + packet[at + 1 :]
        return packet

    def _geneve(self, depth: int) -> bytes:
        dice = self._dice
        inner = self._packet(depth + 1)
        kind = 0x86DD if inner[0] >> 4 == 6 else 0x0800
        choice = dice.choice(("aws", "aws", "foreign", "ethernet", "none"))
        if choice == "aws":
            return aws.encode_header(kind, dice.getrandbits(64), dice.getrandbits(32)) + inner
        options = b""
        if choice == "foreign":
            for _ in range(dice.randrange(4)):
                words = dice.randrange(5)
                options += struct.pack(
                    ">HBB", dice.getrandbits(16), dice.getrandbits(8), words | dice.choice((0, 0, 0xE0))
                )
                options += dice.randbytes(words * 4)
        if choice == "ethernet":
            inner, kind = self._linked(1, inner), 0x6558
        flags = dice.choice((0, 0, 0x80, 0x40, 0x01))
        return struct.pack(">BBHI", len(options) // 4, flags, kind, dice.getrandbits(24) << 8) + options + inner

    def _vxlan(self, depth: int) -> bytes:
        return (
            b"\x08\0\0\0"
            + struct.pack(">I", self._dice.getrandbits(24) << 8)
            + self._linked(1, self._packet(depth + 1))
        )
