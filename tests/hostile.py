"""Hostile input, the same for the same seed: bytes without sense, and good frames with something wrong in them."""

from __future__ import annotations

import random
import struct
from collections.abc import Sequence

INTERESTING_BYTES = (0, 1, 2, 4, 5, 6, 17, 0x3F, 0x40, 0x45, 0x4F, 0x46, 0x60, 0x7F, 0x80, 0xFE, 0xFF)
INTERESTING_WORDS = (0, 1, 7, 8, 12, 19, 20, 21, 28, 36, 40, 0x1FFF, 0x2000, 0x4000, 0x0800, 0x86DD, 0x8100, 0xFFFF)
LENGTHS = (0, 1, 13, 14, 15, 26, 33, 34, 41, 42, 49, 50, 82, 83, 102, 110)  # where a head ends, and one beside it


class Hostile:
    """Makes hostile frames out of `good` ones and out of nothing; `seed` decides about everything."""

    def __init__(self, seed: int, good: Sequence[bytes]) -> None:
        self._dice = random.Random(seed)
        self._good = list(good)

    def frames(self, count: int) -> list[bytes]:
        """Return the next `count` frames; some of them are good."""
        return [self._frame() for _ in range(count)]

    def _frame(self) -> bytes:
        dice = self._dice
        if dice.random() < 0.1:
            return dice.randbytes(dice.choice((*LENGTHS, 60, 200, 1500)))
        frame = bytearray(dice.choice(self._good))
        for _ in range(dice.choice((0, 1, 1, 1, 2, 3, 8))):
            dice.choice((self._byte, self._word, self._flip, self._cut, self._grow, self._splice, self._tiny))(frame)
        return bytes(frame)

    def _byte(self, frame: bytearray) -> None:
        if frame:
            frame[self._dice.randrange(min(len(frame), 140))] = self._dice.choice(INTERESTING_BYTES)

    def _word(self, frame: bytearray) -> None:
        if len(frame) > 2:
            at = self._dice.randrange(12, max(13, min(len(frame) - 1, 140)))
            frame[at : at + 2] = struct.pack(">H", self._dice.choice(INTERESTING_WORDS))

    def _flip(self, frame: bytearray) -> None:
        if frame:
            frame[self._dice.randrange(len(frame))] ^= 1 << self._dice.randrange(8)

    def _cut(self, frame: bytearray) -> None:
        del frame[self._dice.choice((*LENGTHS, self._dice.randrange(len(frame) + 1))) :]

    def _grow(self, frame: bytearray) -> None:
        frame += self._dice.randbytes(self._dice.choice((1, 2, 7, 46, 1000)))

    def _splice(self, frame: bytearray) -> None:
        other = self._dice.choice(self._good)
        frame[self._dice.randrange(len(frame) + 1) :] = other[self._dice.randrange(len(other) + 1) :]

    def _tiny(self, frame: bytearray) -> None:
        """An IPv4 packet that says it is shorter than its own heads, a later fragment."""
        if len(frame) >= 24:
            frame[16:18] = struct.pack(">H", self._dice.randrange(40))
            frame[20:22] = struct.pack(">H", self._dice.randrange(4))


# Ended a pass-through appliance: IPv4, total length 12, fragment offset 1, UDP, 26 bytes.
SHORT_FRAGMENT = bytes.fromhex("0200000000020200000000010800") + bytes.fromhex("4500000c00000001ff110000")
