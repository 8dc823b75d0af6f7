"""ICMP errors about what a process has sent: counted by who says what, from bytes and from a kernel."""

from __future__ import annotations

import socket
import subprocess

import pytest

from gwlbemu.ports.icmp_errors import IcmpError, IcmpErrorPort, IcmpErrors
from gwlbemu.wire.build import build_ip
from gwlbemu.wire.icmp import build_icmp_error
from gwlbemu.wire.protocols import ICMP, UDP
from gwlbemu.wire.tcp import SYN, build_tcp
from gwlbemu.wire.udp import build_udp
from tests.waiting import wait_until

NODE, TARGET, ROUTER = bytes([10, 0, 0, 1]), bytes([10, 0, 0, 2]), bytes([10, 0, 0, 9])
DATAGRAM = build_udp(NODE, TARGET, 60000, 6081, b"x")


def error(packet: bytes, kind: int, code: int, source: bytes = TARGET) -> bytes:
    found = build_icmp_error(packet, kind, code, source)
    assert found is not None
    return found


def test_errors_are_counted_by_sender_destination_port_and_kind() -> None:
    errors = IcmpErrors(about=UDP)
    for packet in (error(DATAGRAM, 3, 3), error(DATAGRAM, 3, 3), error(DATAGRAM, 11, 0, ROUTER)):
        errors.note(packet)
    assert errors.rows() == [
        IcmpError("10.0.0.2", "10.0.0.2", 6081, "port unreachable", 2),
        IcmpError("10.0.0.9", "10.0.0.2", 6081, "TTL expired", 1),
    ]


def test_what_is_about_something_else_or_cannot_be_read_is_not_counted() -> None:
    errors = IcmpErrors(about=UDP)
    connection = build_tcp(NODE, TARGET, 40000, 80, flags=SYN)
    for packet in (error(connection, 3, 3), DATAGRAM, error(DATAGRAM, 3, 3)[:30], b"", b"\x45"):
        errors.note(packet)
    assert errors.rows() == []
    assert errors.undecodable == 4  # all but the one about a connection


def test_an_error_that_quotes_anything_but_ipv4_is_undecodable_and_stops_nobody() -> None:
    """Anybody can send such a thing: ICMP of IPv4 that quotes IPv6, or no IP at all."""
    errors = IcmpErrors(about=UDP)
    six = build_udp(bytes(15) + b"\x01", bytes(15) + b"\x02", 60000, 6081, b"x")
    quotes = (six, six[:44], six[:20], b"", bytes(40), b"\xf5" * 40, b"\x4f" * 24, b"\x45" + bytes(27))
    for quote in quotes:
        errors.note(build_ip(TARGET, NODE, ICMP, bytes([3, 3, 0, 0, 0, 0, 0, 0]) + quote))
    errors.note(error(DATAGRAM, 3, 3))
    assert errors.rows() == [IcmpError("10.0.0.2", "10.0.0.2", 6081, "port unreachable", 1)]
    assert errors.undecodable == len(quotes)


def test_senders_that_make_up_addresses_fill_no_memory() -> None:
    errors = IcmpErrors(about=UDP)
    for number in range(3000):
        errors.note(error(DATAGRAM, 3, 3, bytes([10, 1, number >> 8, number & 255])))
    assert len(errors.rows()) == 1000


@pytest.mark.namespace
def test_a_kernel_that_has_no_socket_at_a_port_is_heard() -> None:
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    errors = IcmpErrors(about=UDP)
    port = IcmpErrorPort(errors)
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            sender.sendto(b"x", ("127.0.0.1", 6081))

        def heard() -> list[IcmpError]:
            port.read()
            return errors.rows()

        assert wait_until(heard) == [IcmpError("127.0.0.1", "127.0.0.1", 6081, "port unreachable", 1)]
    finally:
        port.close()
