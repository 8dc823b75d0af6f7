"""The range and the evenness of slots. That the kernel's are the same is `tests/programs/network/test_kernel.py`'s."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from gwlbemu.core.network.jhash import jhash, slot


@given(st.binary(min_size=1, max_size=40), st.integers(0, 2**32 - 1), st.integers(1, 5000))
def test_a_slot_is_one_of_them(key: bytes, seed: int, slots: int) -> None:
    assert 0 <= slot(key, seed, slots) < slots
    assert 0 <= jhash(key, seed) < 2**32


def test_slots_are_even() -> None:
    counts = [0] * 10
    for number in range(20_000):
        counts[slot(number.to_bytes(4, "big"), 1, 10)] += 1
    assert all(1850 < count < 2150 for count in counts)
