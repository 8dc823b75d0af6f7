from __future__ import annotations

import pytest

from gwlbemu.errors import WireError
from gwlbemu.wire.reader import Reader


def test_values_are_taken_big_endian_from_the_front() -> None:
    reader = Reader(b"\x01\x02\x03\x04\x05", start=1)
    assert reader.number(2) == 0x0203
    assert reader.take(1) == b"\x04"
    assert (reader.position, reader.left) == (4, 1)


def test_taking_more_than_is_left_is_an_error_and_takes_nothing() -> None:
    reader = Reader(b"\x01\x02")
    with pytest.raises(WireError, match="3 bytes expected at offset 0, 2 left"):
        reader.take(3)
    assert reader.take(2) == b"\x01\x02"


def test_a_negative_count_is_an_error() -> None:
    reader = Reader(b"\x01\x02")
    reader.take(1)
    with pytest.raises(WireError):
        reader.take(-1)


def test_a_limit_hides_what_follows_it_and_gives_it_back() -> None:
    reader = Reader(b"\x01\x02\x03")
    with reader.limit(2):
        assert reader.take(2) == b"\x01\x02"
        with pytest.raises(WireError):
            reader.take(1)
    assert reader.take(1) == b"\x03"


def test_a_limit_longer_than_what_is_left_is_an_error() -> None:
    reader = Reader(b"\x01\x02\x03")
    with pytest.raises(WireError, match="does not fit"), reader.limit(4):
        pass


def test_bytes_left_over_at_the_end_of_a_limit_are_an_error() -> None:
    reader = Reader(b"\x01\x02\x03")
    with pytest.raises(WireError, match="1 bytes left over before offset 2"), reader.limit(2):
        reader.take(1)


def test_a_start_behind_the_end_is_an_error() -> None:
    with pytest.raises(WireError):
        Reader(b"\x01", start=2)
