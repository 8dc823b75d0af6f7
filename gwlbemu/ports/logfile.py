"""Lines appended to a file that stays small and never stops its writer: what a process of a lab tells about packets.

A file has at most `LARGEST` bytes; then it is renamed to NAME.1, in place of the one before, and begun anew. Lines are
counted instead of written beyond `PER_SECOND` a second (after a burst of `BURST`), and while the file cannot be written
(a full disk, a folder that is gone): each line tries anew, none is torn.

What other programs print (`logs/NAME.log`) is bounded from outside by `trim`.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path

from gwlbemu.errors import NetError

LARGEST = 8 << 20  # bytes of one file
PER_SECOND, BURST = 1000, 20_000  # lines
KEPT = 256 << 10  # bytes that `trim` keeps of what was printed last
TRIM_SECONDS = 1.0  # how often whoever trims should do so


class LogFile:
    """Append lines to `path`. Raises NetError when it cannot be opened at all.

    `now` is a clock in seconds.
    """

    def __init__(
        self,
        path: Path,
        *,
        largest: int = LARGEST,
        per_second: float = PER_SECOND,
        burst: float = BURST,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._path, self._largest, self._per_second, self._burst, self._now = path, largest, per_second, burst, now
        self._tokens, self._filled_at = burst, now()
        self._file = -1
        self.written = self.over_rate = self.failed = 0
        try:
            self._open()
        except OSError as error:
            raise NetError(f"{path}: cannot write: {error.strerror}") from None

    def write(self, line: str) -> None:
        """Append one line (without its end), or count it as lost; never raises OSError."""
        if not self._may_write():
            self.over_rate += 1
            return
        try:
            self._append(line.encode(errors="replace") + b"\n")
            self.written += 1
        except OSError:
            self.failed += 1

    def status(self) -> dict[str, int]:
        """Return how many lines were written, and how many were not: `over_rate`, or `failed` for want of a disk."""
        return {"written": self.written, "over_rate": self.over_rate, "failed": self.failed}

    def close(self) -> None:
        """Give the file back."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def _may_write(self) -> bool:
        now = self._now()
        self._tokens = min(self._tokens + (now - self._filled_at) * self._per_second, self._burst)
        self._filled_at = now
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True

    def _open(self) -> None:
        self._file = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
        self._size = os.fstat(self._file).st_size

    def _append(self, data: bytes) -> None:
        if self._file < 0:
            self._open()
        if self._size and self._size + len(data) > self._largest:
            self.close()
            os.replace(self._path, older(self._path))
            self._open()
        done = os.write(self._file, data)
        if done < len(data):  # a disk that is full now: half a line is none
            with suppress(OSError):
                os.ftruncate(self._file, self._size)
            raise OSError("no space")
        self._size += done


def older(path: Path) -> Path:
    """Return where the lines before those of a log are."""
    return path.with_name(f"{path.name}.1")


def trim(paths: Iterable[Path], *, largest: int = LARGEST) -> int:
    """Cut files that others append to (O_APPEND) and that are larger than `largest` bytes; return how many bytes went.

    The last `KEPT` bytes of each go to NAME.1, where the disk has room for them; the file itself begins anew.
    """
    gone = 0
    for path in paths:
        with suppress(OSError), path.open("r+b") as file:
            size = os.fstat(file.fileno()).st_size
            if size <= largest:
                continue
            file.seek(size - KEPT if size > KEPT else 0)
            last = file.read(KEPT)
            os.ftruncate(file.fileno(), 0)
            with suppress(OSError):
                older(path).write_bytes(last)
            gone += size - len(last)
    return gone
