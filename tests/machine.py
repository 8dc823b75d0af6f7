"""The part of the machine that a test run has to itself, and what is left in it.

As root a run moves into a fresh network namespace and a fresh mount namespace with an empty /run, so that nothing it
sends or makes can meet the machine's own network or a running lab.
"""

from __future__ import annotations

import ctypes
import os
from pathlib import Path

CLONE_NEWNS, CLONE_NEWNET, MS_REC, MS_PRIVATE = 0x00020000, 0x40000000, 0x4000, 1 << 18
NETNS = Path("/run/netns")
MARK = "GWLBEMU_TEST_RUN"  # in the environment of whatever a test starts, also where it has a mount view of its own


def isolate() -> None:
    """Move this process into namespaces of its own, and mark what it starts. As root; OSError when refused."""
    libc = ctypes.CDLL(None, use_errno=True)

    def check(result: int, what: str) -> None:
        if result != 0:
            raise OSError(ctypes.get_errno(), f"{what}: {os.strerror(ctypes.get_errno())}")

    check(libc.unshare(CLONE_NEWNS | CLONE_NEWNET), "unshare")
    check(libc.mount(b"none", b"/", None, MS_REC | MS_PRIVATE, None), "make / private")
    check(libc.mount(b"tmpfs", b"/run", b"tmpfs", 0, b"mode=755"), "mount an empty /run")
    os.environ[MARK] = str(os.getpid())


def namespaces() -> set[str]:
    """Return the names of the network namespaces."""
    return set(os.listdir(NETNS)) if NETNS.exists() else set()


def strays() -> set[str]:
    """Processes in our mount namespace, or begun with our mark: a daemon that a test forgot, whoever its parent is."""
    named = {path.stat().st_ino for path in NETNS.iterdir()} if NETNS.exists() else set()
    ours, mark = os.readlink("/proc/self/ns/mnt"), f"{MARK}={os.environ[MARK]}".encode()
    found = set()
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                zombie = (entry / "stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"
                marked = mark in (entry / "environ").read_bytes().split(b"\0")
                words = (entry / "cmdline").read_text(errors="replace").replace("\0", " ")
                # An init belongs to a lab that is up, from the first command in an instance on.
                of_a_lab = words.startswith("gwlbemu-init") and (entry / "ns/net").stat().st_ino in named
                if not zombie and not of_a_lab and (marked or os.readlink(entry / "ns/mnt") == ours):
                    found.add(f"{entry.name} {words}")
            except OSError:
                continue
    return found
