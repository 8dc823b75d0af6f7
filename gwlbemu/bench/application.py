"""An application load balancer, measured: its lab, the same with a ten-line HAProxy in its place, and loads.

    client 10.0.1.10 -- subnet -- node 10.0.3.254 -- subnet -- server 10.0.2.10, an HAProxy that answers at once

The ten-line HAProxy runs in the namespace of the same lab's node, without keeper and engine, and logs nothing either.
Load is wrk's: what is written in Python would be the slowest of all.
"""

from __future__ import annotations

import os
import re
import shutil
import socket
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

from gwlbemu.bench import machine, tools
from gwlbemu.errors import NetError
from gwlbemu.lab import change
from gwlbemu.lab.engines import haproxy, proxy_name
from gwlbemu.lab.running import RunningLab
from gwlbemu.net.inside import inside
from gwlbemu.net.namespaces import path_of
from gwlbemu.topology.plan.resolve import load
from gwlbemu.topology.plan.values import ApplicationNode, Plan
from gwlbemu.trials.drill.application import outcomes_of, start_requests

CLIENT, SERVER, PORT = "10.0.1.10", "10.0.2.10", 80
CONNECTIONS, STEADY = 32, 20  # of wrk; of the requests under which the text is changed
SPARE_FILES = 1000  # of a process, beside its connections
ANSWER_SECONDS = 5.0
_LAB = """
lab: {lab}
capture: {{enabled: false}}
vpcs:
  - name: app
    cidr: 10.0.0.0/16
    subnets:
      - {{name: clients, zone: a, cidr: 10.0.1.0/24}}
      - {{name: servers, zone: a, cidr: 10.0.2.0/24}}
      - {{name: front-a, zone: a, cidr: 10.0.3.0/24}}
      - {{name: front-b, zone: b, cidr: 10.0.4.0/24}}
    instances:
      - {{name: client, subnet: clients, address: {client}}}
      - {{name: server, subnet: servers, address: {server}}}
target_groups:
  - name: servers
    vpc: app
    protocol: HTTP
    port: {port}
    target_type: instance
    health_check: {{protocol: HTTP, path: /, interval_seconds: 5, timeout_seconds: 2, healthy_threshold_count: 2}}
    targets: [server]
load_balancers:
  - name: front
    type: application
    scheme: internal
    subnets: [front-a, front-b]
    listeners: [{{protocol: HTTP, port: {port}, default_actions: [{{type: forward, target_group: servers}}]}}]
"""
_SERVER = f"""
defaults
  mode http
  timeout client 300s
  timeout server 10s
  timeout connect 10s
frontend all
  bind {SERVER}:{PORT}
  http-request return status 200 content-type text/plain string "{"x" * 100}"
"""
_TEN_LINES = """
defaults
  mode http
  timeout client 60s
  timeout server 60s
  timeout connect 10s
frontend all
  bind {node}:{port}
  default_backend servers
backend servers
  server one {server}:{port}
"""
_GLOBAL = "global\n  nbthread 1\n"


def application_plan(lab: str) -> Plan:
    """Return the plan of the lab, whose server has no program yet (see `serving`)."""
    text = _LAB.format(lab=lab, client=CLIENT, server=SERVER, port=PORT)
    return load(text, "the benchmark's own lab")


def without_load_balancer(plan: Plan) -> Plan:
    """Return the same lab without keepers and engines in its nodes."""
    return replace(plan, application_nodes=())


@dataclass(frozen=True, slots=True)
class Front:
    """What requests go through: an application load balancer's node, or the ten lines in its namespace."""

    name: str
    lab: RunningLab
    node: ApplicationNode
    client: str  # a namespace


def front_of(name: str, lab: RunningLab, plan: Plan) -> Front:
    """Return the front of a lab of `application_plan`."""
    client = next(each.namespace for each in plan.instances if each.name == "client")
    return Front(name, lab, plan.application_nodes[0], client)


def begin(stack: ExitStack, lab: RunningLab, plan: Plan, folder: Path, *, ten_lines: bool) -> None:
    """Let the server answer, and the ten lines stand in for the node where they shall, until `stack` is closed."""
    sending, receiving = machine.cores()
    server = next(each.namespace for each in plan.instances if each.name == "server")
    stack.enter_context(_haproxy(server, folder / f"{lab.plan.lab}-server.cfg", _SERVER, (SERVER, PORT), sending))
    if ten_lines:
        node = plan.application_nodes[0]
        text = _TEN_LINES.format(node=node.address, port=PORT, server=SERVER)
        place = folder / f"{lab.plan.lab}-front.cfg"
        stack.enter_context(_haproxy(node.namespace, place, text, (node.address, PORT), receiving))


@contextmanager
def _haproxy(namespace: str, file: Path, text: str, place: tuple[str, int], core: int) -> Iterator[None]:
    file.write_text(_GLOBAL + text)
    with tools.running(namespace, [haproxy().path, "-f", str(file)], core=core) as process:
        give_up_at = time.monotonic() + ANSWER_SECONDS
        while not _answers(namespace, place):
            if process.poll() is not None or time.monotonic() > give_up_at:
                raise NetError("an HAProxy of the benchmark's own does not start")
            time.sleep(0.02)
        yield


def _answers(namespace: str, place: tuple[str, int]) -> bool:
    with inside(path_of(namespace)):
        sock = socket.socket()
    with sock:
        return sock.connect_ex(place) == 0


def pin(front: Front) -> None:
    """Let a node's keeper and engine have the core of those that receive."""
    _, core = machine.cores()
    for pid in processes_of(front):
        with suppress(ProcessLookupError):
            os.sched_setaffinity(pid, {core})


def processes_of(front: Front) -> list[int]:
    """Return the processes of a node: its keeper, its engine's master and workers."""
    names = (front.node.name, proxy_name(front.node.name))
    pids = [each.pid for each in front.lab.processes() if each.name in names and each.state == "running"]
    return pids + [child for pid in pids for child in _children(pid)]


def _children(pid: int) -> list[int]:
    return [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def memory(front: Front) -> int:
    """Return the resident memory of a node's processes, in bytes."""
    return sum(machine.resident(pid) for pid in processes_of(front))


def requests(front: Front, *, seconds: float) -> float:
    """Load the front with wrk over kept connections; return the requests/s. Raises NetError without wrk, and when
    anything but 200 was answered.
    """
    wrk = shutil.which("wrk")
    if wrk is None:
        raise NetError("wrk is not installed")
    sending, _ = machine.cores()
    url = f"http://{front.node.address}:{PORT}/"
    words = [wrk, "-t1", f"-c{CONNECTIONS}", f"-d{max(1, round(seconds))}s", url]
    return rate(tools.output(front.client, words, core=sending, timeout=seconds + 20))


def rate(said: str) -> float:
    """Return the requests/s that wrk tells. Raises NetError where some failed."""
    found = re.search(r"^Requests/sec:\s*([\d.]+)$", said, re.MULTILINE)
    failed = re.search(r"^\s*(Non-2xx or 3xx responses|Socket errors): (.*)$", said, re.MULTILINE)
    if found is None or failed is not None:
        raise NetError(f"wrk: {failed[0].strip() if failed else 'no rate'}")
    return float(found[1])


def log(front: Front, *, on: bool) -> None:
    """Turn access logs on or off, and wait until the engine has taken that."""
    change.set_attributes(front.lab, "front", {"access_logs.s3.enabled": str(on).lower()})
    _wait_for_engine(front)
    pin(front)


def _wait_for_engine(front: Front) -> None:
    give_up_at = time.monotonic() + ANSWER_SECONDS
    while front.lab.call(front.node.name, "status")["proxy"] != "running":
        if time.monotonic() > give_up_at:
            raise NetError(f"the engine of {front.node.name} does not take another text")
        time.sleep(0.02)


def lost_in_changes(front: Front, *, seconds: float, every: float = 0.5) -> tuple[int, int]:
    """Give the engine another text again and again under steady requests; return those that were lost, and all."""
    client = next(each for each in front.lab.plan.instances if each.name == "client")
    url = f"http://{front.node.address}:{PORT}/"
    process = start_requests(front.lab, client, url, connections=STEADY)
    try:
        give_up_at, enabled = time.monotonic() + seconds, False
        while time.monotonic() < give_up_at:
            change.set_attributes(
                front.lab, "front/HTTP:80", {"routing.http.response.server.enabled": str(enabled).lower()}
            )
            enabled = not enabled
            time.sleep(every)
    finally:
        process.kill()
    found = outcomes_of(process)
    return sum(each.status != 200 for each in found), len(found)


def affordable(front: Front, wanted: int) -> int:
    """Return how many connections an engine may have: two files each, and some to spare."""
    limits = []
    for pid in processes_of(front):
        line = re.search(r"^Max open files\s+\d+\s+(\d+)", Path(f"/proc/{pid}/limits").read_text(), re.MULTILINE)
        limits += [int(line[1])] if line else []
    return min(wanted, (min(limits, default=0) - SPARE_FILES) // 2)


def hold(front: Front, wanted: int) -> tuple[int, int]:
    """Open `wanted` connections with a request on each, then ask for another on every one of them; return how many were
    answered again, and the bytes of memory that the node took for them.
    """
    held: list[socket.socket] = []
    before = memory(front)
    try:
        for _ in range(wanted):
            held += _opened(front)
        took = memory(front) - before
        return sum(_ask(sock) for sock in held), took
    finally:
        for sock in held:
            sock.close()


def _opened(front: Front) -> Sequence[socket.socket]:
    with inside(path_of(front.client)):
        sock = socket.socket()
    sock.settimeout(ANSWER_SECONDS)
    try:
        sock.connect((front.node.address, PORT))
        if _ask(sock):
            return [sock]
    except OSError:
        pass
    sock.close()
    return []


def _ask(sock: socket.socket) -> bool:
    """Whether a request over a kept connection is answered."""
    try:
        sock.sendall(b"GET / HTTP/1.1\r\nHost: bench\r\n\r\n")
        return sock.recv(4096).startswith(b"HTTP/1.1 200 ")
    except OSError:
        return False
