"""Keep the kernel quiet about a UDP port that a packet port serves behind its back."""

from __future__ import annotations

import socket

from gwlbemu.ports.filters import nothing
from gwlbemu.ports.packet import attach


def hold_udp_port(port: int) -> socket.socket:
    """Return a socket that holds UDP `port` on all addresses and receives nothing.

    Without it the kernel answers every datagram that it sees there with an ICMP port unreachable.
    """
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    try:
        attach(sock, nothing())
        sock.bind(("0.0.0.0", port))
    except OSError:
        sock.close()
        raise
    return sock
