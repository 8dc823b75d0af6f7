"""What each process of a lab may do: its user, capabilities and limits, as the kernel has them now."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from gwlbemu.lab.running import RunningLab

# linux/capability.h, by number
_NAMES = (
    "chown dac_override dac_read_search fowner fsetid kill setgid setuid setpcap linux_immutable net_bind_service"
    " net_broadcast net_admin net_raw ipc_lock ipc_owner sys_module sys_rawio sys_chroot sys_ptrace sys_pacct sys_admin"
    " sys_boot sys_nice sys_resource sys_time sys_tty_config mknod lease audit_write audit_control setfcap mac_override"
    " mac_admin syslog wake_alarm block_suspend audit_read perfmon bpf checkpoint_restore"
)
CAPABILITIES = tuple(_NAMES.split())
_LIMITS = {  # /proc/PID/limits -> our word; bytes or counts
    "Max address space": "memory",
    "Max data size": "data",
    "Max file size": "file_size",
    "Max open files": "files",
    "Max processes": "processes",
}
_SECCOMP = {"0": "off", "1": "strict", "2": "filter"}


@dataclass(frozen=True, slots=True)
class Privileges:
    """What one process may do. `limits` are soft ones by name, without those that are unlimited."""

    name: str
    pid: int
    user: int  # the effective user id
    capabilities: tuple[str, ...]  # effective, the kernel's names in lower case
    no_new_privs: bool
    seccomp: str  # off | filter
    own_processes: bool  # whether it is in a pid namespace of its own, not in that of who asks
    own_files: bool  # the same of its mounts
    limits: Mapping[str, int]

    def as_dict(self) -> dict[str, Any]:
        """Return it as `gwlbemu status -v --json` prints it."""
        return asdict(self)


def read_privileges(lab: RunningLab) -> tuple[Privileges, ...]:
    """Return what each process of a lab may do; a dead one is left out. Where it is not root who asks, what he cannot
    see is False.
    """
    found = []
    for process in lab.processes():
        with suppress(OSError, KeyError):  # it has died meanwhile, or is a zombie
            if process.state not in ("dead", "ended"):
                found.append(_of(process.name, process.pid))
    return tuple(found)


def _of(name: str, pid: int) -> Privileges:
    place = Path(f"/proc/{pid}")
    fields = {
        key: value.split()
        for key, _, value in (line.partition(":") for line in (place / "status").read_text().splitlines())
        if value
    }
    mask = int(fields["CapEff"][0], 16)
    return Privileges(
        name,
        pid,
        int(fields["Uid"][1]),
        tuple(word for number, word in enumerate(CAPABILITIES) if mask >> number & 1),
        fields["NoNewPrivs"] == ["1"],
        _SECCOMP[fields["Seccomp"][0]],
        _is_another(place, "pid"),
        _is_another(place, "mnt"),
        _limits((place / "limits").read_text()),
    )


def _is_another(place: Path, kind: str) -> bool:
    with suppress(PermissionError):
        return os.readlink(place / "ns" / kind) != os.readlink(f"/proc/self/ns/{kind}")
    return False


def _limits(text: str) -> dict[str, int]:
    found = {}
    for line in text.splitlines():
        name, soft = line[:26].strip(), line[26:].split()[0]
        if name in _LIMITS and soft.isdecimal():
            found[_LIMITS[name]] = int(soft)
    return found
