"""The few system calls that Python 3.11 does not offer: namespaces and mounts."""

from __future__ import annotations

import ctypes
import os

CLONE_NEWNET, CLONE_NEWNS, CLONE_NEWPID = 0x40000000, 0x00020000, 0x20000000
MS_NOSUID, MS_NODEV, MS_NOEXEC = 1 << 1, 1 << 2, 1 << 3
MS_BIND, MS_REC, MS_SLAVE, MS_SHARED, MNT_DETACH = 1 << 12, 1 << 14, 1 << 19, 1 << 20, 2
_OPEN_TREE, _MOVE_MOUNT = 428, 429  # the same number on every architecture, since Linux 5.2
_AT_FDCWD, _OPEN_TREE_CLONE, _MOVE_MOUNT_F_EMPTY_PATH = -100, 1, 4

_libc = ctypes.CDLL(None, use_errno=True)


def _check(result: int) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def unshare(kinds: int) -> None:
    """Put the calling thread into fresh namespaces of the `kinds` (CLONE_NEW flags); of pids: its next child."""
    _check(_libc.unshare(kinds))


def set_namespace(fd: int, kinds: int = CLONE_NEWNET) -> None:
    """Put the calling thread into the namespace that `fd` refers to, or into those of the process behind a pidfd.

    `kinds` are CLONE_NEW flags; OSError when it is something else. Of pids: the thread's next child is there.
    """
    _check(_libc.setns(fd, kinds))


def mount(source: str, target: str, flags: int, *, kind: str = "none", options: str = "") -> None:
    """Mount `source` on `target` with the MS_ flags of mount(2); `kind` is a file system. Raises OSError."""
    data = options.encode() or None
    _check(_libc.mount(source.encode(), target.encode(), kind.encode(), ctypes.c_ulong(flags), data))


def unmount(target: str) -> None:
    """Take the topmost mount off `target`; the kernel lets go of it when its last user does."""
    _check(_libc.umount2(target.encode(), MNT_DETACH))


def open_tree(path: str) -> int:
    """Return a descriptor on a copy of the mount at `path`, for `move_mount`; the caller closes it. Raises OSError."""
    fd: int = _libc.syscall(_OPEN_TREE, _AT_FDCWD, path.encode(), _OPEN_TREE_CLONE | os.O_CLOEXEC)
    if fd < 0:
        _check(fd)
    return fd


def move_mount(tree: int, target: str) -> None:
    """Mount on `target` what `open_tree` has opened. Raises OSError."""
    _check(_libc.syscall(_MOVE_MOUNT, tree, b"", _AT_FDCWD, target.encode(), _MOVE_MOUNT_F_EMPTY_PATH))
