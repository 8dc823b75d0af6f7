"""The init of an instance: process 1 of a pid namespace, with a view of the file system that has no other lab in it.

What runs in the instance joins both. The view is the machine's, but for

    /run    empty, beside the instance's own folder of the lab's state at its usual place: no lab's sockets, no names of
            network namespaces, no services of the machine
    /proc   the instance's own processes
    /sys    the instance's own network devices; no control groups; a BPF file system with nothing pinned in it
    /etc/resolv.conf    the resolver of the instance's subnet
    /run/authority.pem  the certificate of the lab's own authority, in a lab that has one

With init everything that it is the root of ends: the kernel kills every process of its pid namespace and of those
nested inside, and lets go of the mounts.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from gwlbemu.errors import NetError
from gwlbemu.net import kernel, processes
from gwlbemu.net.inside import CALLER, inside
from gwlbemu.net.launch import Launch, launch
from gwlbemu.net.limits import set_limits
from gwlbemu.net.namespaces import DIRECTORY, path_of
from gwlbemu.net.record import Contents, OwnedInit, Record

SOURCE = Path(__file__).with_name("init.c")
COMPILE_SECONDS = 60
SEEN_AUTHORITY = Path("/run/authority.pem")
RUN_BYTES = "64m"  # what an instance can keep in its own /run
PID_CALLER = "/proc/thread-self/ns/pid_for_children"
# Where nothing can be compiled: the same in Python, 7 MB instead of 1.
_IN_PYTHON = (
    "import os,signal as s\n"
    "s.pthread_sigmask(s.SIG_BLOCK, s.valid_signals())\n"
    "while 1:\n"
    "  try:\n"
    "    while os.waitpid(-1, os.WNOHANG)[0]: pass\n"
    "  except ChildProcessError: pass\n"
    "  s.sigwait([s.SIGCHLD])\n"
)


def living(contents: Contents, namespace: str) -> OwnedInit | None:
    """Return the init that lives in the network namespace of that name; None when there is none."""
    for entry in reversed(contents.inits):
        if entry.namespace == namespace:
            return entry if processes.has_namespaces(entry.id) else None
    return None


def ensure_init(
    record: Record,
    namespace: str,
    *,
    own: Path | None,
    cache: Path,
    resolv_conf: str = "",
    authority: Path | None = None,
) -> OwnedInit:
    """Return the init of a network namespace, a new one when there is none that lives; see `start_init`."""
    found = living(record.contents(), namespace)
    return found or start_init(record, namespace, own=own, cache=cache, resolv_conf=resolv_conf, authority=authority)


def start_init(
    record: Record,
    namespace: str,
    *,
    own: Path | None,
    cache: Path,
    resolv_conf: str = "",
    authority: Path | None = None,
) -> OwnedInit:
    """Start the init of a network namespace that has none.

    `own` is a folder that its view shows at its place, `cache` where the program is kept once it has been compiled,
    `resolv_conf` the text of its /etc/resolv.conf ("": the machine's), `authority` a file whose text it sees as
    SEEN_AUTHORITY (None, or no such file: there is none). Raises NetError.
    """
    null = os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)
    try:
        argv, executable = ["gwlbemu-init", namespace], _compiled(cache)
        if executable is None:
            argv, executable = [sys.executable, "-I", "-S", "-c", _IN_PYTHON, namespace], Path(sys.executable)
        plan = Launch(
            argv,
            dict(os.environ),
            Path("/"),
            null,
            fresh=kernel.CLONE_NEWNS | kernel.CLONE_NEWPID,
            prepare=lambda: _make_view(own, resolv_conf, authority),
            executable=executable,
        )
        with inside(path_of(namespace)):
            return launch(
                record,
                f"the init of {namespace}",
                plan,
                lambda process: OwnedInit(namespace, process.pid, process.started),
            )
    finally:
        os.close(null)


def _make_view(own: Path | None, resolv_conf: str, authority: Path | None) -> None:
    """Turn the mounts of the calling process, which are a copy of the machine's, into those of an instance."""
    kernel.mount("", "/", kernel.MS_REC | kernel.MS_SLAVE)  # nothing of it goes back to the machine
    tree = None if own is None else kernel.open_tree(str(own))
    certificate = authority.read_bytes() if authority is not None and authority.exists() else b""
    # Copies of other namespaces' names would keep those alive.
    while _unmounted(str(DIRECTORY)) or _unmounted("/run"):
        pass
    guarded = kernel.MS_NOSUID | kernel.MS_NODEV
    kernel.mount("tmpfs", "/run", guarded, kind="tmpfs", options=f"mode=755,size={RUN_BYTES}")
    if own is not None and tree is not None:
        if own.is_relative_to("/run"):
            own.mkdir(parents=True)
        kernel.move_mount(tree, str(own))
        os.close(tree)
    if certificate:
        SEEN_AUTHORITY.write_bytes(certificate)
    if resolv_conf:
        _put_resolv_conf(resolv_conf)
    kernel.mount("proc", "/proc", guarded | kernel.MS_NOEXEC, kind="proc")
    with suppress(OSError):  # refused where the machine hides a part of its own
        kernel.mount("sysfs", "/sys", guarded | kernel.MS_NOEXEC, kind="sysfs")
        # The machine's own, if it has one, is hidden by now and still in the list of mounts, where iproute2 looks.
        kernel.mount("bpf", "/sys/fs/bpf", guarded | kernel.MS_NOEXEC, kind="bpf", options="mode=700")


def _put_resolv_conf(text: str) -> None:
    """Put an own /etc/resolv.conf in front of the machine's, which may be a link to somewhere below the old /run.

    A machine that has none gets none here either: a mount needs a file to be in front of.
    """
    seen = Path(os.path.realpath("/etc/resolv.conf"))
    if seen.is_relative_to("/run"):
        seen.parent.mkdir(parents=True, exist_ok=True)
        seen.write_text(text)
    elif seen.exists():
        own = Path("/run/resolv.conf")
        own.write_text(text)
        kernel.mount(str(own), str(seen), kernel.MS_BIND)
        own.unlink()


def _unmounted(place: str) -> bool:
    try:
        kernel.unmount(place)
    except OSError:  # no mount, or no such place
        return False
    return True


def _compiled(cache: Path) -> Path | None:
    """Return init's program, compiled once into the folder `cache`; None where there is no compiler."""
    digest = hashlib.sha256(SOURCE.read_bytes()).hexdigest()[:16]
    target = cache / f"gwlbemu-init-{digest}-{os.uname().machine}"
    if target.exists():
        return target
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None:
        return None
    unfinished = target.with_name(f"{target.name}.{os.getpid()}")
    try:
        cache.mkdir(parents=True, exist_ok=True)
        subprocess.run(
            [compiler, "-O2", "-o", str(unfinished), str(SOURCE)],
            stdin=subprocess.DEVNULL, capture_output=True, check=True, timeout=COMPILE_SECONDS,
        )  # fmt: skip
        unfinished.rename(target)
    except (OSError, subprocess.SubprocessError):
        return None
    finally:
        unfinished.unlink(missing_ok=True)
    return target


class Joined(NamedTuple):
    """How to start a process of an instance: `enter` is to be called in the new process, before its program."""

    enter: Callable[[], None]


def _can_join(pids: int) -> bool:
    """Whether the way back to a pid namespace is open: from a user namespace that does not own it, it is not."""
    try:
        kernel.set_namespace(pids, kernel.CLONE_NEWPID)
    except PermissionError:
        return False
    return True


@contextmanager
def within(init: OwnedInit, directory: Path | None = None) -> Iterator[Joined]:
    """Let the calling thread's children begin in the network and pid namespace of an instance, while the block runs.

    The mount view is joined by the child (`Joined.enter`, as Popen's preexec_fn); it is in `directory` then, or where
    the caller is, or in / when the view has no such place, and has the bounds of `limits`. Where the kernel would not
    let the caller's thread back to its own pid namespace (in a user namespace without one), that one is not left.
    Raises NetError when the init is dead.
    """
    where = os.getcwd() if directory is None else str(directory)
    handle = processes.open_handle(init.id)
    if handle is None:
        raise NetError(f"the init of {init.namespace} is dead")

    def enter() -> None:
        kernel.set_namespace(handle, kernel.CLONE_NEWNS)
        try:
            os.chdir(where)
        except OSError:
            os.chdir("/")
        set_limits()

    home = -1
    pids = -1
    try:
        home, pids = os.open(CALLER, os.O_RDONLY | os.O_CLOEXEC), os.open(PID_CALLER, os.O_RDONLY | os.O_CLOEXEC)
        back = _can_join(pids)
        try:
            kernel.set_namespace(handle, kernel.CLONE_NEWNET | (kernel.CLONE_NEWPID if back else 0))
        except OSError as error:
            why = "its init has just ended" if processes.has_ended(handle) else error.strerror
            raise NetError(f"cannot enter {init.namespace}: {why}") from error
        try:
            yield Joined(enter)
        finally:
            kernel.set_namespace(home)
            if back:
                kernel.set_namespace(pids, kernel.CLONE_NEWPID)
    finally:
        for fd in (handle, home, pids):
            if fd >= 0:
                os.close(fd)
