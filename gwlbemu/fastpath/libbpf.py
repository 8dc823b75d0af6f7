"""The calls of libbpf.so.1 that are used here, through ctypes, and nothing more: libbpf reads the object, the kernel
keeps the maps.

A tcx link is a file descriptor: it, its program and maps are gone when the process is, however it ends. A tc filter
stays, with its program and maps, until its interface goes.
"""

from __future__ import annotations

import ctypes
import errno
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType

OUR_FILTER = 0x6777  # the handle by which ours is told from other filters of the same priority
_TC_INGRESS, _TC_REPLACE = 1, 1  # <bpf/libbpf.h>: BPF_TC_INGRESS, BPF_TC_F_REPLACE
TCX_INGRESS = 46  # <linux/bpf.h>: enum bpf_attach_type, Linux 6.6
ANY, NOEXIST = 0, 1
_SILENCE = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_int, ctypes.c_char_p, ctypes.c_void_p)
_libbpf: ctypes.CDLL | None = None
_silence = _SILENCE(lambda level, text, arguments: 0)


class _TestRun(ctypes.Structure):
    """struct bpf_test_run_opts."""

    _fields_ = (
        ("size", ctypes.c_size_t),
        ("data_in", ctypes.c_void_p),
        ("data_out", ctypes.c_void_p),
        ("data_size_in", ctypes.c_uint32),
        ("data_size_out", ctypes.c_uint32),
        ("context_in", ctypes.c_void_p),
        ("context_out", ctypes.c_void_p),
        ("context_size_in", ctypes.c_uint32),
        ("context_size_out", ctypes.c_uint32),
        ("result", ctypes.c_uint32),
        ("repeat", ctypes.c_int),
        ("flags", ctypes.c_uint32),
        ("cpu", ctypes.c_uint32),
        ("duration", ctypes.c_uint32),
        ("batch_size", ctypes.c_uint32),
    )


class _TcHook(ctypes.Structure):
    """struct bpf_tc_hook of <bpf/libbpf.h>."""

    _fields_ = (
        ("size", ctypes.c_size_t),
        ("interface_index", ctypes.c_int),
        ("attach_point", ctypes.c_int),
        ("parent", ctypes.c_uint32),
    )


class _TcFilter(ctypes.Structure):
    """struct bpf_tc_opts of <bpf/libbpf.h>."""

    _fields_ = (
        ("size", ctypes.c_size_t),
        ("program", ctypes.c_int),
        ("flags", ctypes.c_uint32),
        ("program_id", ctypes.c_uint32),
        ("handle", ctypes.c_uint32),
        ("priority", ctypes.c_uint32),
    )


def library() -> ctypes.CDLL:
    """Return libbpf, loaded on first use. OSError when the machine has none."""
    global _libbpf
    if _libbpf is None:
        lib = ctypes.CDLL("libbpf.so.1", use_errno=True)
        pointer, number, text = ctypes.c_void_p, ctypes.c_int, ctypes.c_char_p
        for name, result, arguments in (
            ("libbpf_set_print", pointer, (_SILENCE,)),
            ("bpf_object__open_file", pointer, (text, pointer)),
            ("bpf_object__load", number, (pointer,)),
            ("bpf_object__close", None, (pointer,)),
            ("bpf_object__find_map_by_name", pointer, (pointer, text)),
            ("bpf_object__find_program_by_name", pointer, (pointer, text)),
            ("bpf_map__fd", number, (pointer,)),
            ("bpf_map__key_size", ctypes.c_uint32, (pointer,)),
            ("bpf_map__value_size", ctypes.c_uint32, (pointer,)),
            ("bpf_map__set_max_entries", number, (pointer, ctypes.c_uint32)),
            ("bpf_program__fd", number, (pointer,)),
            ("bpf_link_create", number, (number, number, number, pointer)),
            ("bpf_tc_hook_create", number, (pointer,)),
            ("bpf_tc_attach", number, (pointer, pointer)),
            ("bpf_tc_detach", number, (pointer, pointer)),
            ("bpf_prog_test_run_opts", number, (number, pointer)),
            ("bpf_map_update_elem", number, (number, text, text, ctypes.c_uint64)),
            ("bpf_map_lookup_elem", number, (number, text, pointer)),
            ("bpf_map_lookup_and_delete_elem", number, (number, text, pointer)),
            ("bpf_map_lookup_batch", number, (number, pointer, pointer, pointer, pointer, pointer, pointer)),
            ("libbpf_num_possible_cpus", number, ()),
        ):
            function = getattr(lib, name)
            function.restype, function.argtypes = result, arguments
        lib.libbpf_set_print(_silence)
        _libbpf = lib
    return _libbpf


def _check(result: int, what: str) -> int:
    if result < 0:
        raise OSError(-result, f"{what}: {os.strerror(-result)}")
    return result


class Map:
    """A map of a loaded object. Keys and values are bytes of the map's sizes (a per-CPU array's value: one for each
    CPU).
    """

    def __init__(self, descriptor: int, key_size: int, value_size: int) -> None:
        self._lib = library()
        self.descriptor, self.key_size, self.value_size = descriptor, key_size, value_size
        self._value = ctypes.create_string_buffer(max(value_size, 8) * (self._lib.libbpf_num_possible_cpus() + 1))

    def update(self, key: bytes, value: bytes) -> None:
        """Write an entry. OSError E2BIG when the map is full."""
        _check(self._lib.bpf_map_update_elem(self.descriptor, key, value, ANY), "writing a map entry")

    def insert(self, key: bytes, value: bytes) -> bool:
        """Write an entry unless there is one; return whether it was written. OSError E2BIG when the map is full."""
        result = self._lib.bpf_map_update_elem(self.descriptor, key, value, NOEXIST)
        if result == -errno.EEXIST:
            return False
        _check(result, "writing a map entry")
        return True

    def lookup(self, key: bytes) -> bytes | None:
        """Return the value of an entry, None when there is none."""
        return self._get(self._lib.bpf_map_lookup_elem(self.descriptor, key, self._value))

    def pop(self, key: bytes) -> bytes | None:
        """Take the entry out and return its last value, None when there was none."""
        return self._get(self._lib.bpf_map_lookup_and_delete_elem(self.descriptor, key, self._value))

    def lookup_cpus(self, key: bytes) -> list[bytes]:
        """Return a per-CPU array's value, one for each possible CPU."""
        _check(self._lib.bpf_map_lookup_elem(self.descriptor, key, self._value), "reading a map entry")
        size = (self.value_size + 7) & ~7
        return [self._value.raw[i * size : (i + 1) * size] for i in range(self._lib.libbpf_num_possible_cpus())]

    def _get(self, result: int) -> bytes | None:
        if result == -errno.ENOENT:
            return None
        _check(result, "reading a map entry")
        return self._value.raw[: self.value_size]

    def batches(self, size: int) -> Iterator[tuple[bytes, bytes]]:
        """Walk a hash map: about `size` entries at a time as (keys, values), each one block of bytes.

        Entries that come or go meanwhile may be seen or not; one that stays is seen once.
        """
        keys, values = (
            ctypes.create_string_buffer(size * self.key_size),
            ctypes.create_string_buffer(size * self.value_size),
        )
        here, there = (
            ctypes.create_string_buffer(max(self.key_size, 8)),
            ctypes.create_string_buffer(max(self.key_size, 8)),
        )
        start, more = None, True
        while more:
            count = ctypes.c_uint32(size)
            result = self._lib.bpf_map_lookup_batch(
                self.descriptor, start, there, keys, values, ctypes.byref(count), None
            )
            if result == -errno.ENOSPC:  # one bucket holds more than fits
                size *= 2
                keys = ctypes.create_string_buffer(size * self.key_size)
                values = ctypes.create_string_buffer(size * self.value_size)
                continue
            if result != -errno.ENOENT:  # which means: this was the last batch
                _check(result, "reading map entries")
            more = result == 0
            found = count.value
            yield ctypes.string_at(keys, found * self.key_size), ctypes.string_at(values, found * self.value_size)
            here, there = there, here
            start = here


class Object:
    """A compiled object file in the kernel: its maps and programs. Close it when done, or use it in a `with`."""

    def __init__(self, path: Path, sizes: Mapping[str, int]) -> None:
        """Open, give the maps of `sizes` room for that many entries, load. OSError when the kernel refuses."""
        self._lib = library()
        self._object = self._lib.bpf_object__open_file(os.fsencode(path), None)
        if not self._object:
            error = ctypes.get_errno()
            raise OSError(error, f"opening {path.name}: {os.strerror(error)}")
        try:
            for name, size in sizes.items():
                _check(self._lib.bpf_map__set_max_entries(self._find_map(name), size), f"the size of map {name}")
            _check(self._lib.bpf_object__load(self._object), f"loading {path.name}")
        except OSError:
            self.close()
            raise

    def _find_map(self, name: str) -> int:
        found: int | None = self._lib.bpf_object__find_map_by_name(self._object, name.encode())
        if not found:
            raise OSError(errno.ENOENT, f"no map {name}")
        return found

    def map(self, name: str) -> Map:
        """Return a map by the name it has in the source. OSError ENOENT when there is none."""
        found = self._find_map(name)
        return Map(
            _check(self._lib.bpf_map__fd(found), f"map {name}"),
            self._lib.bpf_map__key_size(found),
            self._lib.bpf_map__value_size(found),
        )

    def program(self, name: str) -> int:
        """Return the descriptor of a program, which belongs to the object. OSError ENOENT when there is none."""
        found = self._lib.bpf_object__find_program_by_name(self._object, name.encode())
        if not found:
            raise OSError(errno.ENOENT, f"no program {name}")
        return _check(self._lib.bpf_program__fd(found), f"program {name}")

    def close(self) -> None:
        """Give programs and maps back; twice is harmless."""
        if self._object:
            self._lib.bpf_object__close(self._object)
            self._object = None

    def __enter__(self) -> Object:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def attach_tcx(program: int, interface_index: int) -> int:
    """Put a tc program on the ingress of an interface of the current namespace.

    Returns the link, a descriptor that holds it there until it is closed. OSError when the kernel refuses.
    """
    return _check(library().bpf_link_create(program, interface_index, TCX_INGRESS, None), "attaching a tcx program")


def attach_filter(program: int, interface_index: int) -> None:
    """Make a tc program a first filter (priority 1) of what comes in at an interface of the current namespace.

    It takes the place of an earlier one of ours and stays until `detach_filter` or until the interface is gone. OSError
    when the kernel refuses.
    """
    hook, filter_ = _hook(interface_index), _filter(program)
    made = library().bpf_tc_hook_create(ctypes.byref(hook))
    if made != -errno.EEXIST:  # the hook may be there, for somebody else's filters
        _check(made, "making a tc hook")
    _check(library().bpf_tc_attach(ctypes.byref(hook), ctypes.byref(filter_)), "attaching a tc filter")


def detach_filter(interface_index: int) -> None:
    """Undo `attach_filter`. OSError ENOENT when there is no such filter."""
    hook, filter_ = _hook(interface_index), _filter(0)
    _check(library().bpf_tc_detach(ctypes.byref(hook), ctypes.byref(filter_)), "detaching a tc filter")


def _hook(interface_index: int) -> _TcHook:
    return _TcHook(ctypes.sizeof(_TcHook), interface_index, _TC_INGRESS, 0)


def _filter(program: int) -> _TcFilter:
    return _TcFilter(ctypes.sizeof(_TcFilter), program, _TC_REPLACE if program else 0, 0, OUR_FILTER, 1)


def run_once(program: int, frame: bytes, context: bytes) -> tuple[int, bytes]:
    """Run a tc program on one frame (BPF_PROG_TEST_RUN); return its verdict and the frame afterwards. `context` is a
    __sk_buff.
    """
    out = ctypes.create_string_buffer(len(frame) + 256)
    data, given = ctypes.create_string_buffer(frame, len(frame)), ctypes.create_string_buffer(context, len(context))
    run = _TestRun(
        size=ctypes.sizeof(_TestRun),
        data_in=ctypes.addressof(data),
        data_size_in=len(frame),
        data_out=ctypes.addressof(out),
        data_size_out=len(out),
        context_in=ctypes.addressof(given),
        context_size_in=len(context),
        repeat=1,
    )
    _check(library().bpf_prog_test_run_opts(program, ctypes.byref(run)), "running a program once")
    return run.result, out.raw[: run.data_size_out]
