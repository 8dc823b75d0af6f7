"""What every port promises, on memory and on a real veth pair."""

from __future__ import annotations

import select

import pytest

from gwlbemu.ports.port import Port
from tests.ports.conftest import arrived, frame
from tests.ports.faulty import Faulty

Ends = tuple[Port, Port]


def readable(port: Port, patience: float = 0) -> bool:
    return bool(select.select([port.fileno()], [], [], patience)[0])


def test_frames_arrive_whole_and_in_order(ends: Ends) -> None:
    a, b = ends
    frames = [frame(bytes([n % 256]) * (20 + n * 7)) for n in range(200)]
    assert a.send(frames) == 200
    assert arrived(b, 200) == frames
    assert a.unsent == 0
    assert b.drops() == 0


def test_a_frame_of_the_whole_mtu_passes_and_a_longer_one_is_counted(ends: Ends) -> None:
    a, b = ends
    longest = frame(b"x" * a.mtu)
    assert a.send([frame(b"x" * (a.mtu + 1)), longest, frame(b"x" * 20000)]) == 1
    assert arrived(b, 1) == [longest]
    assert a.unsent == 2


def test_a_port_is_readable_exactly_while_something_waits(ends: Ends) -> None:
    a, b = ends
    assert not readable(b)
    a.send([frame(b"one"), frame(b"two")])
    assert readable(b, 5)
    assert len(arrived(b, 2)) == 2
    assert not readable(b)


def test_receiving_from_a_quiet_port_gives_nothing(ends: Ends) -> None:
    assert ends[0].recv() == []
    assert ends[0].send([]) == 0


def test_a_sender_does_not_receive_its_own_frames(ends: Ends) -> None:
    a, _ = ends
    a.send([frame(b"mine")])
    assert a.recv() == []


def test_a_batch_is_bounded_so_that_no_side_starves_the_other(ends: Ends) -> None:
    a, b = ends
    a.send([frame(b"y" * 60)] * 500)
    assert readable(b, 5)
    assert 0 < len(b.recv()) <= 128


@pytest.mark.parametrize("sizes", [(60, 60, 60), (60, 61, 60, 900)], ids=["of one length", "of several"])
def test_a_batch_arrives_as_it_was_sent(ends: Ends, sizes: tuple[int, ...]) -> None:
    a, b = ends
    sent = [frame(bytes([number]) * size) for number, size in enumerate(sizes)]
    assert a.send(sent) == len(sent)
    assert readable(b, 5)
    assert b.recv() == sent


def test_a_faulty_port_makes_the_same_trouble_for_the_same_seed(ends: Ends) -> None:
    a, b = ends
    frames, last = [frame(n.to_bytes(2, "big") * 30) for n in range(300)], frame(b"last")

    def trouble(seed: int) -> list[bytes]:
        Faulty(a, seed=seed, drop=0.1, duplicate=0.1, reorder=0.1).send(frames)
        a.send([last])
        got: list[bytes] = []
        while last not in got:
            got += arrived(b, 1)
        return got[:-1]

    first, again, other = trouble(1), trouble(1), trouble(2)
    assert first == again != other
    assert set(first) < set(frames)
    assert len(set(first)) < len(first)
    assert [n for n in first if first.count(n) == 1] != sorted(n for n in first if first.count(n) == 1)


def test_a_faulty_port_without_faults_is_the_port(ends: Ends) -> None:
    a, b = ends
    Faulty(a, seed=1).send([frame(b"plain")])
    assert arrived(Faulty(b, seed=1), 1) == [frame(b"plain")]
