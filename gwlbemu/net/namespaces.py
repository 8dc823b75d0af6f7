"""Names of network namespaces under /run/netns, as iproute2 keeps them, and who is behind a name."""

from __future__ import annotations

import os
import socket
import stat
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from gwlbemu.errors import NetError
from gwlbemu.net import kernel
from gwlbemu.net.inside import CALLER, inside

DIRECTORY = Path("/run/netns")
SO_NETNS_COOKIE = 71  # linux/socket.h, since 5.14: a number that no other namespace of this boot gets


@dataclass(frozen=True, slots=True)
class Identity:
    """Which namespace it is: the inode may be given away again after its death, the cookie never is."""

    inode: int
    cookie: int


def path_of(name: str) -> Path:
    """Return the path of a named network namespace, whether it is there or not."""
    return DIRECTORY / name


def current_identity() -> Identity:
    """Identify the calling thread's own network namespace."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            cookie = int.from_bytes(probe.getsockopt(socket.SOL_SOCKET, SO_NETNS_COOKIE, 8), "little")
        except OSError:  # a kernel before 5.14
            cookie = 0
    return Identity(os.stat(CALLER).st_ino, cookie)


def identity_of(path: Path) -> Identity | None:
    """Identify the namespace behind a path (/run/netns/NAME or /proc/PID/ns/net); None when none is there."""
    with suppress(NetError), inside(path):
        return current_identity()
    return None


def prepare_directory() -> None:
    """Make /run/netns what `ip netns add` would make it: a shared mount, so that both see the same names."""
    DIRECTORY.mkdir(mode=0o755, parents=True, exist_ok=True)
    try:
        kernel.mount("", str(DIRECTORY), kernel.MS_SHARED | kernel.MS_REC)
    except OSError:  # not a mount point yet
        kernel.mount(str(DIRECTORY), str(DIRECTORY), kernel.MS_BIND | kernel.MS_REC)
        kernel.mount("", str(DIRECTORY), kernel.MS_SHARED | kernel.MS_REC)


def name_current(name: str) -> None:
    """Give the calling thread's network namespace a name; OSError (EEXIST) when the name is somebody's already."""
    path = path_of(name)
    os.close(os.open(path, os.O_RDONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0))
    kernel.mount(CALLER, str(path), kernel.MS_BIND)


def remove(name: str, identity: Identity) -> bool:
    """Take the name off our namespace; a namespace that is not the one meant stays. True when the name was ours."""
    path = path_of(name)
    found = identity_of(path)
    if found is None:
        return _remove_placeholder(path)
    if found != identity:
        return False
    kernel.unmount(str(path))
    path.unlink()
    return True


def _remove_placeholder(path: Path) -> bool:
    """Remove the empty file that a build that died just before its mount left behind."""
    with suppress(FileNotFoundError):
        found = path.lstat()
        if stat.S_ISREG(found.st_mode) and found.st_size == 0:
            path.unlink()
            return True
    return False
