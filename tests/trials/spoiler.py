"""An appliance that returns packets as they came, and spoils those of some inner UDP ports: one kind for each port.

Started in an instance by a test's topology, with its own Python and nothing else.
"""

from __future__ import annotations

import socket
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

WRONG_PORT, WRONG_VERSION, WRONG_CHECKSUM, WRONG_SEGMENT, KEPT = 1001, 1002, 1003, 1004, 1005
OUTER, UDP_AT, GENEVE_AT = 14, 34, 42  # in a frame whose outer header has no options


class Healthy(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()


def returned(frame: bytes) -> bytes | None:
    """The frame that goes back, None for one that is kept."""
    back = bytearray(frame)
    back[0:6], back[6:12] = frame[6:12], frame[0:6]
    back[26:30], back[30:34] = frame[30:34], frame[26:30]
    back[UDP_AT + 6 : UDP_AT + 8] = b"\0\0"
    inner = GENEVE_AT + 8 + (frame[GENEVE_AT] & 0x3F) * 4
    is_udp = frame[inner] == 0x45 and frame[inner + 9] == 17
    kind = int.from_bytes(frame[inner + 22 : inner + 24], "big") if is_udp else 0
    if kind == WRONG_PORT:
        back[UDP_AT + 2 : UDP_AT + 4] = (60000).to_bytes(2, "big")
    elif kind == WRONG_VERSION:
        back[GENEVE_AT] |= 0x40
    elif kind == WRONG_CHECKSUM:
        back[inner + 10] ^= 0x55
    elif kind == WRONG_SEGMENT:
        back[inner + 26] ^= 0x55
    elif kind == KEPT:
        return None
    return bytes(back)


def main() -> None:
    port = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    port.bind(("eth0", 0x0800))
    threading.Thread(target=HTTPServer(("", 80), Healthy).serve_forever, daemon=True).start()
    while True:
        frame, address = port.recvfrom(65535)
        is_tunnel = frame[23] == 17 and frame[UDP_AT + 2 : UDP_AT + 4] == (6081).to_bytes(2, "big")
        if address[2] != 4 and is_tunnel and (back := returned(frame)):  # 4: PACKET_OUTGOING
            port.send(back)


if __name__ == "__main__":
    main()
