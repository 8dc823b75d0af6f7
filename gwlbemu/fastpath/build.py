"""Compile the programs, once per source, and say why the fast path is not available where it is not."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

from gwlbemu.errors import NetError
from gwlbemu.fastpath import libbpf

NODE, VPC, SHARED = (Path(__file__).with_name(name) for name in ("gwlb.c", "vpc.c", "packet.h"))
CLANG_SECONDS = 60
LOOPBACK = 1  # its interface index in every namespace
_FLAGS = ("-O2", "-g", "-target", "bpf", "-mcpu=v3", "-Wall", "-Werror")


def cache_folder() -> Path:
    """Return where a user's compiled object is kept: in the virtual environment, so that it goes with it, else in
    /var/cache.
    """
    return (Path(sys.prefix) if sys.prefix != sys.base_prefix else Path("/")) / "var/cache/gwlbemu"


def compile_object(cache: Path, source: Path = NODE) -> Path:
    """Return the object file of `source`, from the folder `cache` when it has been compiled into it before.

    Raises NetError when there is no clang or it refuses the source.
    """
    clang = shutil.which("clang")
    command = [clang or "clang", *_FLAGS, f"-I/usr/include/{os.uname().machine}-linux-gnu"]
    digest = hashlib.sha256(source.read_bytes() + SHARED.read_bytes() + " ".join(_FLAGS).encode()).hexdigest()[:16]
    target = cache / f"{source.stem}-{digest}.o"
    if target.exists():
        return target
    if clang is None:
        raise NetError("no clang")
    # clang writes into our pipe: killed at any moment, neither of us leaves a file that is half an object.
    try:
        done = subprocess.run(
            [*command, "-c", str(source), "-o", "-"], capture_output=True, check=False, timeout=CLANG_SECONDS
        )
    except subprocess.TimeoutExpired:
        raise NetError(f"clang: no end after {CLANG_SECONDS} s") from None
    if done.returncode:
        said = done.stderr.decode(errors="replace")
        lines = [line for line in said.splitlines() if "error:" in line]
        raise NetError(f"clang: {lines[0] if lines else said.strip()[:200]}")
    try:
        _keep(done.stdout, target)
    except OSError as error:
        raise NetError(f"{target} cannot be written: {error.strerror}") from None
    return target


def _keep(compiled: bytes, target: Path) -> None:
    target.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    for left in target.parent.glob("*.o.*"):  # of one that was killed while it wrote
        if not Path(f"/proc/{left.suffix[1:]}").exists():
            left.unlink(missing_ok=True)
    unfinished = target.with_name(f"{target.name}.{os.getpid()}")
    try:
        unfinished.write_bytes(compiled)
        unfinished.chmod(0o644)
        unfinished.rename(target)
    finally:
        unfinished.unlink(missing_ok=True)


def missing(cache: Path, source: Path = NODE) -> str | None:
    """Return what is missing here for the program of `source`, as a sentence; None when only the kernel is left to ask.

    Compiles it into the folder `cache`.
    """
    if sys.byteorder != "little" or sys.maxsize < 2**32:
        return "not a little-endian 64-bit machine"
    if os.geteuid() != 0:
        return "no privilege: needs root"
    try:
        libbpf.library()
    except (OSError, AttributeError) as error:
        return f"no libbpf: {error}"
    try:
        compile_object(cache, source)
    except NetError as error:
        return str(error)
    return None


def available(cache: Path) -> str | None:
    """Return why there is no fast path here, as a sentence; None when there is one.

    Tries it: compiles into the folder `cache`, loads, and attaches to lo for a moment.
    """
    reason = missing(cache)
    if reason is not None:
        return reason
    try:
        path = compile_object(cache)
        with libbpf.Object(path, {"interfaces": 1, "flows4": 1, "flows6": 1}) as loaded:
            os.close(libbpf.attach_tcx(loaded.program("encap"), LOOPBACK))
    except NetError as error:
        return str(error)
    except PermissionError as error:
        return f"no privilege: {error.strerror}"
    except OSError as error:
        return f"Linux {os.uname().release} refuses (tcx needs 6.6): {error.strerror}"
    return None
