"""Starting processes inside a network namespace: owned by the lab, or in the foreground and waited for."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
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
    error, and no other open file. With an `init` it joins that one's pid namespace and mount view, and ends with it.
    `argv[0]` is looked up in PATH. Raises NetError when there is no such namespace or program.
    """
    variables = dict(os.environ if environment is None else environment)
    with ExitStack() as opened:
        output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
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


def run_inside(namespace: Path, argv: Sequence[str], *, environment: Mapping[str, str] | None = None) -> int:
    """Run a command in `namespace` with our own input and output and wait for it.

    Returns its exit code, 128 + N when signal N ended it, 127 or 126 when it cannot be started (as a shell would).
    """
    with inside(namespace):
        try:
            process = subprocess.Popen(argv, env=environment)
        except FileNotFoundError:
            return 127
        except PermissionError:
            return 126
    return wait_for(process)


def wait_for(process: subprocess.Popen[bytes]) -> int:
    """Wait for a command in the foreground; return its exit code, 128 + N when signal N ended it."""
    while True:
        try:
            code = process.wait()
            return code if code >= 0 else 128 - code
        except KeyboardInterrupt:  # the command has had its own ^C from the terminal
            continue
