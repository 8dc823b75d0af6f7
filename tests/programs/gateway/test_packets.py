"""A node's packets between ports that only remember: what goes where, and what the counters say of it."""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import cast

import pytest

from gwlbemu.core.gateway.judged import Judged
from gwlbemu.core.gateway.settings import Links
from gwlbemu.core.gateway.verdict import Drop, Reason, ToEndpoint, ToTarget, Verdict
from gwlbemu.ports.loop import Clock
from gwlbemu.ports.port import Port
from gwlbemu.programs.discards import Discards
from gwlbemu.programs.gateway.packets import Packets, Side


class RememberingPort:
    def __init__(self, frames: Sequence[bytes]) -> None:
        self.frames, self.sent = list(frames), list[bytes]()

    def recv(self) -> list[bytes]:
        return self.frames

    def send(self, frames: Sequence[bytes]) -> int:
        self.sent += frames
        return len(frames)


class Judge:
    """Says of each frame what it was given; None: it loses the frame."""

    def __init__(self, verdicts: Sequence[Verdict | None]) -> None:
        self.verdicts = verdicts

    def receive_frames(self, endpoint: int, frames: Sequence[bytes], *, now: float) -> Judged:
        judged = Judged(Links())
        for frame, verdict in zip(frames, self.verdicts, strict=True):
            if verdict is not None:
                judged.add(frame, verdict)
        return judged

    def receive_returned_frames(self, frames: Sequence[bytes], *, now: float) -> Judged:
        return self.receive_frames(0, frames, now=now)


SENT, BACK, DROPPED = ToTarget("fw", bytes(28)), ToEndpoint(1, b"\x45back"), Drop(Reason.MALFORMED)


@pytest.mark.parametrize("side", ["endpoint", "eni"])
@pytest.mark.parametrize(
    ("verdicts", "counted"),
    [([SENT, BACK, DROPPED], 3), ([SENT, None, DROPPED], 2), ([], 0)],
    ids=["every frame", "one without a verdict", "no frame"],
)
def test_the_verdicts_of_a_port_are_what_came_of_its_frames_and_not_their_number(
    side: str, verdicts: list[Verdict | None], counted: int
) -> None:
    told: list[bytes] = []
    batches: list[int] = []
    frames = [b"%d" % n for n in range(len(verdicts))]
    at_endpoint, at_eni = RememberingPort(frames), RememberingPort(frames)
    endpoint, eni = Side("vpce", cast(Port, at_endpoint)), Side("eni", cast(Port, at_eni))
    packets = Packets(
        {1: endpoint},
        eni,
        cast(Clock, SimpleNamespace(now=0.0)),
        cast(Discards, SimpleNamespace(tell=lambda frame, why: told.append(frame))),
        Judge(verdicts),
        after_batch=lambda: batches.append(1),
    )
    (packets.endpoint_reader(1) if side == "endpoint" else packets.read_eni)()
    used, unused = (endpoint, eni) if side == "endpoint" else (eni, endpoint)
    assert (used.frames_in, used.verdicts, unused.frames_in, unused.verdicts) == (len(verdicts), counted, 0, 0)
    assert at_eni.sent == [SENT.datagram for each in verdicts if each is SENT]
    assert at_endpoint.sent == [BACK.packet for each in verdicts if each is BACK]
    assert told == [b"%d" % number for number, each in enumerate(verdicts) if each is DROPPED]
    assert batches == [1]
