from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gwlbemu.errors import WireError
from gwlbemu.wire import checksum, ttl
from gwlbemu.wire.build import build_ipv4, build_ipv6

A, B, A6, B6 = bytes(4), b"\xff" * 4, bytes(16), b"\xff" * 16


@given(st.integers(0, 255), st.integers(0, 255), st.binary(min_size=4, max_size=4), st.integers(0, 65535))
def test_a_decrement_gives_the_packet_that_was_built_with_the_lower_ttl(
    hops: int, by: int, source: bytes, identification: int
) -> None:
    if by > hops:
        with pytest.raises(WireError):
            ttl.decrement(build_ipv4(source, B, 47, b"x", ttl=hops), by)
        return
    lowered = ttl.decrement(build_ipv4(source, B, 47, b"x", ttl=hops, identification=identification), by)
    assert lowered == build_ipv4(source, B, 47, b"x", ttl=hops - by, identification=identification)
    six = ttl.decrement(build_ipv6(A6, B6, 47, b"x", hop_limit=hops), by)
    assert six == build_ipv6(A6, B6, 47, b"x", hop_limit=hops - by)
    assert ttl.time_to_live(lowered) == ttl.time_to_live(six) == hops - by


def test_a_wrong_checksum_stays_wrong() -> None:
    packet = bytearray(build_ipv4(A, B, 47, b""))
    packet[10] ^= 1
    assert checksum.internet(ttl.decrement(bytes(packet), 2)) == checksum.internet(bytes(packet)) != 0
