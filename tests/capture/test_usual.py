"""The hot way through a capture says what the careful way says."""

from __future__ import annotations

import random
from dataclasses import dataclass

import pytest

from gwlbemu.capture.checks import State, judge
from gwlbemu.capture.dissect import dissect
from gwlbemu.capture.journey import sighting
from gwlbemu.capture.packet import CapturedPacket, Interface
from gwlbemu.capture.render import framed, line
from gwlbemu.capture.usual import UsualPackets
from gwlbemu.wire.tcp import ACK, PSH, SYN, build_tcp
from gwlbemu.wire.udp import build_udp
from tests.appliances.appliance_helpers import GOLDEN_FRAME
from tests.appliances.test_hostile import GOOD
from tests.capture.capture_helpers import AT, CLIENT, NODE, SERVER, TARGET, ethernet, tunnelled
from tests.hostile import SHORT_FRAGMENT, Hostile

TAP = Interface("fw-a1/eth0", "", 1)


@dataclass
class Both:
    """Gives every frame to both ways; counts how many took the hot one."""

    hot: int = 0

    def __post_init__(self) -> None:
        self.usual = UsualPackets(lambda dissection: "")

    def look(self, frame: bytes, *, missing: int = 0, link_type: int = 1, comments: tuple[str, ...] = ()) -> None:
        interface = TAP._replace(link_type=link_type)
        captured = CapturedPacket(7, AT, interface, frame, len(frame) + missing, "in", comments)
        dissection = dissect(captured)
        found = self.usual.read(captured)
        if found is None:
            return
        self.hot += 1
        assert framed(captured, found.text) == line(captured, dissection)
        assert found.sighting(captured) == sighting(captured, dissection)
        assert found.unfinished == any(check.state is State.UNFINISHED for check in judge(dissection))


def flow_frames(dice: random.Random) -> list[bytes]:
    """Frames of one flow through a lab, some with checksums that are unfinished, wrong or absent."""
    sizes = [0, 1, 64, 199, 200, 201, 1448]
    frames: list[bytes] = []
    for _ in range(6):
        payload = dice.randbytes(dice.choice(sizes))
        packet = build_tcp(
            CLIENT, SERVER, 40000, dice.choice((80, 0)), sequence=dice.getrandbits(32),
            identification=dice.getrandbits(16), flags=dice.choice((SYN, ACK, ACK | PSH)), payload=payload,
            ttl=dice.choice((64, 63)),
            options=bytes(dice.choice((0, 4, 12))),
        )  # fmt: skip
        packet = dice.choice((packet, build_udp(CLIENT, SERVER, 0, dice.choice((53, 0, 4789, 6081)), payload)))
        bare = bytearray(packet)
        if dice.random() < 0.2:
            bare[26 if packet[9] == 17 else 36] ^= 1
        if packet[9] == 6 and dice.random() < 0.2:
            pseudo = sum(CLIENT[i] << 8 | CLIENT[i + 1] for i in (0, 2)) + sum(
                SERVER[i] << 8 | SERVER[i + 1] for i in (0, 2)
            )
            bare[36:38] = ((pseudo + 6 + len(packet) - 20) % 65535).to_bytes(2, "big")
        frames.append(ethernet(bytes(bare)) + bytes(dice.choice((0, 0, 6))))
        frames.append(ethernet(tunnelled(bytes(bare))))
        frames.append(ethernet(tunnelled(bytes(bare), TARGET, NODE)) + bytes(dice.choice((0, 4))))
        absent = bytearray(frames[-1])
        absent[40:42] = b"\0\0"
        frames.append(bytes(absent))
    return frames


@pytest.mark.parametrize("seed", range(20))
def test_packets_of_flows_read_alike_on_both_ways(seed: int) -> None:
    dice, both = random.Random(seed), Both()
    frames = flow_frames(dice)
    for frame in frames:
        both.look(frame, comments=dice.choice(((), ("to target fw-a1",), ("x", "dropped at vpce: MidstreamTcp"))))
    assert both.hot
    for frame in frames:
        keep = dice.randrange(len(frame) + 1)
        both.look(frame[:keep], missing=len(frame) - keep)


@pytest.mark.parametrize("seed", range(5))
def test_hostile_frames_read_alike_on_both_ways(seed: int) -> None:
    both, dice = Both(), random.Random(seed)
    for frame in [
        *flow_frames(dice),
        GOLDEN_FRAME,
        SHORT_FRAGMENT,
        *Hostile(seed, [*GOOD, *flow_frames(dice)]).frames(2000),
    ]:
        both.look(frame)
    assert both.hot


def test_only_ethernet_takes_the_hot_way() -> None:
    both = Both()
    frame = ethernet(build_tcp(CLIENT, SERVER, 1, 2))
    both.look(frame, link_type=101)
    assert both.hot == 0
    both.look(frame)
    assert both.hot == 1


def test_heads_are_asked_for_once_and_refused_for_a_reason() -> None:
    asked = []

    def refuse(dissection: object) -> str:
        asked.append(dissection)
        return "other flow"

    usual = UsualPackets(refuse)
    for sequence in range(3):
        frame = ethernet(build_tcp(CLIENT, SERVER, 1, 2, sequence=sequence))
        found = usual.read(CapturedPacket(1, 0, TAP, frame, len(frame)))
        assert found
        assert found.head.refused == "other flow"
    assert len(asked) == 1
