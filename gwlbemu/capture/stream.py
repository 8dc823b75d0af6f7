"""Read exactly so many bytes of a capture file, and know where one is."""

from __future__ import annotations

from typing import BinaryIO

from gwlbemu.capture.packet import BrokenCapture

LONGEST_PART = 1 << 24  # longer than any packet or block worth believing


class Stream:
    """A binary file read forwards; `offset` is the next byte's."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.offset = 0

    def take(self, count: int, what: str) -> bytes:
        """Return `count` bytes.

        Raises BrokenCapture at the offset where they should have begun when they are not all there.
        """
        data = self.take_or_end(count, what)
        if count and not data:
            raise BrokenCapture(self.offset, f"the file ends before {what}: {count} bytes announced, none there")
        return data

    def take_or_end(self, count: int, what: str) -> bytes:
        """Like `take`, but return nothing where the file ends cleanly."""
        if count > LONGEST_PART:
            raise BrokenCapture(self.offset, f"{what} claims {count} bytes, which cannot be right")
        data = self._file.read(count)
        if 0 < len(data) < count:
            raise BrokenCapture(self.offset, f"the file ends inside {what}: {count} bytes announced, {len(data)} there")
        self.offset += len(data)
        return data
