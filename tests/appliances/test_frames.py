"""Frames through memory ports: a batch in, one action each, everything counted. Passthrough is judged the same way."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from scapy.layers.inet import IP, UDP, IPOption

from appliances.action import RETURN, Action, Answer, Discard, Send
from appliances.frames import FrameLoop
from appliances.passthrough import Reflector
from appliances.tunnel import Received, read, swap
from gwlbemu.errors import WireError
from gwlbemu.ports.memory import MemoryPort, pair
from tests.appliances.appliance_helpers import (
    APPLIANCE,
    CLIENT,
    GOLDEN_FRAME,
    GOLDEN_HEADER,
    NODE,
    SERVER,
    inner_of,
    tunnelled,
)

NOTE = bytes(IP(src=SERVER, dst=CLIENT) / UDP() / b"note")


@pytest.fixture
def ends() -> Iterator[tuple[MemoryPort, MemoryPort]]:
    """The load balancer's end and the appliance's."""
    node, appliance = pair()
    yield node, appliance
    node.close()
    appliance.close()


def numbered(number: int, **keys: int) -> bytes:
    return tunnelled(IP(src=CLIENT, dst=SERVER) / UDP(sport=number, dport=53) / bytes(number % 7), **keys)


def by_port(received: Received, *, now: float) -> Action:
    """An action that depends on the inner source port."""
    frame = swap(received.frame)
    actions: dict[int, Action] = {
        1: RETURN, 2: Answer(NOTE), 3: Discard("no"), 4: Send((frame, frame)), 5: Send((frame,), 0.5)
    }  # fmt: skip
    return actions[IP(received.packet)[UDP].sport]


def test_every_frame_gets_one_action_and_is_counted_once(ends: tuple[MemoryPort, MemoryPort]) -> None:
    node, appliance = ends
    waiting = []
    loop = FrameLoop(appliance, by_port, lambda at, call: waiting.append((at, call)))
    node.send([numbered(1), numbered(2), numbered(3), numbered(4), numbered(5), b"", numbered(3), GOLDEN_FRAME[:50]])
    loop.move(10.0)
    frames = node.recv()
    assert frames == [swap(numbered(1)), frames[1], swap(numbered(4)), swap(numbered(4))]
    assert inner_of(frames[1]) == NOTE
    ((at, call),) = waiting
    assert at == 10.5
    call()
    assert node.recv() == [swap(numbered(5))]
    status = loop.status()
    assert status["received"] == 8
    assert [status[name] for name in ("undecodable", "returned", "answered", "discarded", "replaced")] == [
        2,
        1,
        1,
        2,
        2,
    ]
    assert status["discarded: no"] == 2
    assert status["kernel drops"] == status["unsent"] == 0


def test_passthrough_returns_every_good_frame_in_order(ends: tuple[MemoryPort, MemoryPort]) -> None:
    node, appliance = ends
    reflector = Reflector(appliance)
    frames = [numbered(number, cookie=number % 3 + 1) for number in range(1, 60)]
    node.send(frames)
    reflector.move(0.0)
    assert node.recv() == [swap(frame) for frame in frames]
    assert reflector.status() == {
        "received": 59, "returned": 59, "undecodable": 0, "kernel drops": 0, "unsent": 0, "tagged": 0,
    }  # fmt: skip


@pytest.mark.parametrize("at", range(12, 83))
def test_passthrough_refuses_what_the_full_decoder_refuses_even_when_it_knows_the_flow(
    ends: tuple[MemoryPort, MemoryPort], at: int
) -> None:
    """Every single-byte change of the heads, after a good packet of the same flow."""
    node, appliance = ends
    reflector = Reflector(appliance)
    changed = [GOLDEN_FRAME[:at] + bytes((GOLDEN_FRAME[at] ^ 1 << bit,)) + GOLDEN_FRAME[at + 1 :] for bit in range(8)]
    node.send([GOLDEN_FRAME, *changed])
    reflector.move(0.0)
    assert node.recv() == [swap(frame) for frame in [GOLDEN_FRAME, *changed] if is_readable(frame)]


def test_passthrough_trusts_no_memory_of_heads_behind_ipv4_options(ends: tuple[MemoryPort, MemoryPort]) -> None:
    """With IPv4 options everything lies four bytes further on; here the source port is what a length would be."""
    node, appliance = ends
    reflector = Reflector(appliance)
    inner = bytes(IP(src=CLIENT, dst=SERVER) / UDP())
    length = 24 + 8 + len(GOLDEN_HEADER) + len(inner)
    outer = IP(src=NODE, dst=APPLIANCE, ttl=255, id=0, options=[IPOption(b"\x01\x01\x01\x00")])
    good = GOLDEN_FRAME[:14] + bytes(outer / UDP(sport=length - 20, dport=6081, chksum=0) / (GOLDEN_HEADER + inner))
    wrong = good[:86] + b"\x65" + good[87:]
    assert (good[86], is_readable(good), is_readable(wrong)) == (0x45, True, False)
    node.send([good, wrong])
    reflector.move(0.0)
    assert node.recv() == [swap(good)]


def is_readable(frame: bytes) -> bool:
    try:
        read(frame)
    except WireError:
        return False
    return True
