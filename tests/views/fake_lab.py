"""A lab whose processes are threads of the test: a real plan and real control sockets, and no namespace."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gwlbemu.lab.running import Process, RunningLab
from gwlbemu.lab.state import State
from gwlbemu.topology.names import RESOLVER
from gwlbemu.topology.plan.resolve import load
from tests.lab.worlds import world

Answer = Callable[[dict[str, Any]], Mapping[str, Any]]
NODES = ("inspect-node-a", "inspect-node-b")


@dataclass(frozen=True)
class FakeLab(RunningLab):
    """A lab of two zones; `states` are those of its processes by name, all others of the plan were never started."""

    states: dict[str, str] = field(default_factory=dict)

    def processes(self) -> list[Process]:
        return [
            Process(name, f"world-{name}", 1, state, str(self.state.log(name))) for name, state in self.states.items()
        ]


def fake_lab(root: Path, *, capture: bool = False, **states: str) -> FakeLab:
    """A lab in the folder `root`. `states`: with _ for -, such as inspect_node_a="frozen".

    The nodes, the resolver and the capture run by default.
    """
    text = world({"fw-a": "a", "fw-b": "b"}) + f"capture: {{enabled: {str(capture).lower()}}}\n"
    state = State("world", root)
    state.make_folders()
    state.make_own(RESOLVER, user=0)
    state.control(RESOLVER).touch()  # it is ready
    known = dict.fromkeys((*NODES, RESOLVER, *(["capture"] if capture else [])), "running") | {
        name.replace("_", "-"): value for name, value in states.items()
    }
    return FakeLab(load(text, "world.yaml"), state, known)


@contextmanager
def answering(lab: RunningLab, name: str, verbs: Mapping[str, Answer]) -> Iterator[list[str]]:
    """Answer at the control socket of a process while the block runs; yields the verbs it was asked for, in order."""
    asked: list[str] = []
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        lab.state.make_own(name, user=0)
        listener.bind(str(lab.state.control(name)))
        listener.listen()

        def serve() -> None:
            with suppress(OSError):  # the listener is shut down
                while True:
                    connection, _ = listener.accept()
                    with connection, connection.makefile("rwb") as stream:
                        request = json.loads(stream.readline())
                        verb = request.pop("verb")
                        asked.append(verb)
                        answer = verbs[verb](request) if verb in verbs else {"ok": False, "error": "no", "code": "X"}
                        stream.write(json.dumps({"ok": True, **answer}).encode() + b"\n")

        server = threading.Thread(target=serve)
        server.start()
        try:
            yield asked
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            server.join()


def target(name: str, state: str = "healthy", **others: Any) -> dict[str, Any]:
    """A target as a node answers it."""
    numbers = {"flows": 0, "packets_to": 0, "packets_from": 0}
    words = {"address": "10.254.1.11", "zone": "a", "reason": "", "description": ""}
    return {"id": name, "state": state, **words, **numbers, **others}


def flow(port: int) -> dict[str, Any]:
    """A flow as a node answers it."""
    return {
        "endpoint": "vpce-a", "protocol": 6, "source": "198.51.100.10", "source_port": port,
        "destination": "10.0.1.10", "destination_port": 80, "target": "fw-a", "cookie": "0x0000002a",
        "outer_source_port": 50000, "age_seconds": 1.0, "idle_seconds": 0.5, "expires_in_seconds": 349.5,
        "packets": 3, "packets_to": 2, "packets_from": 1, "bytes": 180, "moves": 0,
    }  # fmt: skip


def node_status(name: str, *targets: dict[str, Any]) -> dict[str, Any]:
    """What a node answers to `status`."""
    port = {"name": "eni", "frames_in": 5, "verdicts": 4, "socket_drops": 1, "frames_out": 4, "unsent": 0, "tagged": 0}
    return {
        "name": name, "load_balancer": "inspect", "zone": name[-1], "datapath": "ebpf", "datapath_reason": "",
        "fastpath": {"carried": 7}, "faults": {}, "uptime_seconds": 2.5, "ports": [port],
        "discards": {"told": 1, "untold": 0}, "targets": list(targets),
    }  # fmt: skip
