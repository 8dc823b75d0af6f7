from __future__ import annotations

import struct

from hypothesis import given
from hypothesis import strategies as st

from gwlbemu.wire import checksum


def by_the_book(data: bytes) -> int:
    """RFC 1071 section 4.1, word by word."""
    if len(data) % 2:
        data += b"\0"
    total = 0
    for (word,) in struct.iter_unpack(">H", data):
        total += word
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


@given(st.binary(max_size=200))
def test_the_big_number_gives_what_adding_words_gives(data: bytes) -> None:
    assert checksum.internet(data) == by_the_book(data)


def test_the_example_of_rfc_1071() -> None:
    assert checksum.internet(bytes.fromhex("0001f203f4f5f6f7")) == 0xFFFF - 0xDDF2


def test_all_zeros_and_all_ones() -> None:
    assert checksum.internet(bytes(20)) == 0xFFFF
    assert checksum.internet(b"\xff\xff") == 0
    assert checksum.internet(b"") == 0xFFFF


@given(st.binary(min_size=2, max_size=60), st.integers(0, 0xFFFF), st.integers(0, 29))
def test_an_incremental_update_equals_computing_anew(data: bytes, new: int, index: int) -> None:
    data = b"\x45\x00" + data[: len(data) & ~1]
    at = 2 * (index % (len(data) // 2 - 1) + 1)
    after = data[:at] + new.to_bytes(2, "big") + data[at + 2 :]
    old = int.from_bytes(data[at : at + 2], "big")
    assert checksum.updated(checksum.internet(data), old, new) == checksum.internet(after)


def test_a_udp_checksum_of_0_means_none_over_ipv4_and_is_wrong_over_ipv6() -> None:
    segment = bytes.fromhex("9c400035000c000074657374")
    assert checksum.is_right(bytes(4), bytes(4), 17, segment)
    assert not checksum.is_right(bytes(16), bytes(16), 17, segment)


def test_a_protocol_without_a_checksum_is_right() -> None:
    assert checksum.is_right(bytes(4), bytes(4), 47, b"\x00\x00\x08\x00")
