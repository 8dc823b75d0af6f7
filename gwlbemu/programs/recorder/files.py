"""The capture's files: pcapng, so many of so many bytes, the oldest makes way."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

from gwlbemu.capture.pcapng import interface_description, interface_statistics, section_header


class CaptureFiles:
    """Appends whole blocks to the newest file; every file is complete in itself."""

    def __init__(self, folder: Path, lab: str, interfaces: Sequence[str], *, file_bytes: int, files: int) -> None:
        self._folder, self._lab, self._interfaces = folder, lab, interfaces
        self._file_bytes, self._files = file_bytes, files
        self._number = 0
        self._written = 0
        self._file: BinaryIO = self._open()

    @property
    def path(self) -> Path:
        """The file that is being written."""
        return self._path

    def _open(self) -> BinaryIO:
        self._number += 1
        self._path = self._folder / f"{self._lab}-{self._number:05}.pcapng"
        (self._folder / f"{self._lab}-{self._number - self._files:05}.pcapng").unlink(missing_ok=True)
        file = self._path.open("wb", buffering=1 << 16)
        start = section_header() + b"".join(interface_description(name) for name in self._interfaces)
        self._written = file.write(start)
        file.flush()
        return file

    def write(self, block: bytes) -> bool:
        """Append one block; True when the file has its full size now (the caller then rotates)."""
        self._written += self._file.write(block)
        return self._written >= self._file_bytes

    def rotate(self, at_ns: int, seen: Sequence[tuple[int, int]]) -> None:
        """End this file with each interface's (packets, drops) and begin the next."""
        self.close(at_ns, seen)
        self._file = self._open()

    def flush(self) -> None:
        """Hand over to the kernel what was written."""
        self._file.flush()

    def close(self, at_ns: int, seen: Sequence[tuple[int, int]]) -> None:
        """End this file."""
        for number, (received, dropped) in enumerate(seen):
            self._file.write(interface_statistics(number, at_ns, received=received, dropped=dropped))
        self._file.close()
