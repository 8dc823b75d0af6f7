"""What one process of a lab may take of the machine (getrlimit(2))."""

from __future__ import annotations

import resource

# Soft and hard. Memory is what a process writes to alone: a node with two million flows has less than 2 GiB; rings and
# maps of the kernel's do not count. A process that wants more is refused by the kernel as where memory is used up, and
# the others go on.
LIMITS = {
    resource.RLIMIT_DATA: (4 << 30, 4 << 30),  # bytes of memory
    resource.RLIMIT_NOFILE: (4096, 65536),  # open files
    resource.RLIMIT_FSIZE: (16 << 30, 16 << 30),  # bytes of one file
    resource.RLIMIT_CORE: (0, 0),
}


def set_limits() -> None:
    """Bound what the calling process and its children may take of the machine; a limit that is lower already stays."""
    for number, (soft, hard) in LIMITS.items():
        now = resource.getrlimit(number)[1]
        most = hard if now == resource.RLIM_INFINITY else min(hard, now)
        resource.setrlimit(number, (min(soft, most), most))
