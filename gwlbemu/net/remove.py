"""Taking a lab down: exactly the recorded processes and namespaces, from the record alone, as often as anyone likes."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from gwlbemu.errors import LabError, NetError
from gwlbemu.net import namespaces, processes
from gwlbemu.net.processes import ProcessId
from gwlbemu.net.record import LOCK_TIMEOUT, ROOT, Contents, OwnedNamespace, Record, folder_of, open_existing

GRACE_SECONDS = 2.0
_ROUNDS = 20  # a process that forks while it is being ended is met again in the next round


@dataclass(frozen=True, slots=True)
class Removed:
    """What was still there, and now is not. `was_there` is False when there was no such lab at all."""

    was_there: bool
    processes: tuple[ProcessId, ...] = ()
    namespaces: tuple[str, ...] = ()


def down(
    lab: str,
    *,
    root: Path = ROOT,
    keep_capture: Path | None = None,
    grace: float = GRACE_SECONDS,
    timeout: float = LOCK_TIMEOUT,
) -> Removed:
    """Remove the lab, whatever state it is in; nothing happens when there is none.

    `keep_capture` is a folder that the capture's files are moved to. Raises LabError when another command is
    changing the lab for longer than `timeout`, NetError when something cannot be removed.
    """
    folder = folder_of(lab, root=root)
    if not folder.exists():
        return Removed(was_there=False)
    try:
        with open_existing(lab, root=root, timeout=timeout) as record:
            unknown = _unrecorded(record)
            if unknown:
                raise NetError(
                    f"{folder / 'record.jsonl'} is damaged: it does not name {', '.join(unknown)}, which the lab's plan"
                    f" does. Nothing else tells whose they are: if they are this lab's, remove them by hand (ip netns"
                    f" delete NAME) and try again; if not, remove {folder / 'plan.json'} and try again"
                )
            return take_down(record, keep_capture=keep_capture, grace=grace)
    except LabError:
        if (folder / "record.jsonl").exists():
            raise
    _remove_folder(folder)  # a build that died before it had a record made nothing else
    return Removed(was_there=True)


def _unrecorded(record: Record) -> list[str]:
    """Namespaces that the lab's plan names and its record does not, and that are there."""
    with suppress(OSError, ValueError, KeyError, TypeError, RecursionError):
        planned = [each["name"] for each in json.loads((record.folder / "plan.json").read_text())["namespaces"]]
        recorded = {entry.name for entry in record.contents().namespaces}
        return [name for name in planned if name not in recorded and namespaces.path_of(name).exists()]
    return []


def take_down(record: Record, *, keep_capture: Path | None = None, grace: float = GRACE_SECONDS) -> Removed:
    """Remove the lab whose record is open: its processes, its namespaces, then its folder with the record in it."""
    owned = record.contents()
    ended = _end_processes(owned, grace)
    gone = [entry.name for entry in owned.namespaces if _remove_namespace(entry)]
    if keep_capture is not None:
        _move_capture(record.folder / "capture", keep_capture)
    _remove_folder(record.folder)
    return Removed(True, tuple(ended), tuple(gone))


def _end_processes(owned: Contents, grace: float) -> list[ProcessId]:
    """End what is recorded, then the inits with all that lives by them, also in namespaces nested inside; then whatever
    else still sits inside a namespace of the lab (a client gone astray).
    """
    ended = processes.end([entry.id for entry in owned.processes], grace=grace)
    processes.end_inits(entry.id for entry in owned.inits)
    for _ in range(_ROUNDS):
        found = inhabitants(owned.namespaces)
        if not found:
            return ended
        ended += processes.end(found, grace=grace)
    raise NetError(f"processes inside the lab's namespaces do not end: {', '.join(str(p.pid) for p in found)}")


def inhabitants(owned: Iterable[OwnedNamespace]) -> list[ProcessId]:
    """Find every process that is inside one of these namespaces, by what the namespace is and not by its name."""
    identities = {entry.inode: entry.identity for entry in owned}
    found = []
    for pid in (int(name) for name in os.listdir("/proc") if name.isdigit()):
        path = Path(f"/proc/{pid}/ns/net")
        with suppress(FileNotFoundError, ProcessLookupError, PermissionError):
            process = processes.identify(pid)
            identity = identities.get(path.stat().st_ino)
            # An inode is given away again after its namespace's death: only the cookie tells.
            ours = identity is not None and namespaces.identity_of(path) == identity
            if process is not None and ours and pid != os.getpid():
                found.append(process)
    return found


def _remove_namespace(entry: OwnedNamespace) -> bool:
    try:
        return namespaces.remove(entry.name, entry.identity)
    except OSError as error:
        raise NetError(f"cannot remove namespace {entry.name}: {error.strerror}") from error


def _move_capture(capture: Path, destination: Path) -> None:
    try:
        destination.mkdir(parents=True, exist_ok=True)
        for file in sorted(capture.glob("*")):
            shutil.move(file, destination / file.name)
    except OSError as error:
        raise NetError(f"cannot keep the capture in {destination}: {error}") from error


def _remove_folder(folder: Path) -> None:
    # The record goes last: as long as anything is left, the next `down` finds it.
    with suppress(FileNotFoundError):
        for path in folder.iterdir():
            if path.name == "record.jsonl":
                continue
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)
        (folder / "record.jsonl").unlink(missing_ok=True)
        folder.rmdir()
