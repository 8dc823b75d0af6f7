"""What a process gives up, tried by one that did."""

from __future__ import annotations

import os
import struct
import subprocess
import sys

import pytest

from gwlbemu.ports import privileges

USER = 65528
DROP = f"""
import ctypes, os, socket, subprocess, sys
from gwlbemu.ports import privileges
privileges.become({USER})
privileges.drop(keep=[privileges.NET_BIND_SERVICE])
"""
TRIES = {
    "start a program": "os.execv('/bin/true', ['true'])",
    "open a raw socket": "socket.socket(socket.AF_PACKET, socket.SOCK_RAW)",
    "become root": "os.setuid(0)",
    "read what is root's": "open('/etc/shadow').read()",
    "signal another": "os.kill(os.getppid(), 0)",
    "change the host's name": "socket.sethostname('x')",
    **{
        name: f"libc=ctypes.CDLL(None, use_errno=True); r=libc.{call}\nif r: raise OSError(ctypes.get_errno(), 'x')"
        for name, call in {
            "unshare": "unshare(0x10000000)",
            "mount": "mount(b'none', b'/mnt', b'tmpfs', 0, None)",
            "trace": "ptrace(16, os.getppid(), 0, 0)",
        }.items()
    },
}


def run(script: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", DROP + script], capture_output=True, text=True, timeout=60)


@pytest.mark.namespace
@pytest.mark.parametrize("attempt", TRIES)
def test_what_was_given_up_is_refused(attempt: str) -> None:
    with_privileges = "print('began')\n" + TRIES[attempt]
    done = run(with_privileges)
    assert done.stdout == "began\n"
    assert done.returncode == 1
    assert "PermissionError" in done.stderr


@pytest.mark.namespace
def test_what_is_kept_works() -> None:
    script = "s = socket.create_server(('127.0.0.1', 80)); print(os.getresuid(), os.getresgid(), os.getgroups())"
    with_loopback = ["unshare", "-n", "sh", "-c", 'ip link set lo up; exec "$@"', "sh", sys.executable, "-c"]
    done = subprocess.run([*with_loopback, DROP + script], capture_output=True, text=True, timeout=60)
    assert done.stderr == ""
    assert done.stdout == f"({USER}, {USER}, {USER}) ({USER}, {USER}, {USER}) []\n"


@pytest.mark.namespace
def test_threads_and_connections_still_work_and_names_are_looked_up() -> None:
    script = """
import threading
t = threading.Thread(target=lambda: print('thread')); t.start(); t.join()
a, b = socket.socketpair(); a.send(b'x'); print(b.recv(1)); 'ä.example'.encode('idna')
"""
    done = run(script)
    assert (done.stdout, done.stderr) == ("thread\nb'x'\n", "")


def test_nothing_happens_in_a_process_that_was_not_told_whom_to_become() -> None:
    before = os.getresuid(), open_status()
    privileges.drop()
    assert (os.getresuid(), open_status()) == before


def open_status() -> list[str]:
    with open("/proc/self/status") as status:
        return [line for line in status if line.startswith(("Cap", "NoNewPrivs", "Seccomp:", "Uid"))]


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
def test_each_jump_of_the_filter_ends_at_one_of_the_two_answers(machine: str) -> None:
    code = privileges.filter_program(machine)
    lines = [struct.unpack_from("=HBBI", code, at) for at in range(0, len(code), 8)]

    def answer(architecture: int, number: int) -> int:
        place, accumulator = 0, 0
        while True:
            operation, if_true, if_false, value = lines[place]
            if operation == 0x20:
                accumulator = architecture if value == 4 else number
            elif operation == 0x06:
                return int(value)
            else:
                true = accumulator == value if operation == 0x15 else accumulator >= value
                place += if_true if true else if_false
            place += 1

    ours = {"x86_64": (0xC000003E, 59, 0), "aarch64": (0xC00000B7, 221, 63)}[machine]
    architecture, execve, read = ours
    assert answer(architecture, read) == 0x7FFF0000
    assert answer(architecture, execve) == answer(architecture, 442) == answer(architecture, 0x40000000) == 0x00050001
    assert answer(0x40000003, read) == 0x00050001  # another architecture's calls
    assert privileges.filter_program("vax") == b""
