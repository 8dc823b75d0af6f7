"""The few system calls that Python 3.11 does not offer: namespaces and mounts."""

from __future__ import annotations

import ctypes
import os

CLONE_NEWNET = 0x40000000
MS_BIND, MS_REC, MS_SHARED, MNT_DETACH = 1 << 12, 1 << 14, 1 << 20, 2

_libc = ctypes.CDLL(None, use_errno=True)


def _check(result: int) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def unshare_network() -> None:
    """Put the calling thread into a fresh network namespace."""
    _check(_libc.unshare(CLONE_NEWNET))


def set_namespace(fd: int) -> None:
    """Put the calling thread into the network namespace that `fd` refers to; OSError when it is something else."""
    _check(_libc.setns(fd, CLONE_NEWNET))


def mount(source: str, target: str, flags: int) -> None:
    """Mount `source` on `target` with the MS_ flags of mount(2), without a file system of its own. Raises OSError."""
    _check(_libc.mount(source.encode(), target.encode(), b"none", ctypes.c_ulong(flags), None))


def unmount(target: str) -> None:
    """Take the topmost mount off `target`; the kernel lets go of it when its last user does."""
    _check(_libc.umount2(target.encode(), MNT_DETACH))
