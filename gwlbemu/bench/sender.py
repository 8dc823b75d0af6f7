"""The sender where there is no C compiler: the same words and the same answer as blast.c, at Python's speed."""

from __future__ import annotations

import socket
import struct
import sys
import time

from gwlbemu.errors import NetError, WireError
from gwlbemu.ports.packet import PacketPort
from gwlbemu.wire.build import build_ipv4
from gwlbemu.wire.checksum import transport
from gwlbemu.wire.protocols import UDP

BATCH, SOURCE_PORTS, KEPT = 64, 40_000, 20_000


def frame(number: int, macs: bytes, source: bytes, destination: bytes, size: int) -> bytes:
    """Return the Ethernet frame of flow `number`, `size` bytes with its header.

    `macs` are destination and source.
    """
    length = size - 34
    ports = struct.pack(">HHH", 10_000 + number % SOURCE_PORTS, 20_000 + number // SOURCE_PORTS, length)
    body = bytes(length - 8)
    checksum = transport(source, destination, UDP, ports + b"\0\0" + body)
    datagram = ports + checksum.to_bytes(2, "big") + body
    head = macs + b"\x08\0"
    return head + build_ipv4(source, destination, UDP, datagram, dont_fragment=False)


def hardware_address(device: str) -> bytes:
    """Return the MAC of an interface: the port of an instance lets no other one out."""
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0) as opened:
        opened.bind((device, 0))
        address = opened.getsockname()[4]
    return bytes(address)


def main(words: list[str]) -> int:
    """Send for so many seconds, or so many packets."""
    device, mac_text, source_text, destination_text = words[:4]
    size, first, flows = (int(word) for word in words[4:7])
    seconds, rate, count = float(words[7]), float(words[8]), int(words[9])
    macs = bytes.fromhex(mac_text.replace(":", "")) + hardware_address(device)
    source, destination = socket.inet_aton(source_text), socket.inet_aton(destination_text)
    kept = [frame(first + i, macs, source, destination, size) for i in range(min(flows, KEPT))]
    port = PacketPort(device, send_only=True)
    offered = 0
    start = time.monotonic()
    while (passed := time.monotonic() - start) < seconds and (not count or offered < count):
        if rate and offered > passed * rate:
            continue
        numbers = range(offered, offered + (min(BATCH, count - offered) if count else BATCH))
        if flows <= KEPT:
            frames = [kept[number % flows] for number in numbers]
        else:
            frames = [frame(first + number % flows, macs, source, destination, size) for number in numbers]
        port.send(frames)
        offered += len(frames)
    print(f"{offered} {time.monotonic() - start:.6f}")
    port.close()
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except (NetError, WireError, ValueError, OSError) as error:
        sys.exit(f"sender: {error}")
