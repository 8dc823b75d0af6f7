"""TCP payloads in order, each byte once."""

from __future__ import annotations

import random
from pathlib import Path

from appliances.ids.detect import Detector
from appliances.ids.rules import load
from appliances.ids.stream import KEEP, PENDING, SEGMENT, Chunk, Stream
from appliances.inner import Inner, read
from gwlbemu.wire.tcp import ACK, SYN, build_tcp


def fresh(chunk: Chunk) -> bytes:
    return chunk.data[chunk.fresh :]


def test_bytes_in_order_come_out_once_behind_what_came_before() -> None:
    stream = Stream()
    stream.take(999, b"", syn=True)
    assert stream.take(1000, b"one ") == Chunk(b"one ", 0)
    assert stream.take(1004, b"two") == Chunk(b"one two", 4)


def test_a_retransmission_brings_nothing_new() -> None:
    stream = Stream()
    stream.take(1000, b"one ")
    assert fresh(stream.take(1000, b"one ")) == b""
    assert fresh(stream.take(1002, b"e two")) == b"two"


def test_a_segment_ahead_waits_for_the_gap_to_be_filled() -> None:
    stream = Stream()
    stream.take(1000, b"a")
    assert fresh(stream.take(1002, b"c")) == b""
    assert fresh(stream.take(1003, b"d")) == b""
    assert fresh(stream.take(1001, b"b")) == b"bcd"


def test_sequence_numbers_wrap() -> None:
    stream = Stream()
    assert fresh(stream.take(2**32 - 2, b"abcd")) == b"abcd"
    assert fresh(stream.take(2, b"ef")) == b"ef"
    assert fresh(stream.take(2**32 - 1, b"bcdefg")) == b"g"


def test_segments_in_any_order_give_the_same_bytes() -> None:
    text = bytes(range(256)) * 8
    dice = random.Random(6081)
    for _ in range(50):
        cuts = sorted(dice.sample(range(1, len(text)), 20))
        pieces = [(start, text[start:end]) for start, end in zip([0, *cuts], [*cuts, len(text)], strict=True)]
        pieces += dice.sample(pieces, 5)
        dice.shuffle(pieces)
        stream = Stream()
        stream.take(2**32 - 101, b"", syn=True)
        out = b"".join(fresh(stream.take((2**32 - 100 + start) % 2**32, piece)) for start, piece in pieces)
        assert out == text


def test_a_gap_that_is_never_filled_is_given_up() -> None:
    stream = Stream()
    stream.take(0, b"start")
    found = b""
    for number in range(PENDING // 1000 + 2):
        found += fresh(stream.take(100 + number * 1000, b"%4d" % number * 250))
    assert found.startswith(b"   0" * 250)
    assert fresh(stream.take(100 + (number + 1) * 1000, b"end")) == b"end"


def test_what_is_kept_is_bounded() -> None:
    stream = Stream()
    for number in range(40):
        stream.take(number * 1000, bytes(1000))
    assert stream.take(40_000, b"x").fresh == KEEP


def test_tiny_segments_that_wait_cost_more_than_their_bytes() -> None:
    """65,536 of one byte each would take ten megabytes."""
    stream = Stream()
    stream.take(0, b"x")
    for number in range(PENDING):
        stream.take(10 + 2 * number, b"x")
        assert stream.held_bytes <= PENDING + KEEP + SEGMENT + 1
        assert len(stream._pending) <= PENDING // SEGMENT + 1


def tcp(number: int, sequence: int, payload: bytes, flags: int = ACK) -> Inner:
    client = bytes([10, 0, number >> 8, number & 255])
    packet = build_tcp(client, bytes([10, 9, 0, 1]), 1000, 80, sequence=sequence, flags=flags, payload=payload)
    return read(packet)


def test_the_streams_of_all_flows_have_a_budget_and_the_longest_silent_gives_back_first() -> None:
    detector = Detector((), ips=True, budget=10_000)
    for number in range(10):
        detector.inspect(1, tcp(number, 0, bytes(1000)), now=0.0)
    assert detector.counters() | {"stream bytes": 10_000, "streams that made way": 0} == detector.counters()
    detector.inspect(1, tcp(0, 1000, bytes(10)), now=1.0)  # one more byte than there is room for
    assert detector.counters()["streams that made way"] == 1
    assert detector.held_bytes == 9_010
    held = {flow.client[0][3] for flow, _ in detector._holding.values()}
    assert held == {0, 2, 3, 4, 5, 6, 7, 8, 9}
    assert detector.counters()["flows"] == 10


def test_what_a_flow_held_is_given_back_when_the_flow_is_forgotten_or_begins_again() -> None:
    detector = Detector((), ips=True, budget=100_000)
    detector.inspect(1, tcp(1, 0, bytes(1000)), now=0.0)
    detector.inspect(1, tcp(1, 0, b"", SYN), now=1.0)
    assert detector.held_bytes == 0
    detector.inspect(1, tcp(1, 1, bytes(500)), now=1.0)
    detector.inspect(1, tcp(2, 0, bytes(100)), now=2.0)
    detector.inspect(1, tcp(1, 501, bytes(7)), now=1000.0)  # both have been idle too long
    detector.inspect(1, tcp(3, 0, b""), now=1000.0)
    assert detector.held_bytes == 7
    assert detector.counters()["stream bytes"] == sum(held for _, held in detector._holding.values())


def test_a_flow_that_is_blocked_stays_blocked_when_its_bytes_are_gone(tmp_path: Path) -> None:
    rules = tmp_path / "x.rules"
    rules.write_text('drop tcp any any -> any any (msg:"bad"; content:"bad"; sid:1;)\n')
    detector = Detector(load(rules), ips=True, budget=2_000)
    assert detector.inspect(1, tcp(1, 0, b"bad"), now=0.0).keep
    for number in range(2, 20):
        detector.inspect(1, tcp(number, 0, bytes(1000)), now=0.0)
    assert detector.held_bytes <= 2_000
    assert detector.inspect(1, tcp(1, 3, b"more"), now=0.0).keep
