"""The machine that a run was made on, and what a process of a lab takes of it."""

from __future__ import annotations

import os
import re
from pathlib import Path


def describe() -> dict[str, str]:
    """Return CPU model, cores, memory and kernel, in words."""
    return {
        "cpu": cpu_model(Path("/proc/cpuinfo").read_text()),
        "cores": str(len(os.sched_getaffinity(0))),
        "memory": f"{os.sysconf('SC_PHYS_PAGES') * os.sysconf('SC_PAGE_SIZE') / 2**30:.0f} GiB",
        "kernel": f"{os.uname().sysname} {os.uname().release} {os.uname().machine}",
    }


def cpu_model(cpuinfo: str) -> str:
    """Return the name in /proc/cpuinfo; a virtual machine may hide it."""
    found = re.search(r"^model name\s*:\s*(.+)$", cpuinfo, re.MULTILINE)
    return found[1].strip() if found else "unknown"


def load() -> float:
    """Return the number of processes that want a core, on average over a minute."""
    return os.getloadavg()[0]


def free_memory() -> int:
    """Return the bytes of memory that are free to use (MemAvailable)."""
    return kilobytes(Path("/proc/meminfo").read_text(), "MemAvailable")


def resident(pid: int) -> int:
    """Return the resident memory of a process, in bytes."""
    return kilobytes(Path(f"/proc/{pid}/status").read_text(), "VmRSS")


def kilobytes(text: str, key: str) -> int:
    """Return the value of a line `key:  123 kB`, in bytes; 0 when there is none."""
    found = re.search(rf"^{key}:\s*(\d+) kB$", text, re.MULTILINE)
    return int(found[1]) * 1024 if found else 0


def map_memory(pid: int) -> int:
    """Return the bytes that the kernel accounts to the BPF maps a process holds (memlock in fdinfo)."""
    total = 0
    seen = set()
    for info in Path(f"/proc/{pid}/fdinfo").iterdir():
        try:
            text = info.read_text()
        except OSError:
            continue
        identity, memory = re.search(r"^map_id:\s*(\d+)", text, re.M), re.search(r"^memlock:\s*(\d+)", text, re.M)
        if identity and memory and identity[1] not in seen:
            seen.add(identity[1])
            total += int(memory[1])
    return total


def cores() -> tuple[int, int]:
    """Return the core of the senders and the core of node processes: two different ones, if there are two."""
    usable = sorted(os.sched_getaffinity(0))
    return usable[0], usable[1] if len(usable) > 1 else usable[0]
