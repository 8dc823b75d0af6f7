"""Processes known by pid and start time, so that a reused pid is never taken for ours."""

from __future__ import annotations

import os
import select
import signal
import time
from collections.abc import Iterable
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import NamedTuple

FREEZE_SECONDS = 2.0  # at most; one that waits for a device cannot stop before the device has answered

DEATH_SECONDS = 10.0  # that a process has to die of SIGKILL


class ProcessId(NamedTuple):
    """One process of this boot. `started` is field 22 of /proc/PID/stat (clock ticks since boot)."""

    pid: int
    started: int


def _stat(pid: int) -> tuple[str, int] | None:
    """State letter and start time; the name in brackets may hold anything, so parse behind the last bracket."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return fields[0], int(fields[19])


def identify(pid: int) -> ProcessId | None:
    """Identify the process that has this pid now; None when there is none."""
    found = _stat(pid)
    return ProcessId(pid, found[1]) if found else None


def state(process: ProcessId) -> str:
    """Say how the process is: "running", "frozen" or "dead" (a zombie is dead, a reused pid too)."""
    found = _stat(process.pid)
    if found is None or found[1] != process.started or found[0] in "ZX":
        return "dead"
    return "frozen" if found[0] in "Tt" else "running"


def open_handle(process: ProcessId) -> int | None:
    """Open a pidfd on exactly this process (the caller closes it); None when it is dead."""
    try:
        handle = os.pidfd_open(process.pid)
    except ProcessLookupError:
        return None
    # Compared after opening: from here on the handle cannot come to mean another process.
    if state(process) == "dead":
        os.close(handle)
        return None
    return handle


def has_ended(handle: int) -> bool:
    """Whether the process of a handle is dead."""
    poll = select.poll()
    poll.register(handle, select.POLLIN)
    return bool(poll.poll(0))


def send_signal(process: ProcessId, number: signal.Signals) -> bool:
    """Send a signal to exactly this process; False when it is dead."""
    handle = open_handle(process)
    if handle is None:
        return False
    try:
        signal.pidfd_send_signal(handle, number)
    except ProcessLookupError:
        return False
    finally:
        os.close(handle)
    return True


def freeze(process: ProcessId) -> bool:
    """Stop the process where it is, as if its machine hung; False when it is dead.

    Returns when it stands still, which it does at its next turn on a processor.
    """
    sent = send_signal(process, signal.SIGSTOP)
    give_up_at = time.monotonic() + FREEZE_SECONDS
    while sent and state(process) == "running" and time.monotonic() < give_up_at:
        time.sleep(0.001)
    return sent


def resume(process: ProcessId) -> bool:
    """Let a frozen process continue; False when it is dead."""
    return send_signal(process, signal.SIGCONT)


def end(processes: Iterable[ProcessId], *, grace: float) -> list[ProcessId]:
    """End exactly these processes: SIGTERM, up to `grace` seconds, then SIGKILL. Returns those that lived.

    Returns when all are dead. A frozen process is woken to see its SIGTERM.
    """
    with ExitStack() as opened:
        handles: dict[int, ProcessId] = {}
        for process in processes:
            handle = open_handle(process)
            if handle is not None:
                opened.callback(os.close, handle)
                handles[handle] = process
        _signal_all(handles, signal.SIGTERM)
        _signal_all(handles, signal.SIGCONT)
        left = _wait(set(handles), grace)
        _signal_all(left, signal.SIGKILL)
        _wait(left, DEATH_SECONDS)
        return list(handles.values())


def end_inits(inits: Iterable[ProcessId]) -> list[ProcessId]:
    """End these processes, each of which is process 1 of a pid namespace, and all that lives there. Returns those that
    lived.

    Returns when they are dead, or have nothing left but their numbers: an init stays until the parent of each process
    of its namespace has taken notice, and a parent outside may not look for a while.
    """
    killed = [init for init in inits if send_signal(init, signal.SIGKILL)]
    give_up_at = time.monotonic() + DEATH_SECONDS
    while any(has_namespaces(init) for init in killed) and time.monotonic() < give_up_at:
        time.sleep(0.002)
    return killed


def has_namespaces(process: ProcessId) -> bool:
    """Whether the process lives and is not on its way out: one that is has let go of its namespaces first."""
    if state(process) == "dead":
        return False
    try:
        os.readlink(f"/proc/{process.pid}/ns/net")
    except OSError:
        return False
    return True


def has_children(process: ProcessId) -> bool:
    """Whether a process has children that live. Where the kernel does not tell (CONFIG_PROC_CHILDREN), it has none."""
    if state(process) == "dead":
        return False
    try:
        pids = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    except OSError:
        return False
    return any((found := _stat(int(pid))) is not None and found[0] not in "ZX" for pid in pids)


def _signal_all(handles: Iterable[int], number: signal.Signals) -> None:
    for handle in handles:
        with suppress(ProcessLookupError):
            signal.pidfd_send_signal(handle, number)


def _wait(handles: set[int], timeout: float) -> set[int]:
    """Wait for the deaths; returns those that still live after `timeout` seconds."""
    poll = select.poll()
    left = set(handles)
    for handle in left:
        poll.register(handle, select.POLLIN)
    give_up_at = time.monotonic() + timeout
    while left and (remaining := give_up_at - time.monotonic()) > 0:
        for handle, _ in poll.poll(remaining * 1000):
            poll.unregister(handle)
            left.discard(handle)
    return left
