"""What a process of ours gives up as soon as it has opened what only root can: for good, and for all that it starts.

    user          becomes the lab's own, which owns nothing but the process's own folder
    capabilities  all but the few that are named, also from the bounding set
    no_new_privs  no program that it could start gives it anything
    seccomp       system calls that it has no use for and an intruder has (to start programs, mount, trace, change
                  namespaces, modules, keys, clocks) are refused with EPERM; on x86-64 and 64-bit ARM

It happens in a process that was told whom to become (`programs.start` does that for those of a lab); one that somebody
starts by hand stays what it is. Where the kernel refuses a part, the rest is done, and `status -v` shows what there is.
"""

from __future__ import annotations

import ctypes
import os
import struct
from collections.abc import Iterable
from contextlib import suppress

NET_BIND_SERVICE, NET_ADMIN, NET_RAW = 10, 12, 13  # linux/capability.h
_LAST = 40  # CAP_CHECKPOINT_RESTORE
_PR_SET_KEEPCAPS, _PR_SET_SECCOMP, _PR_CAPBSET_DROP, _PR_SET_NO_NEW_PRIVS = 8, 22, 24, 38  # linux/prctl.h
_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL = 47, 4
_CAPABILITY_VERSION_3, _SECCOMP_MODE_FILTER = 0x20080522, 2

# linux/audit.h, and for each architecture the numbers of: execve, execveat, ptrace, process_vm_readv,
# process_vm_writev, mount, umount2, pivot_root, chroot, unshare, setns, kexec_load, init_module, finit_module,
# delete_module, add_key, request_key, keyctl, perf_event_open, userfaultfd, name_to_handle_at, open_by_handle_at,
# swapon, reboot, settimeofday, clock_settime, acct; from 424 on they are the same: pidfd_send_signal, io_uring_setup,
# open_tree, move_mount, fsopen, fsmount, pidfd_getfd, mount_setattr
_COMMON = (424, 425, 428, 429, 430, 432, 438, 442)
_REFUSED = {
    "x86_64": (
        0xC000003E,
        (59, 322, 101, 310, 311, 165, 166, 155, 161, 272, 308, 246, 175, 313, 176, 248, 249, 250, 298, 323, 303, 304,
         167, 169, 164, 227, 163),
    ),
    "aarch64": (
        0xC00000B7,
        (221, 281, 117, 270, 271, 40, 39, 41, 51, 97, 268, 104, 105, 273, 106, 217, 218, 219, 241, 282, 264, 265,
         224, 142, 170, 112, 89),
    ),
}  # fmt: skip
_LOAD, _JUMP_EQUAL, _JUMP_AT_LEAST, _RETURN = 0x20, 0x15, 0x35, 0x06  # linux/bpf_common.h: BPF_LD|W|ABS, ...
_ALLOW, _REFUSE = 0x7FFF0000, 0x00050000 | 1  # SECCOMP_RET_ALLOW, SECCOMP_RET_ERRNO with EPERM
_X32 = 0x40000000  # system calls of another kind, on x86-64

_libc = ctypes.CDLL(None, use_errno=True)
_user: int | None = None


def become(user: int) -> None:
    """Say whom this process becomes at `drop`."""
    global _user
    _user = user


def give(path: str | os.PathLike[str]) -> None:
    """Let the user whom this process becomes, and its others, have a file; no other user."""
    if _user is not None:
        with suppress(OSError):
            os.chmod(path, 0o600)
            os.chown(path, _user, _user)


def drop(keep: Iterable[int] = ()) -> None:
    """Give up everything but the capabilities `keep`; nothing happens in a process that was not told whom to become.

    To be called before the first thread is started: the kernel keeps capabilities by thread.
    """
    if _user is None:
        return
    import encodings.idna  # noqa: F401  what Python would look for later, in folders that may be root's alone
    import stringprep  # noqa: F401

    kept = set(keep)
    _prctl(_PR_SET_KEEPCAPS, 1)
    for number in range(_LAST + 1):
        if number not in kept:
            _prctl(_PR_CAPBSET_DROP, number)
    with suppress(OSError):
        os.setgroups([])
    with suppress(OSError):
        os.setresgid(_user, _user, _user)
        os.setresuid(_user, _user, _user)
    _prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL)
    _set_capabilities(sum(1 << number for number in kept))
    _prctl(_PR_SET_NO_NEW_PRIVS, 1)
    _filter_calls()


def _prctl(option: int, value: int) -> None:
    """What the kernel refuses stays as it is: `status -v` shows it."""
    _libc.prctl(option, ctypes.c_ulong(value), ctypes.c_ulong(0), ctypes.c_ulong(0), ctypes.c_ulong(0))


def _set_capabilities(mask: int) -> None:
    header = struct.pack("=Ii", _CAPABILITY_VERSION_3, 0)
    low, high = mask & 0xFFFFFFFF, mask >> 32
    _libc.capset(header, struct.pack("=6I", low, low, 0, high, high, 0))


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("instructions", ctypes.c_char_p))


def _filter_calls() -> None:
    code = filter_program(os.uname().machine)
    if code:
        program = _Program(len(code) // 8, code)
        _libc.prctl(_PR_SET_SECCOMP, ctypes.c_ulong(_SECCOMP_MODE_FILTER), ctypes.byref(program), 0, 0)


def filter_program(machine: str) -> bytes:
    """Return the classic BPF program that refuses the calls, b"" for a machine whose numbers are not known here."""
    if machine not in _REFUSED:
        return b""
    architecture, own = _REFUSED[machine]
    numbers = sorted((*own, *_COMMON))

    def line(operation: int, value: int, if_true: int = 0, if_false: int = 0) -> bytes:
        return struct.pack("=HBBI", operation, if_true, if_false, value)

    left = len(numbers)
    lines = [
        line(_LOAD, 4),  # struct seccomp_data: nr, arch, ...
        line(_JUMP_EQUAL, architecture, 0, left + 3),
        line(_LOAD, 0),
        line(_JUMP_AT_LEAST, _X32, left + 1, 0),
        *(line(_JUMP_EQUAL, number, left - place, 0) for place, number in enumerate(numbers)),
        line(_RETURN, _ALLOW),
        line(_RETURN, _REFUSE),
    ]
    return b"".join(lines)
