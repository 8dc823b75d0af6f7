"""Starting processes inside a network namespace: owned by the lab, or in the foreground and waited for."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from gwlbemu.errors import NetError
from gwlbemu.net import processes
from gwlbemu.net.inside import inside
from gwlbemu.net.launch import Launch, launch
from gwlbemu.net.record import OwnedInit, OwnedProcess, Record


def spawn(
    record: Record,
    name: str,
    argv: Sequence[str],
    *,
    namespace: Path,
    log: Path,
    environment: Mapping[str, str] | None = None,
    directory: Path = Path("/"),
    init: OwnedInit | None = None,
) -> OwnedProcess:
    """Start a process of the lab in `namespace`; it stands in the record before its first instruction.

    It has a session of its own, `directory` as its working directory, no input, `log` (appended to) as output and
    error, no other open file, the bounds of `limits`, and umask 022 whatever the caller's. With an `init` it joins that
    one's pid namespace and mount view, and ends with it. `argv[0]` is looked up in PATH. Raises NetError when there is
    no such namespace or program.
    """
    variables = dict(os.environ if environment is None else environment)
    with ExitStack() as opened:
        output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
        opened.callback(os.close, output)
        home = None
        if init is not None:
            home = processes.open_handle(init.id)
            if home is None:
                raise NetError(f"cannot start {name}: the init of {init.namespace} is dead")
            opened.callback(os.close, home)
        opened.enter_context(inside(namespace))
        return launch(
            record,
            name,
            Launch(argv, variables, directory, output, home=home),
            lambda process: OwnedProcess(name, namespace.name, process.pid, process.started),
        )


def wait_for(process: subprocess.Popen[bytes]) -> int:
    """Wait for a command in the foreground; return its exit code, 128 + N when signal N ended it.

    SIGTERM and SIGHUP are handed on to it meanwhile: only a terminal tells it by itself.
    """
    with _handed_on(process):
        while True:
            try:
                code = process.wait()
                return code if code >= 0 else 128 - code
            except KeyboardInterrupt:  # the command has had its own ^C from the terminal
                continue


@contextmanager
def _handed_on(process: subprocess.Popen[bytes]) -> Iterator[None]:
    before = {}
    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGTERM, signal.SIGHUP):
            if signal.getsignal(number) is not signal.SIG_IGN:
                before[number] = signal.signal(number, lambda number, _frame: process.send_signal(number))
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
