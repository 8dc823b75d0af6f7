"""The ownership record: what a lab made, written down before it is made, one JSON object per line.

`<root>/<lab>/record.jsonl` is append-only. `down` removes what stands in it and nothing else, so everything that
outlives the process that made it is either an entry here or a file in the lab's folder. An open Record holds the lab's
lock: who builds, starts or removes something has it to himself; the lock goes with its holder, however it ends.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self

from gwlbemu.command import command
from gwlbemu.errors import LabError, NetError
from gwlbemu.net.namespaces import Identity
from gwlbemu.net.processes import ProcessId

ROOT = Path("/run/gwlbemu")
LOCK_TIMEOUT = 10.0  # seconds
_LAB = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")


@dataclass(frozen=True, slots=True)
class OwnedNamespace:
    """A network namespace of the lab: its name and which one it is."""

    name: str
    inode: int
    cookie: int

    @property
    def identity(self) -> Identity:
        """Which namespace it is, whatever has its name by now."""
        return Identity(self.inode, self.cookie)


@dataclass(frozen=True, slots=True)
class OwnedProcess:
    """A process of the lab; `name` is the lab's word for it, `namespace` the network namespace it runs in."""

    name: str
    namespace: str
    pid: int
    started: int

    @property
    def id(self) -> ProcessId:
        """Which process it is, whatever has its pid by now."""
        return ProcessId(self.pid, self.started)


@dataclass(frozen=True, slots=True)
class OwnedInit:
    """The init of what runs in a network namespace of the lab: process 1 of a pid namespace, with a mount view.

    When it dies the kernel ends everything that is in its pid namespace, and in those nested inside.
    """

    namespace: str
    pid: int
    started: int

    @property
    def id(self) -> ProcessId:
        """Which process it is, whatever has its pid by now."""
        return ProcessId(self.pid, self.started)


Entry = OwnedNamespace | OwnedProcess | OwnedInit
_KINDS: dict[str, type[OwnedNamespace] | type[OwnedProcess] | type[OwnedInit]] = {
    "namespace": OwnedNamespace,
    "process": OwnedProcess,
    "init": OwnedInit,
}


@dataclass(frozen=True, slots=True)
class Contents:
    """Everything that a lab's record names, in the order it was made."""

    namespaces: tuple[OwnedNamespace, ...] = ()
    processes: tuple[OwnedProcess, ...] = ()
    inits: tuple[OwnedInit, ...] = ()


class Record:
    """The open, locked record of one lab."""

    def __init__(self, lab: str, folder: Path, fd: int) -> None:
        self.lab = lab
        self.folder = folder
        self._fd = fd

    def add(self, entry: Entry) -> None:
        """Write the entry down; when this returns, `down` knows of it. Raises NetError when the disk is full, say."""
        kind = next(name for name, made in _KINDS.items() if isinstance(entry, made))
        line = json.dumps({"kind": kind, **asdict(entry)}).encode() + b"\n"
        size = os.fstat(self._fd).st_size
        try:
            if os.write(self._fd, line) < len(line):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError as error:
            with suppress(OSError):
                os.ftruncate(self._fd, size)
            path = self.folder / "record.jsonl"
            raise NetError(f"{path} cannot be written: {error.strerror}; what it had to name was not made") from None

    def contents(self) -> Contents:
        """Return everything that the record names by now."""
        return read(self.lab, root=self.folder.parent)

    def close(self) -> None:
        """Let go of the lock; the record stays."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def folder_of(lab: str, *, root: Path = ROOT) -> Path:
    """Return the state folder of a lab under `root`. Raises LabError for a name that cannot be one."""
    if not _LAB.fullmatch(lab):
        raise LabError(f"{lab!r} is no lab name: letters, digits, '-', '_' and '.', 64 at most")
    return root / lab


def open_new(lab: str, *, root: Path = ROOT) -> Record:
    """Start the record of a new lab; LabError when the lab is there already, up or half built."""
    folder = folder_of(lab, root=root)
    try:
        root.mkdir(mode=0o755, parents=True, exist_ok=True)
    except OSError as error:  # a file, or a link to nowhere, in its place
        raise NetError(f"{root} cannot be made: {error.strerror}") from None
    try:
        folder.mkdir(mode=0o755)  # of two that try, one gets it
    except FileExistsError:
        raise LabError(f"lab {lab} is already there; take it down first ({command('down', '--lab', lab)})") from None
    except OSError as error:
        raise NetError(f"{folder} cannot be made: {error.strerror}") from None
    try:
        fd = os.open(folder / "record.jsonl", os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
    except FileNotFoundError:
        raise LabError(f"lab {lab} was taken down while it was being made") from None
    except OSError as error:
        with suppress(OSError):
            folder.rmdir()
        raise NetError(f"{folder / 'record.jsonl'} cannot be written: {error.strerror}") from None
    os.fchmod(fd, 0o644)  # whatever the caller's umask
    folder.chmod(0o755)
    record = Record(lab, folder, fd)
    _lock(fd, lab, LOCK_TIMEOUT)
    if os.fstat(fd).st_nlink == 0:  # a `down` was faster
        record.close()
        raise LabError(f"lab {lab} was taken down while it was being made")
    return record


@contextmanager
def open_existing(lab: str, *, root: Path = ROOT, timeout: float = LOCK_TIMEOUT) -> Iterator[Record]:
    """Open and lock the record of a lab that is there, to add to it; LabError when there is none or it stays locked."""
    folder = folder_of(lab, root=root)
    try:
        fd = os.open(folder / "record.jsonl", os.O_RDWR | os.O_APPEND | os.O_CLOEXEC)
    except FileNotFoundError:
        raise LabError(f"no lab {lab} is up") from None
    with Record(lab, folder, fd) as record:
        _lock(fd, lab, timeout)
        if os.fstat(fd).st_nlink == 0:  # it was taken down while we waited
            raise LabError(f"no lab {lab} is up")
        if (size := os.fstat(fd).st_size) and os.pread(fd, 1, size - 1) != b"\n":
            os.write(fd, b"\n")  # a writer was killed inside its line
        yield record


def _lock(fd: int, lab: str, timeout: float) -> None:
    give_up_at = time.monotonic() + timeout
    while True:
        try:
            return fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > give_up_at:
                raise LabError(f"lab {lab} is being changed by another command") from None
            time.sleep(0.02)


def read(lab: str, *, root: Path = ROOT) -> Contents:
    """Read what a lab owns, without a lock; empty when there is no record."""
    try:
        text = (folder_of(lab, root=root) / "record.jsonl").read_text(errors="replace")
    except FileNotFoundError:
        return Contents()
    entries = list(_entries(text))
    return Contents(
        tuple(entry for entry in entries if isinstance(entry, OwnedNamespace)),
        tuple(entry for entry in entries if isinstance(entry, OwnedProcess)),
        tuple(entry for entry in entries if isinstance(entry, OwnedInit)),
    )


def _entries(text: str) -> Iterator[Entry]:
    for line in text.splitlines():
        try:
            fields = json.loads(line)
            entry = _KINDS[fields.pop("kind")](**fields)
            if not all(type(value) is (str if key in ("name", "namespace") else int) for key, value in fields.items()):
                continue
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            continue  # the line its writer was killed in: what it names was not made
        yield entry


def list_labs(*, root: Path = ROOT) -> list[str]:
    """Name every lab that is there, up or half built."""
    try:
        return sorted(path.name for path in root.iterdir() if path.is_dir() and _LAB.fullmatch(path.name))
    except (FileNotFoundError, NotADirectoryError):
        return []
