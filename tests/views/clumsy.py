"""An appliance that somebody writes on his first day, with the mistake that stands in the file `mode` beside it.

python3 clumsy.py        in an instance; the mode is read for every packet and every health check
"""

from __future__ import annotations

import selectors
import socket
from pathlib import Path

MODE = Path(__file__).with_name("mode")


def bound(kind: int, port: int) -> socket.socket:
    sock = socket.socket(socket.AF_INET, kind)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.bind(("0.0.0.0", port))
    return sock


def answer_health_check(listener: socket.socket) -> None:
    connection, _ = listener.accept()
    with connection:
        connection.recv(1000)
        status = b"503 Not now" if MODE.read_text() == "unfit" else b"200 OK"
        connection.sendall(b"HTTP/1.1 " + status + b"\r\nContent-Length: 0\r\n\r\n")


def returned(datagram: bytes, mode: str) -> bytes:
    changed = bytearray(datagram)
    options = (changed[0] & 0x3F) * 4
    if mode == "cookie":
        changed[8 + options - 1] ^= 1
    if mode == "version":
        changed[0] |= 0x40
    if mode == "checksum":
        changed[8 + options + 10] ^= 0xFF  # of the inner IP header
    return bytes(changed)


def main() -> None:
    tunnel: socket.socket | None = bound(socket.SOCK_DGRAM, 6081)
    listener = bound(socket.SOCK_STREAM, 80)
    listener.listen(16)
    selector = selectors.DefaultSelector()
    selector.register(listener, selectors.EVENT_READ)
    assert tunnel is not None
    selector.register(tunnel, selectors.EVENT_READ)
    while True:
        for key, _ in selector.select(0.05):
            mode = MODE.read_text()
            if key.fileobj is listener:
                answer_health_check(listener)
            elif tunnel is not None and mode not in ("deaf", "slow"):
                datagram, (address, port) = tunnel.recvfrom(65535)
                if mode != "silent":
                    tunnel.sendto(returned(datagram, mode), (address, port if mode == "port" else 6081))
        mode = MODE.read_text()
        if tunnel is not None and mode == "slow":
            tunnel.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
        if tunnel is not None and mode == "deaf":
            selector.unregister(tunnel)
            tunnel.close()
            tunnel = None
        if tunnel is None and mode == "ok":
            tunnel = bound(socket.SOCK_DGRAM, 6081)
            selector.register(tunnel, selectors.EVENT_READ)


if __name__ == "__main__":
    main()
