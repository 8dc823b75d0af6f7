"""Starting processes inside a network namespace: owned by the lab, or in the foreground and waited for."""

from __future__ import annotations

import contextlib
import fcntl
import os
import resource
import signal
import struct
import subprocess
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import FrameType
from typing import NoReturn

from gwlbemu.errors import NetError
from gwlbemu.net import processes
from gwlbemu.net.inside import inside
from gwlbemu.net.record import OwnedProcess, Record

# What one process of a lab may take (getrlimit(2)), soft and hard. Memory is what it writes to alone: a node with two
# million flows has less than 2 GiB; rings and maps of the kernel's do not count. A process that wants more is refused
# by the kernel as where memory is used up, and the others go on.
LIMITS = {
    resource.RLIMIT_DATA: (4 << 30, 4 << 30),  # bytes of memory
    resource.RLIMIT_NOFILE: (4096, 65536),  # open files
    resource.RLIMIT_FSIZE: (16 << 30, 16 << 30),  # bytes of one file
    resource.RLIMIT_CORE: (0, 0),
}

_GO, _GATE_FD, _TROUBLE_FD = b"g", 3, 4


def spawn(
    record: Record,
    name: str,
    argv: Sequence[str],
    *,
    namespace: Path,
    log: Path,
    environment: Mapping[str, str] | None = None,
    directory: Path = Path("/"),
) -> OwnedProcess:
    """Start a process of the lab in `namespace`; it stands in the record before its first instruction.

    It has a session of its own, `directory` as its working directory, no input, `log` (appended to) as output and
    error, no other open file, `LIMITS`, umask 022 whatever the caller's, and init as its parent. `argv[0]` is looked
    up in PATH. Raises NetError when there is no such namespace or program.
    """
    variables = dict(os.environ if environment is None else environment)
    with contextlib.ExitStack() as opened:

        def pipe() -> tuple[int, int]:
            ends = os.pipe()
            for end in ends:
                opened.callback(_close_quietly, end)
            return ends

        gate, gate_writer = pipe()
        trouble, trouble_writer = pipe()
        pids, pids_writer = pipe()
        output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
        opened.callback(os.close, output)
        os.fchmod(output, 0o644)  # whatever the caller's umask
        with inside(namespace):
            first = os.fork()
            if first == 0:
                _be_first_child(pids_writer, gate_writer, gate, trouble_writer, output, argv, variables, directory)
        for end in (gate, trouble_writer, pids_writer):
            os.close(end)
        answer = os.read(pids, 4)
        os.waitpid(first, 0)
        if not answer:
            raise NetError(f"cannot start {name}: no second process can be made")
        (pid,) = struct.unpack("=i", answer)
        process = processes.identify(pid)
        if process is None:
            raise NetError(f"cannot start {name}: it died before it could begin")
        entry = OwnedProcess(name, namespace.name, process.pid, process.started)
        record.add(entry)
        os.write(gate_writer, _GO)
        error = os.read(trouble, 4)  # the end of the pipe when exec worked
        if error:
            reason = os.strerror(struct.unpack("=i", error)[0])
            raise NetError(f"cannot start {name}: {argv[0]}: {reason}")
        return entry


def _close_quietly(fd: int) -> None:
    with contextlib.suppress(OSError):
        os.close(fd)


def _be_first_child(
    pids: int,
    gate_writer: int,
    gate: int,
    trouble: int,
    output: int,
    argv: Sequence[str],
    environment: Mapping[str, str],
    directory: Path,
) -> NoReturn:
    """Fork the real one and go, so that it is nobody's child and leaves no zombie with our caller."""
    try:
        pid = os.fork()
        if pid == 0:
            os.close(gate_writer)  # with the caller's end gone too, a read from the gate ends
            os.close(pids)
            _become(gate, trouble, output, argv, environment, directory)
        os.write(pids, struct.pack("=i", pid))
    finally:
        os._exit(0)


def _become(
    gate: int, trouble: int, output: int, argv: Sequence[str], environment: Mapping[str, str], directory: Path
) -> NoReturn:
    try:
        os.setsid()
        null = os.open(os.devnull, os.O_RDONLY)
        # Out of the way first, so that no copy lands on a descriptor that is still needed.
        gate, trouble, output, null = (_high_copy(fd) for fd in (gate, trouble, output, null))
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
                os.chdir(directory)
                os.execvpe(argv[0], list(argv), environment)
            except OSError as error:
                os.write(_TROUBLE_FD, struct.pack("=i", error.errno or 0))
    finally:
        os._exit(127)


def set_limits() -> None:
    """Bound what the calling process and its children may take of the machine; a limit that is lower already stays."""
    for number, (soft, hard) in LIMITS.items():
        now = resource.getrlimit(number)[1]
        most = hard if now == resource.RLIM_INFINITY else min(hard, now)
        resource.setrlimit(number, (min(soft, most), most))


def _high_copy(fd: int) -> int:
    return fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 10)


def run_inside(namespace: Path, argv: Sequence[str], *, environment: Mapping[str, str] | None = None) -> int:
    """Run a command in `namespace` with our own input and output and wait for it.

    Returns its exit code, 128 + N when signal N ended it, 127 or 126 when it cannot be started (as a shell would).
    """
    with _handed_on() as started:
        with inside(namespace):
            try:
                started.append(subprocess.Popen(argv, env=environment))
            except FileNotFoundError:
                return 127
            except PermissionError:
                return 126
        while True:
            try:
                code = started[0].wait()
                return code if code >= 0 else 128 - code
            except KeyboardInterrupt:  # the command has had its own ^C from the terminal
                continue


@contextlib.contextmanager
def _handed_on() -> Iterator[list[subprocess.Popen[bytes]]]:
    """Give SIGTERM and SIGHUP to the command that the block puts on the list: only a terminal tells it by itself."""
    started: list[subprocess.Popen[bytes]] = []

    def hand_on(number: int, _frame: FrameType | None) -> None:
        if not started:
            raise KeyboardInterrupt
        started[0].send_signal(number)

    before = {}
    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGTERM, signal.SIGHUP):
            if signal.getsignal(number) is not signal.SIG_IGN:
                before[number] = signal.signal(number, hand_on)
    try:
        yield started
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
