"""Programs run inside a lab's namespaces: pinned, bounded in time, and gone when the block is."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from gwlbemu.errors import NetError
from gwlbemu.lab.commands import own_module
from gwlbemu.net.inside import inside
from gwlbemu.net.namespaces import path_of

SOURCE = Path(__file__).with_name("blast.c")


@contextmanager
def running(namespace: str, argv: Sequence[str], *, core: int | None = None) -> Iterator[subprocess.Popen[str]]:
    """A program in `namespace`, on one core if given; it is killed at the end of the block if it still runs."""
    with inside(path_of(namespace)):
        process = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd="/")
    try:
        _pin(process.pid, core)
        yield process
    finally:
        process.kill()
        process.communicate()


def output(
    namespace: str, argv: Sequence[str], *, core: int | None = None, given: str | None = None, timeout: float = 10.0
) -> str:
    """Run a program to its end and return what it wrote; NetError when it fails or takes too long."""
    with inside(path_of(namespace)):
        process = subprocess.Popen(
            argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd="/"
        )
    try:
        _pin(process.pid, core)
        out, trouble = process.communicate(given, timeout=timeout)
    except subprocess.TimeoutExpired:
        raise NetError(f"{argv[0]} did not end within {timeout:g} s") from None
    finally:
        process.kill()
        process.communicate()
    if process.returncode:
        raise NetError(f"{argv[0]}: {(trouble.strip() or out.strip())[:300]}")
    return out


def cost(argv: Sequence[str]) -> tuple[float, int]:
    """Run a program whose output nobody reads; return the CPU seconds and the most bytes of memory that it took.

    NetError when it fails.
    """
    process = subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    finally:
        if process.returncode is None:
            process.kill()
            process.wait()
    if process.returncode:
        raise NetError(f"{argv[0]} ended with {process.returncode}")
    return usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024


def _pin(pid: int, core: int | None) -> None:
    if core is not None:
        with suppress(ProcessLookupError):
            os.sched_setaffinity(pid, {core})


def sender(folder: Path) -> list[str]:
    """Return the command of the packet sender: C where a compiler is, otherwise Python."""
    compiler = shutil.which("gcc") or shutil.which("cc") or shutil.which("clang")
    if compiler is None:
        return own_module("gwlbemu.bench.sender")
    program = folder / "blast"
    done = subprocess.run(
        [compiler, "-O2", str(SOURCE), "-o", str(program)], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise NetError(f"{compiler}: {done.stderr.strip()[:300]}")
    return [str(program)]


def wait_for(path: Path, timeout: float = 5.0) -> None:
    """Wait until a socket is there."""
    give_up_at = time.monotonic() + timeout
    while not path.exists():
        if time.monotonic() > give_up_at:
            raise NetError(f"{path} does not appear")
        time.sleep(0.02)
