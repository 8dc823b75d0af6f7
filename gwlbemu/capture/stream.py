"""Read exactly so many bytes of a capture file, and know where one is."""

from __future__ import annotations

from typing import BinaryIO

from gwlbemu.capture.packet import BrokenCapture

LONGEST_PART = 1 << 24  # longer than any packet or block worth believing
_CHUNK = 1 << 18


class Stream:
    """A binary file read forwards, in chunks; `offset` is the next byte's.

    `chunk` and `at` are what was read ahead and where in it the next byte is: who takes bytes from there moves `at`.
    """

    __slots__ = ("_before", "_file", "at", "chunk")

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.chunk = b""
        self.at = 0
        self._before = 0  # bytes in front of the chunk

    @property
    def offset(self) -> int:
        """How many bytes were taken."""
        return self._before + self.at

    def take(self, count: int, what: str) -> bytes:
        """Return `count` bytes.

        Raises BrokenCapture at the offset where they should have begun when they are not all there.
        """
        end = self.at + count
        if count > 0 and end <= len(self.chunk):
            data = self.chunk[self.at : end]
            self.at = end
            return data
        data = self.take_or_end(count, what)
        if count and not data:
            raise BrokenCapture(self.offset, f"the file ends before {what}: {count} bytes announced, none there")
        return data

    def take_or_end(self, count: int, what: str) -> bytes:
        """Like `take`, but return nothing where the file ends cleanly."""
        end = self.at + count
        if end > len(self.chunk):
            if count > LONGEST_PART:
                raise BrokenCapture(self.offset, f"{what} claims {count} bytes, which cannot be right")
            self._fill(count)
            end = count
        data = self.chunk[self.at : end]
        if 0 < len(data) < count:
            raise BrokenCapture(self.offset, f"the file ends inside {what}: {count} bytes announced, {len(data)} there")
        self.at += len(data)
        return data

    def _fill(self, count: int) -> None:
        """Make the chunk begin at the next byte and hold `count` bytes, if there are so many."""
        self._before += self.at
        self.chunk, self.at = self.chunk[self.at :], 0
        while len(self.chunk) < count:
            more = self._file.read(max(_CHUNK, count - len(self.chunk)))
            if not more:
                return
            self.chunk += more
