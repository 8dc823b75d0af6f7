"""Commands inside the instances of a lab: run to their end, or running meanwhile."""

from __future__ import annotations

import os
import signal
import subprocess
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from gwlbemu.errors import LabError, NetError, SettingError, UnknownNameError
from gwlbemu.fastpath.build import cache_folder
from gwlbemu.lab.configs import resolv_conf_of
from gwlbemu.lab.running import RunningLab
from gwlbemu.net.inits import ensure_init, living, within
from gwlbemu.net.namespaces import path_of
from gwlbemu.net.record import OwnedInit, open_existing, read
from gwlbemu.net.spawn import wait_for
from gwlbemu.topology.plan.values import Plan

_TAIL_BYTES = 1 << 15  # of what a command has printed, to begin to look for the last line


@dataclass(frozen=True, slots=True)
class Completed:
    """A command that has ended: its exit code (128 + N when signal N ended it) and what it printed."""

    code: int
    stdout: str
    stderr: str


class Client:
    """A command that runs inside an instance meanwhile; it ends with the lab at the latest."""

    def __init__(self, process: subprocess.Popen[bytes], command: str, stdout: IO[bytes], stderr: IO[bytes]) -> None:
        self._process, self._command = process, command
        self._streams = (stdout, stderr)
        self._last: tuple[str, str] | None = None

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether it has not ended yet."""
        return self._process.poll() is None

    def output(self) -> str:
        """Return what it has printed to its standard output so far."""
        return self._texts()[0]

    def last_line(self) -> str:
        """Return the last whole line that it has printed to its standard output so far, "" before there is one."""
        if self._last is not None:
            return next(reversed(self._last[0].splitlines()), "")
        with open(f"/proc/self/fd/{self._streams[0].fileno()}", "rb") as printed:  # an offset of its own
            start = size = printed.seek(0, os.SEEK_END)
            end = b""
            while start and end.count(b"\n") < 2:
                start = max(0, start - max(_TAIL_BYTES, size - start))
                printed.seek(start)
                end = printed.read(size - start)
        return end[: end.rfind(b"\n") + 1].decode(errors="replace").rpartition("\n")[0].rpartition("\n")[2]

    def errors(self) -> str:
        """Return what it has printed to its standard error so far."""
        return self._texts()[1]

    def wait(self, timeout: float = 30.0) -> Completed:
        """Wait for its end. Raises LabError when it still runs after `timeout` seconds; it goes on then."""
        try:
            code = self._process.wait(timeout)
        except subprocess.TimeoutExpired:
            raise LabError(f"{self._command} still runs after {timeout:g} s") from None
        if self._last is None:
            self._last = self._texts()
            for stream in self._streams:
                stream.close()
        return Completed(_shell_code(code), *self._last)

    def kill(self, number: signal.Signals = signal.SIGKILL) -> Completed:
        """Send it a signal and wait for its end; what has ended already is left alone."""
        self._process.send_signal(number)
        return self.wait()

    def _texts(self) -> tuple[str, str]:
        if self._last is not None:
            return self._last
        out, err = (Path(f"/proc/self/fd/{stream.fileno()}").read_bytes() for stream in self._streams)
        return out.decode(errors="replace"), err.decode(errors="replace")


def namespace_of(plan: Plan, name: str) -> Path:
    """Return the path of the network namespace of an instance, subnet, gateway or node.

    Raises UnknownNameError when the lab has nothing of that name.
    """
    namespaces = {namespace.resource: namespace.name for namespace in plan.namespaces}
    if name not in namespaces:
        raise UnknownNameError(f"nothing called {name} in lab {plan.lab}; there are: {', '.join(sorted(namespaces))}")
    return path_of(namespaces[name])


def home_of(lab: RunningLab, name: str) -> OwnedInit:
    """Return the init of an instance, subnet, gateway or node, which whatever is started there joins.

    It is made now where nothing has run yet. Raises UnknownNameError, LabError and NetError.
    """
    namespace = namespace_of(lab.plan, name).name
    found = living(read(lab.plan.lab, root=lab.state.root), namespace)
    if found is not None:
        return found
    own = lab.state.own(name) if name in {program.instance for program in lab.plan.programs} else None
    with open_existing(lab.plan.lab, root=lab.state.root) as record:
        if own is not None and not own.is_dir():
            own = None
        return ensure_init(
            record,
            namespace,
            own=own,
            cache=cache_folder(),
            resolv_conf=resolv_conf_of(lab.plan, name),
            authority=lab.state.authority,
        )


def run(lab: RunningLab, name: str, argv: Sequence[str]) -> int:
    """Run a command inside `name` with our own input and output and wait for it.

    Returns its exit code, 128 + N when signal N ended it, 127 or 126 when it cannot be started (as a shell would).
    """
    try:
        process = _start(lab, name, argv)
    except FileNotFoundError:
        return 127
    except PermissionError:
        return 126
    return wait_for(process)


def start(lab: RunningLab, name: str, argv: Sequence[str], *, directory: Path | None = None) -> Client:
    """Start a command inside `name`, without input, in `directory` (None: where we are).

    Raises NetError when there is no such program, SettingError for an `argv` that is no list of words.
    """
    _check_words(argv)
    with ExitStack() as opened:
        stdout, stderr = (opened.enter_context(tempfile.TemporaryFile()) for _ in range(2))
        try:
            process = _start(
                lab, name, argv, directory=directory, stdin=subprocess.DEVNULL, stdout=stdout, stderr=stderr
            )
        except OSError as error:
            raise NetError(f"cannot start {argv[0]} in {name}: {error.strerror}") from error
        opened.pop_all()
    return Client(process, f"{argv[0]} in {name}", stdout, stderr)


def execute(lab: RunningLab, name: str, argv: Sequence[str], *, timeout: float, stdin: str = "") -> Completed:
    """Run a command inside `name` to its end. Raises NetError when there is no such program, LabError when it takes
    longer than `timeout` seconds (it is killed then).
    """
    _check_words(argv)
    try:
        process = _start(lab, name, argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    except OSError as error:
        raise NetError(f"cannot run {argv[0]} in {name}: {error.strerror}") from error
    with process:
        try:
            stdout, stderr = process.communicate(stdin.encode(), timeout)
        except subprocess.TimeoutExpired:
            process.kill()
            stdout, stderr = process.communicate()
            printed = (stdout + stderr).decode(errors="replace")
            raise LabError(f"{argv[0]} in {name} still ran after {timeout:g} s; it printed: {printed!r}") from None
        except BaseException:
            with suppress(ProcessLookupError):
                process.kill()
            raise
    return Completed(_shell_code(process.returncode), _text(stdout), _text(stderr))


def _text(printed: bytes) -> str:
    """What was printed, with line ends as Python has them."""
    return printed.decode(errors="replace").replace("\r\n", "\n").replace("\r", "\n")


def _start(
    lab: RunningLab,
    name: str,
    argv: Sequence[str],
    *,
    directory: Path | None = None,
    stdin: IO[bytes] | int | None = None,
    stdout: IO[bytes] | int | None = None,
    stderr: IO[bytes] | int | None = None,
) -> subprocess.Popen[bytes]:
    """Start a command inside `name`; OSError when it cannot be."""
    with within(home_of(lab, name), directory) as joined:
        try:
            return subprocess.Popen(argv, stdin=stdin, stdout=stdout, stderr=stderr, preexec_fn=joined.enter)
        except subprocess.SubprocessError:  # what `enter` raises arrives as this
            raise NetError(f"cannot start {argv[0]} in {name}: what runs there has just been ended") from None


def _check_words(argv: object) -> None:
    """Python's own complaint about a command in one string is that there is no file of that name."""
    words = argv if isinstance(argv, Sequence) and not isinstance(argv, str | bytes) else ()
    if not words or not all(isinstance(word, str | os.PathLike) for word in words):
        raise SettingError(f"argv {argv!r}: expected a list of words (text), such as ['curl', '-s', 'http://...']")


def _shell_code(code: int) -> int:
    return code if code >= 0 else 128 - code
