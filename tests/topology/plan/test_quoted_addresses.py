"""An internet gateway translates the packet inside an ICMP error, so that sockets on both sides hear of it.

The kernel is the judge: it drops an ICMP message with a wrong checksum, and finds the socket by the quoted addresses.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from scapy.layers.inet import ICMP, IP, UDP

from gwlbemu.errors import NetError
from gwlbemu.net.build import build
from gwlbemu.net.inside import in_fresh_namespace, inside
from gwlbemu.net.namespaces import path_of
from gwlbemu.net.record import open_new
from gwlbemu.net.remove import down
from gwlbemu.net.rewrites import append
from gwlbemu.topology.plan.machine_half import AddressRewrite
from tests.topology.builder import Data, plan_of, put

pytestmark = pytest.mark.namespace
IP_RECVERR = 11
CLIENT, PUBLIC, PRIVATE, CLOSED = "198.51.100.10", "203.0.113.10", "10.0.1.10", 9


def straight(data: Data) -> None:
    """igw <-> app-a without an endpoint on the way; every UDP port of the server may be asked."""
    put("vpcs.0.route_tables.0.routes", [])(data)
    put("vpcs.0.route_tables.1.routes.0.target", "igw")(data)
    put("vpcs.0.security_groups.0.ingress+", {"protocol": "udp", "source": "0.0.0.0/0"})(data)


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[None]:
    plan = plan_of(straight)
    try:
        with open_new(plan.lab, root=tmp_path) as record:
            build(plan, record)
        yield
    finally:
        down(plan.lab, root=tmp_path)


@contextmanager
def opened(resource: str, kind: int, protocol: int = 0) -> Iterator[socket.socket]:
    with inside(path_of(f"test-{resource}")):
        opened_socket = socket.socket(socket.AF_INET, kind, protocol)
    with opened_socket:
        opened_socket.settimeout(2)
        yield opened_socket


@pytest.mark.parametrize(("sender", "address"), [("client", PUBLIC), ("web", CLIENT)], ids=["inward", "outward"])
def test_a_socket_hears_that_nobody_listens_on_the_other_side_of_the_gateway(
    lab: None, sender: str, address: str
) -> None:
    with opened(sender, socket.SOCK_DGRAM) as asker:
        asker.connect((address, CLOSED))
        asker.send(b"?")
        with pytest.raises(ConnectionRefusedError):
            asker.recv(1)


def test_an_error_is_translated_even_if_the_gateway_never_saw_the_packet_that_it_quotes(lab: None) -> None:
    with opened("client", socket.SOCK_DGRAM) as asker, opened("web", socket.SOCK_RAW, socket.IPPROTO_RAW) as raw:
        asker.setsockopt(socket.IPPROTO_IP, IP_RECVERR, 1)  # without it UDP tells of unreachable ports only
        asker.bind((CLIENT, 5353))
        asker.connect((PUBLIC, 53))
        quoted = IP(src=CLIENT, dst=PRIVATE) / UDP(sport=5353, dport=53) / b"never sent"
        raw.sendto(bytes(IP(src=PRIVATE, dst=CLIENT) / ICMP(type=3, code=1) / quoted), (CLIENT, 0))
        with pytest.raises(OSError, match="No route to host"):
            asker.recv(1)


@pytest.mark.parametrize("options", [b"", b"\x01" * 8], ids=["plain", "ip-options"])
def test_the_quoted_header_has_the_public_address_and_a_right_checksum_and_the_rest_is_as_it_was(
    lab: None, options: bytes
) -> None:
    with opened("client", socket.SOCK_RAW, socket.IPPROTO_ICMP) as reader, ExitStack() as stack:
        raw = stack.enter_context(opened("web", socket.SOCK_RAW, socket.IPPROTO_RAW))
        quoted = bytes(IP(src=CLIENT, dst=PRIVATE, id=7, ttl=3, options=options) / UDP(sport=1, dport=2) / b"payload")
        raw.sendto(bytes(IP(src=PRIVATE, dst=CLIENT) / ICMP(type=11) / quoted), (CLIENT, 0))
        message = reader.recv(2048)
    outer = IP(message)
    inner = bytes(outer[ICMP].payload)
    expected = IP(quoted)
    expected.dst = PUBLIC
    del expected.chksum
    assert (outer.src, outer.dst, outer[ICMP].type) == (PUBLIC, CLIENT, 11)
    assert inner == bytes(expected)


def test_echo_replies_and_errors_about_other_addresses_are_left_alone(lab: None) -> None:
    with opened("client", socket.SOCK_RAW, socket.IPPROTO_ICMP) as reader, ExitStack() as stack:
        raw = stack.enter_context(opened("web", socket.SOCK_RAW, socket.IPPROTO_RAW))
        looks_like_a_quote = bytes(IP(src=CLIENT, dst=PRIVATE) / UDP())
        strange = bytes(IP(src=CLIENT, dst="10.0.99.99") / UDP())
        for message in (ICMP(type=0) / looks_like_a_quote, ICMP(type=3) / strange):
            raw.sendto(bytes(IP(src=PRIVATE, dst=CLIENT) / message), (CLIENT, 0))
        received = [bytes(IP(reader.recv(2048))[ICMP].payload) for _ in range(2)]
    assert received == [looks_like_a_quote, strange]


def test_a_rule_for_a_chain_that_is_not_there_is_refused_by_name() -> None:
    with in_fresh_namespace(), pytest.raises(NetError, match="No such file"):
        append([AddressRewrite("gateway", "nowhere", 24, PUBLIC, 18)])


def test_the_plan_of_a_gateway_without_public_addresses_rewrites_nothing() -> None:
    def private(data: Data) -> None:
        del data["vpcs"][0]["instances"][0]["public_address"]

    assert [sum(len(each.address_rewrites) for each in plan_of(change).namespaces) for change in (private, None)] == [
        0,
        2,
    ]
