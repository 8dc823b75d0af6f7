"""What only a real interface can show: filters, queues that overflow, checksums that are wrong."""

from __future__ import annotations

import socket
import struct
import subprocess
import time
from contextlib import closing

import pytest

from gwlbemu.errors import NetError
from gwlbemu.ports import interface
from gwlbemu.ports.filters import SocketFilter, ip_to_us, udp_port_to_us, udp_to_us
from gwlbemu.ports.memory import pair
from gwlbemu.ports.packet import PacketPort
from gwlbemu.ports.sink import hold_udp_port
from tests.ports.conftest import arrived, frame
from tests.waiting import PATIENCE, wait_until

pytestmark = pytest.mark.namespace
Veth = tuple[str, str]


def ipv4(protocol: int, payload: bytes, *, fragment: int = 0, options: bytes = b"", to: str = "10.0.0.2") -> bytes:
    head = struct.pack(
        "!BBHHHBBH4s4s", 0x45 + len(options) // 4, 0, 20 + len(options) + len(payload), 7, fragment, 64, protocol, 0,
        socket.inet_aton("10.0.0.1"), socket.inet_aton(to),
    )  # fmt: skip
    return head + options + payload


def udp(port: int, checksum: int = 0) -> bytes:
    return struct.pack("!HHHH", 60000, port, 12, checksum) + b"data"


GENEVE = frame(ipv4(17, udp(6081)))
CASES = {
    "checksum-less GENEVE": (GENEVE, True, True, True),
    "wrong checksum": (frame(ipv4(17, udp(6081, 0xDEAD))), True, True, True),
    "behind IPv4 options": (frame(ipv4(17, udp(6081), options=b"\1" * 8)), True, True, True),
    "another UDP port": (frame(ipv4(17, udp(53))), True, True, False),
    "another address": (frame(ipv4(17, udp(6081), to="10.9.9.9")), True, True, True),
    "later fragment": (frame(ipv4(17, udp(53), fragment=100)), True, True, True),
    "TCP": (frame(ipv4(6, b"t" * 20)), True, False, False),
    "IPv6": (frame(b"\x60" + b"s" * 50, kind=0x86DD), True, False, False),
    "ARP": (frame(b"a" * 28, kind=0x0806), False, False, False),
    "another MAC": (frame(ipv4(17, udp(6081)), to=bytes.fromhex("020000000099")), False, False, False),
    "broadcast": (frame(ipv4(17, udp(6081)), to=b"\xff" * 6), False, False, False),
    "nothing but a MAC header": (frame(b""), True, False, False),
}


@pytest.mark.parametrize("which", [0, 1, 2], ids=["ip_to_us", "udp_to_us", "udp_port_to_us"])
def test_a_filter_lets_in_what_its_table_says(veth: Veth, which: int) -> None:
    program: SocketFilter = (ip_to_us(), udp_to_us(), udp_port_to_us(6081))[which]
    a, b = PacketPort(veth[0]), PacketPort(veth[1], program=program)
    for name, (data, *wanted) in CASES.items():
        a.send([data, GENEVE])
        expected = [data, GENEVE] if wanted[which] else [GENEVE]
        assert arrived(b, len(expected)) == expected, name
    a.close()
    b.close()


def test_every_frame_is_either_received_or_counted_as_dropped(veth: Veth) -> None:
    a, b = PacketPort(veth[0]), PacketPort(veth[1], buffer_bytes=200_000)
    sent = sum(a.send([GENEVE] * 64) for _ in range(200))
    assert sent + a.unsent == 200 * 64
    received = len(b.recv())
    give_up_at = time.monotonic() + PATIENCE
    while received + b.drops() < sent and time.monotonic() < give_up_at:
        received += len(b.recv())
    assert received + b.drops() == sent
    assert b.drops() > 0
    a.close()
    b.close()


def test_the_drop_count_never_starts_again(veth: Veth) -> None:
    # The witness is given each frame as well: when it has one, b has had it or lost it.
    a, witness, b = PacketPort(veth[0]), PacketPort(veth[1]), PacketPort(veth[1], buffer_bytes=10_000)
    with closing(a), closing(witness), closing(b):
        a.send([GENEVE] * 1000)
        assert len(arrived(witness, 1000)) == 1000
        first = b.drops()
        assert first > 0
        assert b.drops() == first
        a.send([GENEVE] * 100)
        assert len(arrived(witness, 100)) == 100
        assert b.drops() == first + 100


def test_frames_for_a_dead_link_are_counted(veth: Veth) -> None:
    a = PacketPort(veth[0])
    subprocess.run(["ip", "link", "set", veth[0], "down"], check=True)
    assert a.send([GENEVE] * 3) == 0
    assert a.unsent == 3
    assert a.recv() == []
    a.close()


def test_nothing_is_lost_after_a_cable_was_pulled_and_plugged_in_again(veth: Veth) -> None:
    a, b = PacketPort(veth[0]), PacketPort(veth[1])
    for state in ("down", "up"):
        subprocess.run(["ip", "link", "set", veth[0], state], check=True)
    assert a.send([GENEVE] * 3) == 3
    assert arrived(b, 3) == [GENEVE] * 3
    assert a.unsent == 0
    a.close()
    b.close()


def test_the_kernel_answers_no_icmp_on_a_held_port(veth: Veth) -> None:
    subprocess.run(["ip", "addr", "add", "10.0.0.2/24", "dev", veth[1]], check=True)
    subprocess.run(
        ["ip", "neigh", "add", "10.0.0.1", "lladdr", "02:00:00:00:00:0a", "dev", veth[1], "nud", "permanent"],
        check=True,
    )

    def to_port(port: int) -> bytes:
        head = ipv4(17, udp(port))
        total = sum(struct.unpack("!10H", head[:20]))
        total = ~((total & 0xFFFF) + (total >> 16)) & 0xFFFF
        return frame(head[:10] + struct.pack("!H", total) + head[12:])

    def answered(answers: list[bytes]) -> list[tuple[int, int]]:
        """Protocol of each answer, and the UDP port that it quotes."""
        return [(answer[23], int.from_bytes(answer[64:66], "big")) for answer in answers]

    with closing(PacketPort(veth[0], program=ip_to_us())) as a:
        a.send([to_port(6081)])
        assert answered(arrived(a, 1)) == [(1, 6081)]
        with closing(hold_udp_port(6081)):
            a.send([to_port(6081), to_port(6082)])
            assert answered(arrived(a, 1)) == [(1, 6082)]


def test_a_tap_on_the_same_interface_sees_what_a_port_sends(veth: Veth) -> None:
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0) as tap:
        tap.settimeout(PATIENCE)
        tap.bind((veth[0], 3))
        port = PacketPort(veth[0])
        try:
            assert port.send([GENEVE]) == 1
            assert tap.recv(2048) == GENEVE
        finally:
            port.close()


def test_a_missing_interface_is_named(veth: Veth) -> None:
    with pytest.raises(NetError, match="nosuch"):
        PacketPort("nosuch")


def test_an_interface_with_frames_too_long_for_a_slot_is_refused(veth: Veth) -> None:
    subprocess.run(["ip", "link", "set", veth[0], "mtu", "20000"], check=True)
    with pytest.raises(NetError, match="20000"):
        PacketPort(veth[0])


def test_an_interface_tells_its_mtu(veth: Veth) -> None:
    assert interface.mtu(veth[0]) == 9001


@pytest.mark.parametrize(
    "program", [(), ip_to_us(), udp_to_us(), udp_port_to_us(6081)], ids=["all", "ip", "udp", "port"]
)
def test_a_frame_with_a_vlan_tag_is_counted_and_never_received(veth: Veth, program: SocketFilter) -> None:
    a, b = PacketPort(veth[0]), PacketPort(veth[1], program=program)
    try:
        for tag in ("81000005", "81000000", "88a80005", "88a8000581000006"):
            a.send([GENEVE[:12] + bytes.fromhex(tag) + GENEVE[12:]] * 300)
        a.send([GENEVE])
        assert arrived(b, 1) == [GENEVE]
        wait_until(lambda: b.tagged() == 1200, lambda: f"{b.tagged()}")
        assert (b.recv(), b.drops()) == ([], 0)
    finally:
        a.close()
        b.close()


def test_memory_treats_a_vlan_tag_as_the_kernel_does() -> None:
    a, b = pair()
    try:
        a.send([frame(b"x"), frame(b"x", kind=0x8100), frame(b"x", kind=0x88A8)])
        assert (b.recv(), b.tagged()) == ([frame(b"x")], 2)
    finally:
        a.close()
        b.close()
