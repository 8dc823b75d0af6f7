"""Iterate over the packets of any pcap or pcapng file, ours or foreign, as far as it goes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO

from gwlbemu.capture.packet import BrokenCapture, CapturedPacket, Ending, Statistics
from gwlbemu.capture.pcap_reader import MAGICS, read_pcap
from gwlbemu.capture.pcapng_reader import SECTION_START, read_pcapng
from gwlbemu.capture.stream import Stream

_COMPRESSED = (b"\x1f\x8b", b"\x28\xb5\x2f\xfd", b"\xfd7zX", b"BZh")  # gzip, zstd, xz, bzip2


class CaptureReader:
    """Iterate once; afterwards `ending` says where the file ended and why, and `statistics` what the taps counted.

    A truncated, damaged or foreign file raises nothing: what can be read is yielded, the rest is the ending's reason.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._stream = Stream(file)
        self.ending = Ending(0, "not read yet", False)
        self.statistics: dict[str, Statistics] = {}

    @property
    def offset(self) -> int:
        """How many bytes of the file were taken."""
        return self._stream.offset

    def __iter__(self) -> Iterator[CapturedPacket]:
        try:
            yield from self._packets()
        except BrokenCapture as error:
            self.ending = Ending(error.offset, error.reason, False)
        else:
            self.ending = Ending(self._stream.offset, "the end of the file", True)

    def _packets(self) -> Iterator[CapturedPacket]:
        magic = self._stream.take_or_end(4, "the first four bytes")
        if magic in MAGICS:
            return read_pcap(self._stream, *MAGICS[magic])
        if magic == SECTION_START:
            return read_pcapng(self._stream, self.statistics)
        if not magic:
            raise BrokenCapture(0, "the file is empty")
        if magic.startswith(_COMPRESSED):
            raise BrokenCapture(0, "it is compressed: unpack it first")
        raise BrokenCapture(0, f"not a pcap or pcapng file: it begins with {magic.hex(' ')}")
