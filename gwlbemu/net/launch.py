"""Two forks and a gate: how a process of the lab comes to stand in the record before its first instruction.

The caller forks a child, which forks the real one and goes: that is nobody's child and leaves no zombie with us. The
real one says who it is, waits at the gate until the caller has written it down, and then becomes its program. When the
caller dies before that, the gate falls shut and nothing has happened.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import signal
import socket
import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn, TypeVar

from gwlbemu.errors import NetError
from gwlbemu.net import kernel, processes
from gwlbemu.net.limits import set_limits
from gwlbemu.net.processes import ProcessId
from gwlbemu.net.record import OwnedInit, OwnedProcess, Record

_GO, _GATE_FD, _TROUBLE_FD = b"g", 3, 4
_CREDENTIALS = struct.Struct("=iII")  # struct ucred: pid, uid, gid
_EVERYTHING = kernel.CLONE_NEWNET | kernel.CLONE_NEWNS | kernel.CLONE_NEWPID

Owned = TypeVar("Owned", OwnedProcess, OwnedInit)


@dataclass(frozen=True, slots=True)
class Launch:
    """What is to become of a new process.

    `output` is a descriptor for what it prints. `home` is a pidfd on the init whose namespaces it joins; without one it
    stays in the network namespace that the caller is in. `fresh` are CLONE_NEW flags of namespaces that begin with it,
    `prepare` is called in it before its program, which is `executable` or `argv[0]`, looked up in PATH.
    """

    argv: Sequence[str]
    environment: Mapping[str, str]
    directory: Path
    output: int
    home: int | None = None
    fresh: int = 0
    prepare: Callable[[], None] = lambda: None
    executable: Path | None = None


def launch(record: Record, name: str, plan: Launch, entry_for: Callable[[ProcessId], Owned]) -> Owned:
    """Start a process and return what the record has about it: `entry_for` makes that.

    It has a session of its own, no input, no open file beyond its output, and no parent that knows it. Raises NetError
    when the program cannot be started; `name` is whose it is.
    """
    with contextlib.ExitStack() as opened:
        theirs = opened.enter_context(contextlib.ExitStack())  # closed once: a number may be another thread's by then
        gate, gate_writer = _pipe(theirs, opened)
        trouble, trouble_writer = _pipe(opened, theirs)
        # A pid is another number in another pid namespace: the kernel translates the one in a socket's credentials.
        news, teller = (opened.enter_context(end) for end in socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM))
        news.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        first = os.fork()
        if first == 0:
            _be_first_child(plan, teller.fileno(), gate_writer, gate, trouble_writer)
        theirs.close()
        teller.close()
        pid = _sender(news)
        os.waitpid(first, 0)
        if not pid:
            told = _reason(trouble) or "no second process can be made"
            raise NetError(f"cannot start {name}: {_end_of_home(plan) or told}")
        process = processes.identify(pid)
        if process is None:
            raise NetError(f"cannot start {name}: {_end_of_home(plan) or 'it died before it could begin'}")
        entry = entry_for(process)
        record.add(entry)
        os.write(gate_writer, _GO)
        reason = _reason(trouble)  # the end of the pipe when exec worked
        if reason:
            raise NetError(f"cannot start {name}: {plan.argv[0]}: {reason}")
        return entry


def _pipe(reader: contextlib.ExitStack, writer: contextlib.ExitStack) -> tuple[int, int]:
    """A pipe whose ends are closed with one of the stacks each."""
    here, there = os.pipe()
    reader.callback(os.close, here)
    writer.callback(os.close, there)
    return here, there


def _end_of_home(plan: Launch) -> str:
    """Say that the init which a process was to join has ended: the kernel says "no such process" or "no memory"."""
    if plan.home is None or not processes.has_ended(plan.home):
        return ""
    return "the init of its instance has just ended, and everything there with it"


def _sender(news: socket.socket) -> int:
    """The pid of the process that says it is there; 0 when none does."""
    data, ancillary, _, _ = news.recvmsg(1, socket.CMSG_SPACE(_CREDENTIALS.size))
    for level, kind, credentials in ancillary:
        if data and (level, kind) == (socket.SOL_SOCKET, socket.SCM_CREDENTIALS):
            return int(_CREDENTIALS.unpack(credentials)[0])
    return 0


def _reason(trouble: int) -> str:
    told = os.read(trouble, 4)
    return os.strerror(struct.unpack("=i", told)[0]) if told else ""


def _tell(trouble: int, error: OSError) -> None:
    os.write(trouble, struct.pack("=i", error.errno or 0))


def _be_first_child(plan: Launch, teller: int, gate_writer: int, gate: int, trouble: int) -> NoReturn:
    try:
        if plan.home is not None:
            # One fork more: whose parent is inside is left to the init there, and to nobody outside.
            kernel.set_namespace(plan.home, _EVERYTHING)
            if (middle := os.fork()) != 0:
                os.waitpid(middle, 0)
                os._exit(0)
        if plan.fresh:
            kernel.unshare(plan.fresh)
        if os.fork() == 0:
            os.close(gate_writer)  # with the caller's end gone too, a read from the gate ends
            os.write(teller, b".")
            os.close(teller)
            _become(plan, gate, trouble)
    except OSError as error:
        _tell(trouble, error)
    finally:
        os._exit(0)


def _become(plan: Launch, gate: int, trouble: int) -> NoReturn:
    try:
        os.setsid()
        null = os.open(os.devnull, os.O_RDONLY)
        # Out of the way first, so that no copy lands on a descriptor that is still needed.
        gate, trouble, output, null = (_high_copy(fd) for fd in (gate, trouble, plan.output, null))
        for source, target in ((null, 0), (output, 1), (output, 2), (gate, _GATE_FD), (trouble, _TROUBLE_FD)):
            os.dup2(source, target, inheritable=target <= 2)
        os.closerange(_TROUBLE_FD + 1, os.sysconf("SC_OPEN_MAX"))
        signal.pthread_sigmask(signal.SIG_SETMASK, [])
        os.umask(0o022)
        set_limits()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGPIPE, signal.SIGHUP):
            signal.signal(number, signal.SIG_DFL)
        if os.read(_GATE_FD, 1) == _GO:  # otherwise the caller died before it could write us down
            try:
                plan.prepare()
                os.chdir(plan.directory)
                os.execvpe(plan.executable or plan.argv[0], list(plan.argv), plan.environment)
            except OSError as error:
                _tell(_TROUBLE_FD, error)
            except BaseException:  # a bug must not look like a program that has begun
                _tell(_TROUBLE_FD, OSError(errno.ENOEXEC, ""))
                raise
    finally:
        os._exit(127)


def _high_copy(fd: int) -> int:
    return fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 10)
