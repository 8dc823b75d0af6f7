"""Entering a network namespace, only to open something, and leaving it at once."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from gwlbemu.errors import NetError
from gwlbemu.net import kernel

CALLER = "/proc/thread-self/ns/net"


@contextmanager
def inside(namespace: Path) -> Iterator[None]:
    """Run the block in `namespace` (a path such as /run/netns/NAME); the calling thread is back home afterwards.

    Sockets, processes and files of /proc/sys/net opened in the block belong to the namespace for as long as they live.
    Raises NetError when there is no such namespace.
    """
    home = os.open(CALLER, os.O_RDONLY)
    try:
        try:
            there = os.open(namespace, os.O_RDONLY)
            try:
                kernel.set_namespace(there)
            finally:
                os.close(there)
        except OSError as error:
            raise NetError(f"cannot enter network namespace {namespace}: {error.strerror}") from error
        try:
            yield
        finally:
            kernel.set_namespace(home)
    finally:
        os.close(home)


@contextmanager
def in_fresh_namespace() -> Iterator[None]:
    """Run the block in a new network namespace without a name; it dies with it unless the block kept a hold of it."""
    home = os.open(CALLER, os.O_RDONLY)
    try:
        kernel.unshare(kernel.CLONE_NEWNET)
        try:
            yield
        finally:
            kernel.set_namespace(home)
    finally:
        os.close(home)
