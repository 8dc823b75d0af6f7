"""Packet sockets at the eth0 of instances, and at the ENI of load balancers' nodes: what they send and what arrives,
with the kernel's own time.
"""

from __future__ import annotations

import select
import socket
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager

from gwlbemu.net.inside import inside
from gwlbemu.net.namespaces import path_of
from gwlbemu.topology.plan.values import AddressedNode, Instance
from gwlbemu.trials.frame_sockets import (
    ANCILLARY,
    ETH_P_ALL,
    IP_TYPES,
    PACKET_OUTGOING,
    SO_TIMESTAMPNS,
    stamped_at,
    wait_for_stamps,
)
from gwlbemu.trials.recognise import SeenPacket


class Watchers:
    """One socket at each of some instances and nodes; `of` has them by name."""

    def __init__(self, sockets: dict[str, socket.socket]) -> None:
        self.of = sockets
        self._names = {sock: name for name, sock in sockets.items()}
        # The kernel stamps packets with the wall clock. Whoever is kept waiting between the two looks sees too little.
        self._behind = max(time.time() - time.monotonic() for _ in range(5))

    def collect(self, timeout: float) -> list[SeenPacket]:
        """Return what has come, and wait for the first up to `timeout` seconds."""
        seen: list[SeenPacket] = []
        ready, _, _ = select.select(list(self._names), [], [], timeout)
        for sock in ready:
            while True:
                try:
                    frame, ancillary, _, address = sock.recvmsg(65535, ANCILLARY)
                except BlockingIOError:
                    break
                if frame[12:14] in IP_TYPES:
                    at, outgoing = stamped_at(ancillary) / 1e9 - self._behind, address[2] == PACKET_OUTGOING
                    seen.append(SeenPacket(at, self._names[sock], frame[14:], outgoing))
        return seen


@contextmanager
def watching(ends: Iterable[Instance | AddressedNode]) -> Iterator[Watchers]:
    """Watch the interfaces of instances and nodes while the block runs. Raises NetError for one that is gone."""
    with ExitStack() as stack:
        watched = list(ends)
        watchers = Watchers({each.name: stack.enter_context(_packet_socket(each)) for each in watched})
        for one in watched[:1]:
            with inside(path_of(one.namespace)):
                wait_for_stamps()
        yield watchers


@contextmanager
def _packet_socket(end: Instance | AddressedNode) -> Iterator[socket.socket]:
    with inside(path_of(end.namespace)):
        sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    with sock:
        sock.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
        with inside(path_of(end.namespace)):
            sock.bind((end.device if isinstance(end, AddressedNode) else "eth0", ETH_P_ALL))
        sock.setblocking(False)
        yield sock
