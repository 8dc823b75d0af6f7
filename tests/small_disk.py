"""A disk that can be full: a small tmpfs in the mount namespace of the test run (as root)."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def small_disk(folder: Path, *, size: int = 1 << 20) -> Iterator[Path]:
    """Mount a tmpfs of `size` bytes over `folder` while the block runs."""
    folder.mkdir(parents=True, exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size},mode=755", "none", str(folder)], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


@contextmanager
def full(folder: Path) -> Iterator[None]:
    """Leave no byte free on the disk that holds `folder` while the block runs."""
    filler = folder / "filler"
    try:
        with filler.open("wb", buffering=0) as file:
            chunk = 1 << 16
            while chunk:
                try:
                    file.write(bytes(chunk))
                except OSError:
                    chunk //= 2
            os.fsync(file.fileno())
        yield
    finally:
        filler.unlink(missing_ok=True)
