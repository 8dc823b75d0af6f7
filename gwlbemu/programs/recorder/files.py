"""The capture's files: pcapng, so many of so many bytes, the oldest makes way.

A disk that is full stops no capture: blocks that it does not take are counted and the file is cut back to its last
whole block, so that every file can be read, and what follows goes on when there is room again.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from gwlbemu.capture.pcapng import interface_description, interface_statistics, section_header

BUFFER_BYTES = 1 << 16


class CaptureFiles:
    """Appends whole blocks to the newest file; every file is complete in itself.

    `unwritten` blocks did not get into a file. Raises OSError when the first file cannot be made.
    """

    def __init__(self, folder: Path, lab: str, interfaces: Sequence[str], *, file_bytes: int, files: int) -> None:
        self._folder, self._lab, self._interfaces = folder, lab, interfaces
        self._file_bytes, self._files = file_bytes, files
        self._number = 0
        self._written = 0  # bytes of the file that are on the disk
        self._buffer = bytearray()
        self._blocks = 0  # in the buffer
        self._file = -1
        self.unwritten = 0
        self._open()

    @property
    def path(self) -> Path:
        """The file that is being written."""
        return self._file_of(self._number)

    def _file_of(self, number: int) -> Path:
        return self._folder / f"{self._lab}-{number:05}.pcapng"

    def _open(self) -> None:
        """Begin the next file; OSError when its head cannot be written. Then it is as if it had not been tried."""
        path = self._file_of(self._number + 1)
        self._file_of(self._number + 1 - self._files).unlink(missing_ok=True)
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644)
        start = section_header() + b"".join(interface_description(name) for name in self._interfaces)
        try:
            if os.write(file, start) < len(start):
                raise OSError("no space")
        except OSError:
            os.close(file)
            path.unlink(missing_ok=True)
            raise
        self._file, self._written, self._number = file, len(start), self._number + 1

    def write(self, block: bytes) -> bool:
        """Append one block; True when the file has its full size now (the caller then rotates)."""
        self._buffer += block
        self._blocks += 1
        if len(self._buffer) >= BUFFER_BYTES:
            self.flush()
        return self._written + len(self._buffer) >= self._file_bytes

    def rotate(self, at_ns: int, seen: Sequence[tuple[int, int]]) -> None:
        """End this file with each interface's (packets, drops) and begin the next."""
        self.close(at_ns, seen)
        with suppress(OSError):  # `flush` tries again
            self._open()

    def flush(self) -> None:
        """Hand over to the kernel what was written; what it does not take is counted in `unwritten`."""
        data, blocks = bytes(self._buffer), self._blocks
        self._buffer.clear()
        self._blocks = 0
        if not data:
            return
        try:
            if self._file < 0:
                self._open()
            self._append(data)
        except OSError:
            self.unwritten += blocks

    def _append(self, data: bytes) -> None:
        done = 0
        try:
            while done < len(data):
                done += os.write(self._file, memoryview(data)[done:])
        except OSError:
            with suppress(OSError):
                os.ftruncate(self._file, self._written)
                os.lseek(self._file, self._written, os.SEEK_SET)
            raise
        self._written += done

    def close(self, at_ns: int, seen: Sequence[tuple[int, int]]) -> None:
        """End this file."""
        self.flush()
        if self._file < 0:
            return
        with suppress(OSError):
            self._append(
                b"".join(
                    interface_statistics(number, at_ns, received=received, dropped=dropped)
                    for number, (received, dropped) in enumerate(seen)
                )
            )
        os.close(self._file)
        self._file = -1
