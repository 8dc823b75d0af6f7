"""TCP payloads in order, each byte once."""

from __future__ import annotations

import random

from appliances.ids.stream import KEEP, PENDING, Chunk, Stream


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
