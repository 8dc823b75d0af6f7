"""One packet at a time through the tc programs (BPF_PROG_TEST_RUN) and through the core: same bytes, or the packet
goes up untouched.
"""

from __future__ import annotations

import struct
import time
from collections.abc import Callable
from random import Random

import pytest

from gwlbemu.core.elb.gateway_attributes import FIVE_TUPLE, THREE_TUPLE, TWO_TUPLE
from gwlbemu.core.gateway.balancer import Balancer
from gwlbemu.core.gateway.verdict import ToEndpoint, ToTarget
from gwlbemu.fastpath import libbpf
from gwlbemu.fastpath.fastpath import FastPath
from tests.fastpath import fastpath_lab as lab
from tests.fastpath.fastpath_lab import SECOND_ENDPOINT, mac
from tests.fastpath.fastpath_packets import folded, random_packet, total

pytestmark = pytest.mark.namespace
Pair = Callable[..., tuple[Balancer, FastPath]]
INDEX_AT = 40  # of ifindex in struct __sk_buff
DEVICES = {
    lab.ENDPOINT: (lab.ENDPOINT_DEVICE, lab.ENDPOINT_MAC, lab.ROUTER_MAC),
    SECOND_ENDPOINT: ("vpce2", "02:00:00:00:06:01", "02:00:00:00:06:02"),
}


def run(fast: FastPath, program: str, device: str, frame: bytes) -> bytes | None:
    """The frame that leaves, None when it goes up or is left to the kernel."""
    context = bytearray(64)
    struct.pack_into("=I", context, INDEX_AT, fast.index[device])
    before = carried_by(fast)
    _, after = libbpf.run_once(fast.programs[program], frame, bytes(context))
    if carried_by(fast) > before:
        return after
    assert after == frame, "a packet that goes up was changed"
    return None


def carried_by(fast: FastPath) -> int:
    counts = fast.program_counters()
    assert counts["failed"] == 0
    return counts["encapsulated"] + counts["decapsulated"]


def ethernet(packet: bytes) -> bytes:
    return b"\x86\xdd" if packet[:1] and packet[0] >> 4 == 6 else b"\x08\x00"


def swapped(datagram: bytes) -> bytes:
    return datagram[:12] + datagram[16:20] + datagram[12:16] + datagram[20:]


def spoil(random: Random, datagram: bytes) -> bytes:
    """Change what an appliance may change, or what it must not."""
    kind = random.randrange(12)
    if kind == 0:  # any one bit
        at = random.randrange(len(datagram))
        return datagram[:at] + bytes([datagram[at] ^ 1 << random.randrange(8)]) + datagram[at + 1 :]
    if kind == 1:  # options in another order
        return datagram[:36] + datagram[60:68] + datagram[36:60] + datagram[68:]
    if kind == 2:  # another sender of the same group
        return datagram[:12] + bytes([10, 9, 0, random.choice((2, 3, 4))]) + datagram[16:]
    if kind == 3:  # what nobody judges: TOS, TTL, source port, checksum
        head = bytearray(datagram)
        head[1], head[8], head[20:22], head[26:28] = 4, 2, b"\x17\xc1", b"\0\0"
        return bytes(head)
    if kind == 4:
        return datagram + bytes(4)
    if kind == 5:
        return datagram[:-1]
    return datagram


@pytest.mark.parametrize("hops", [0, 1, 2])
@pytest.mark.parametrize("stickiness", [FIVE_TUPLE, THREE_TUPLE, TWO_TUPLE])
def test_a_carried_packet_has_the_bytes_that_the_core_would_have_sent(pair: Pair, hops: int, stickiness: str) -> None:
    balancer, fast = pair(hops=hops, stickiness=stickiness)
    random = Random(f"{hops} {stickiness}")
    carried = returned = 0
    for _ in range(1500):
        endpoint = random.choice(tuple(DEVICES))
        device, own, router = DEVICES[endpoint]
        packet = random_packet(random)
        frame = mac(own) + b"\x02\0\0\0\0\x77" + ethernet(packet) + packet
        left = run(fast, "encap", device, frame) if len(packet) >= 40 else None  # BPF_PROG_TEST_RUN refuses less
        verdict = balancer.receive_packet(endpoint, packet, now=1.0)
        if left is not None:
            assert isinstance(verdict, ToTarget), f"the core says {verdict} about {packet.hex()}"
            assert left == mac(lab.TARGET_MAC) + mac(lab.ENI_MAC) + b"\x08\x00" + verdict.datagram
            carried += 1
        fast.apply(balancer.take_flow_changes(), now_ns=time.monotonic_ns())
        if isinstance(verdict, ToTarget):
            datagram = spoil(random, swapped(verdict.datagram))
            back = mac(lab.ENI_MAC) + mac(lab.TARGET_MAC) + b"\x08\x00" + datagram
            left = run(fast, "decap", lab.ENI_DEVICE, back)
            answer = balancer.receive_return(datagram[12:16], datagram, now=1.0)
            if left is not None:
                assert isinstance(answer, ToEndpoint), f"the core says {answer} about {datagram.hex()}"
                device, own, router = DEVICES[answer.endpoint]
                assert left == mac(router) + mac(own) + ethernet(answer.packet) + answer.packet
                returned += 1
            fast.apply(balancer.take_flow_changes(), now_ns=time.monotonic_ns())
    print(carried, returned, fast.stats())
    assert carried > 100
    assert returned > 100


def test_the_sums_of_the_generator_are_right() -> None:
    assert folded(total(bytes.fromhex("45000073000040004011b861c0a80001c0a800c7"))) == 0
