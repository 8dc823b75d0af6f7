"""A lab from Python: `with Lab("topologies/two-zones.yaml") as lab: lab.exec("client", ["curl", "http://203.0.113.10/"])`.

It does what the command line does, with typed values instead of text. It composes; each verb's work is done elsewhere.
"""

from __future__ import annotations

import dataclasses
import json
import os
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Self, TypeVar

from gwlbemu.errors import LabError, NetError, SettingError, TopologyError, UnknownNameError
from gwlbemu.lab import change, client, failure
from gwlbemu.lab.client import Client, Completed
from gwlbemu.lab.control import TIMEOUT
from gwlbemu.lab.running import RunningLab, open_lab
from gwlbemu.lab.topology_file import read_topology
from gwlbemu.lab.up import up
from gwlbemu.net.remove import down
from gwlbemu.topology.names import NAME, NAME_EXPECTED
from gwlbemu.topology.plan.resolve import load
from gwlbemu.topology.plan.values import Plan, Target
from gwlbemu.trials.craft import PacketSpec
from gwlbemu.trials.follow import FlowTrace, Pattern, addresses_of, following
from gwlbemu.trials.inject import inject
from gwlbemu.trials.injection import check_number, prepare
from gwlbemu.trials.packet_report import PacketReport
from gwlbemu.trials.verify import Expectations
from gwlbemu.trials.web.answers import HttpAnswer, HttpReport
from gwlbemu.trials.web.requests import http
from gwlbemu.views.expectations import PROTOCOLS, Case, Result
from gwlbemu.views.flows import EndedFlow, EndedFlows, LiveFlow, read_flows
from gwlbemu.views.logs import access_log
from gwlbemu.views.metrics import NodeCounters, read_counters, total
from gwlbemu.views.status import LabStatus, read_status
from gwlbemu.views.targets import TargetState, read_targets
from gwlbemu.views.traces import TracedPacket
from gwlbemu.views.waiting import wait_until_healthy

__all__ = [
    "Case", "Client", "Completed", "EndedFlow", "EndedFlows", "Expectations", "FlowTrace", "HttpAnswer", "HttpReport",
    "Lab", "LabStatus", "LiveFlow", "NodeCounters", "PacketReport", "Result", "TargetState", "TracedPacket",
]  # fmt: skip

POLL = 0.02  # seconds between two looks of `wait_until`

T = TypeVar("T")


class Lab:
    """A lab that is up for as long as the `with` block runs, and gone afterwards whatever happened in it.

    `topology` is a plan, a path, the name of a topology that comes with gwlbemu ("two-zones"; a file of that path comes
    first), or the text of a topology file (anything with a line break is text). `name` replaces the file's name for the
    lab; `capture` (record packets) and `datapath` (auto, python, ebpf) replace what it says about those. Entering the
    block brings the lab up and waits up to `wait` seconds until every target is healthy; 0 does not wait. With a `seed`
    cookies and the choice of targets are the same in every run; without it the lab makes a secret of its own.

    Making the object touches nothing of the machine: it raises TopologyError for a file that is wrong, SettingError for
    an option that is. What needs the lab raises LabError while it is not up. Every error has a `code` (AWS's where AWS
    has one, such as TargetGroupNotFound) and is one sentence as text; see `gwlbemu.errors`.
    """

    def __init__(
        self, topology: str | os.PathLike[str] | Plan, *,
        name: str | None = None, capture: bool | None = None, datapath: str | None = None, wait: float = 30.0,
        seed: str | int | None = None,
    ) -> None:  # fmt: skip
        if name is not None and not NAME.fullmatch(name):
            raise SettingError(f"{name!r} is no lab's name: expected {NAME_EXPECTED}")
        plan = topology if isinstance(topology, Plan) else _load(topology, name)
        if name is not None and plan.lab != name:
            raise TopologyError(f"the plan is of lab {plan.lab}: give the name where it is resolved, not here")
        if capture is not None:
            plan = dataclasses.replace(plan, capture=dataclasses.replace(plan.capture, enabled=capture))
        if datapath not in (None, "auto", "python", "ebpf"):
            raise SettingError(f"datapath {datapath!r}: expected auto, python or ebpf")
        if datapath is not None:
            plan = dataclasses.replace(plan, datapath=datapath)
        self._plan, self._wait, self._seed = plan, wait, None if seed is None else str(seed)
        self._running: RunningLab | None = None
        self._clients: list[Client] = []

    # ---- its life ----------------------------------------------------------------------------------------------------
    def up(self) -> Self:
        """Bring the lab up and wait for its targets; nothing of it is left when that fails.

        Raises NetError without root or when the machine refuses, LabError when a lab of that name is there already or
        a target is not healthy within the seconds of `wait`.
        """
        if os.geteuid() != 0:
            raise NetError("network namespaces need root")
        self._running = up(self._plan, seed=self._seed)
        try:
            troubles = wait_until_healthy(self._running, self._wait) if self._wait else []
            if troubles:
                raise LabError(f"lab {self.name} is not well after {self._wait:g} s: {'; '.join(troubles)}")
        except BaseException:
            self.down()
            raise
        return self

    def down(self) -> None:
        """Remove the lab and everything that runs in it; a second call does nothing. Raises NetError."""
        if self._running is None:  # a lab of this name may be somebody else's
            return
        for each in self._clients:
            each.kill()
        down(self.name)
        self._running = None

    def __enter__(self) -> Self:
        return self.up()

    def __exit__(self, *_: object) -> None:
        self.down()

    @property
    def name(self) -> str:
        """The lab's name, as `gwlbemu --lab` takes it."""
        return self._plan.lab

    @property
    def plan(self) -> Plan:
        """The plan as it is now: names, addresses, routes, targets. `register`, `deregister` and `set` change it."""
        return open_lab(self.name).plan if self._running else self._plan

    @property
    def running(self) -> RunningLab:
        """The handle that the rest of the package works with; LabError when the lab is not up."""
        if self._running is None:
            raise LabError(f"lab {self.name} is not up")
        return self._running

    # ---- inside its instances ----------------------------------------------------------------------------------------
    def exec(self, instance: str, argv: Sequence[str], *, timeout: float = 30.0, stdin: str = "") -> Completed:
        """Run a command inside an instance (or subnet, gateway, node) to its end; return exit code and what it printed.

        `argv` is a list of words, not a shell's line; `stdin` is its input. Raises UnknownNameError when nothing is
        called `instance`, NetError when there is no such program, LabError when it takes longer than `timeout` seconds
        (it is killed then).
        """
        return client.execute(self.running, instance, argv, timeout=timeout, stdin=stdin)

    def spawn(self, instance: str, argv: Sequence[str]) -> Client:
        """Start a command inside an instance, without input, and return a handle on it while it runs.

        It ends with the lab at the latest. Raises UnknownNameError when nothing is called `instance`, NetError when
        there is no such program.
        """
        started = client.start(self.running, instance, argv)
        self._clients.append(started)
        return started

    def inject(
        self, packet: object = None, *, source: str | None = None, destination: str | None = None,
        tcp: int | None = None, udp: int | None = None, icmp: bool = False, flags: str = "S",
        payload: bytes | str = b"", source_port: int = 0, count: int = 1, interval: float = 0.0,
    ) -> list[PacketReport]:  # fmt: skip
        """Send crafted packets from inside `source` and tell what became of each, in the order they were sent.

        What is sent is exactly one of: a scapy packet (or the text of one), `tcp=PORT` with `flags` (letters out of
        FSRPAUEC) and `payload`, `udp=PORT` with `payload`, `icmp=True` (an echo request); TypeError otherwise. Without
        `source` and `destination` (an instance or an address) it goes between two whose packets are inspected. `count`
        packets belong to one flow; `source_port` 0 is a fresh one; `interval` is the pause between packets in seconds.
        A report is put together from what was seen of the packet and its answer; `expected` is what `explain` says of
        it. The call returns when no packet has been seen for 0.3 seconds (1 while an appliance has one in hand).

        Raises UnknownNameError for an instance that is not there, SettingError for what cannot be sent.
        """
        body = payload.encode() if isinstance(payload, str) else payload
        specs = [
            *([PacketSpec("expression", expression=packet)] if packet is not None else []),
            *([PacketSpec("tcp", tcp, flags=flags, payload=body)] if tcp is not None else []),
            *([PacketSpec("udp", udp, payload=body)] if udp is not None else []),
            *([PacketSpec("icmp", payload=body)] if icmp else []),
        ]
        if len(specs) != 1:
            raise TypeError("inject: expected exactly one of a packet, tcp=PORT, udp=PORT, icmp=True")
        injection = prepare(
            self.running.plan, specs, source=source, destination=destination, source_port=source_port, count=count
        )
        return inject(self.running, injection.sender, injection.receiver, injection.packets, interval)

    def trace_flow(
        self, source: str | None = None, destination: str | None = None, *,
        tcp: int | None = None, udp: int | None = None, icmp: bool = False,
    ) -> AbstractContextManager[FlowTrace]:  # fmt: skip
        """Follow real traffic: `with lab.trace_flow("client", "web-a", tcp=80) as trace: ...` and then `trace.hops`.

        `trace.hops` has one TracedPacket for each verdict of a node, of both directions, in the order of time. `source`
        and `destination` are instances or addresses, `tcp` and `udp` the port of either end; whatever is not given
        matches everything. While the trace runs every packet of the nodes goes through Python. Raises SettingError for
        a port that is none, LabError when a node does not answer.
        """
        chosen = {"tcp": tcp, "udp": udp, "icmp": 0 if icmp else None}
        for name, port in chosen.items():
            check_number(f"trace_flow: {name}", port or 0, 0, 65535)
        protocol = next((PROTOCOLS[name] for name, port in chosen.items() if port is not None), None)
        ends = None
        if source is not None and destination is not None:
            ends = (addresses_of(self.running.plan, source), addresses_of(self.running.plan, destination))
        return following(self.running, Pattern(protocol, ends, tcp or udp or None))

    def http(
        self, client: str, url: str, *, count: int = 1, keep_alive: bool = False, cookies: Path | None = None
    ) -> HttpReport:
        """Send `count` GET requests from inside the instance `client`, one after the other; tell what became of each.

        Each has a connection of its own or, with `keep_alive`, all have one. `cookies` is a cookie file in curl's form
        that what comes is kept in; without it no cookies are sent. Redirects are told and not followed. Raises
        UnknownNameError for an instance that is not there, SettingError for what is no URL of HTTP.
        """
        known = None if cookies is None else cookies.read_text() if cookies.exists() else ""
        report, kept = http(self.running, client, url, count=count, keep_alive=keep_alive, cookies=known)
        if cookies is not None and kept is not None:
            cookies.write_text(kept)
        return report

    # ---- reading -----------------------------------------------------------------------------------------------------
    def targets(self) -> list[TargetState]:
        """Return every target as every node sees it: one value per node and target. LabError for a silent node."""
        return list(read_targets(self.running).complete())

    def target(self, name: str, node: str | None = None) -> TargetState:
        """Return one target as `node`, or the first node that knows it, sees it.

        `name` is an instance's, or the address of an ip target. Raises UnknownNameError when no node knows it, LabError
        when a node does not answer.
        """
        for each in self.targets():
            if each.id == name and node in (None, each.node):
                return each
        raise UnknownNameError(f"no target {name}" + (f" at {node}" if node else ""))

    def flows(self) -> list[LiveFlow]:
        """Return every live flow of every node. Raises LabError when a node does not answer."""
        return list(read_flows(self.running).complete())

    def metrics(self) -> list[NodeCounters]:
        """Return the counters of every load balancer in every zone since it came up. LabError for a silent node."""
        return list(read_counters(self.running, within_seconds=TIMEOUT).complete())

    def metric(self, name: str) -> float:
        """Return one counter, added up over all load balancers that have it, and all zones; a mean is that of all
        requests.

        Raises KeyError when there is none of that name, LabError when a node does not answer.
        """
        found = [each for each in self.metrics() if name in each.values]
        if not found:
            raise KeyError(name)
        return total(found, name)

    def status(self) -> LabStatus:
        """Return processes, nodes, capture and what is broken; a node that does not answer has its `error` set."""
        return read_status(self.running)

    def log(self, name: str) -> str:
        """Return what a process (node, appliance, web server) has written to its log. Raises UnknownNameError."""
        return self.running.state.log(self._process(name)).read_text(errors="replace")

    def access_log(self, name: str) -> list[str]:
        """Return the lines of the access log of an application load balancer, by time, or of one of its nodes.

        Raises UnknownNameError, and LabError where there is none because access_logs.s3.enabled is false.
        """
        return access_log(self.running, name).lines()

    def events(self, appliance: str) -> list[dict[str, Any]]:
        """Return what an appliance has recorded: the firewall's decisions, the IDS's EVE events; one dict each.

        Of a log that became too long only the newest 8 to 16 MiB are there.

        Empty for a program that records nothing. Raises UnknownNameError when no process is called `appliance`.
        """
        files = self.running.state.decision_files(self._process(appliance))
        return [json.loads(line) for path in files for line in path.read_text().splitlines()]

    def _process(self, name: str) -> str:
        known = [process.name for process in self.running.processes()]
        if name not in known:
            raise UnknownNameError(f"no process {name} in lab {self.name}; there are: {', '.join(known)}")
        return name

    def capture_files(self) -> list[Path]:
        """Return the capture's pcapng files so far, oldest first; they go with the lab."""
        return self.running.state.capture_files()

    # ---- changing ----------------------------------------------------------------------------------------------------
    def register(self, group: str, target: str, zone: str | None = None) -> Target:
        """Register a target with a target group (RegisterTargets); health checks begin.

        `target` is an instance's name or, for target type ip, an address, with its port where that is not the group's
        ("web-a:8080"); `zone` is for an address outside the VPC (a zone, or all). Raises AwsError (TargetGroupNotFound,
        InvalidTarget, TooManyTargets ...), and LabError when a node is dead or frozen; then nothing has changed.
        """
        return change.register(self.running, group, target, zone)

    def deregister(self, group: str, target: str) -> bool:
        """Deregister a target (DeregisterTargets): it drains. Returns False when it was not registered.

        Raises AwsError (TargetGroupNotFound), and LabError when a node is dead or frozen; then nothing has changed.
        """
        return change.deregister(self.running, group, target)

    def set(self, resource: str, attributes: Mapping[str, str | int | bool]) -> None:
        """Set AWS attributes of the load balancer (and its listeners), the listener or the target group `resource`.

        One of a network load balancer's listeners is called "web/TCP:80"; by "web" all of them are meant.

        All of them are set or, with AwsError, none: an unknown key, a value out of range, a combination that AWS
        refuses, LoadBalancerNotFound. LabError when a node is dead or frozen. A bool is AWS's true or false.
        """
        change.set_attributes(self.running, resource, {key: _text(value) for key, value in attributes.items()})

    def fail(self, kind: str, name: str) -> None:
        """Break something: `kind` is instance, process, link, health, zone or node (see `gwlbemu.lab.failure`).

        Raises UnknownNameError for a name that is not of that kind, LabError for a process that is dead already.
        """
        failure.fail(self.running, kind, name)

    def heal(self, kind: str, name: str) -> None:
        """Undo `fail`; harmless on what is not broken. Raises what `fail` raises.

        `heal("node", NAME)` also starts a network load balancer's dead keeper, or lets it write its tables again.
        """
        failure.heal(self.running, kind, name)

    def advance(self, duration: float | str) -> EndedFlows:
        """Let time pass at every node at once, seconds or text such as "351s"; return the flows that this ended.

        The list has the first thousand flows of each node; its `total` is how many there were.

        Raises SettingError for what is no time, LabError when a node is dead or frozen (then no time has passed).
        """
        seconds = change.parse_duration(duration) if isinstance(duration, str) else duration
        ended = change.advance(self.running, seconds)
        named = (EndedFlow(node, flow) for node, each in ended.items() for flow in each.flows)
        return EndedFlows(named, sum(each.count for each in ended.values()))

    def call(self, name: str, verb: str, **arguments: Any) -> dict[str, Any]:
        """Ask a process (a node, an appliance, `capture`) directly over its control socket; return its answer.

        Raises LabError when it does not answer, SettingError when it refuses.
        """
        return self.running.call(name, verb, **arguments)

    # ---- waiting -----------------------------------------------------------------------------------------------------
    def wait_until(self, condition: Callable[[], T], *, timeout: float = 30.0, what: str = "") -> T:
        """Wait until `condition()` is true and return its value.

        Raises LabError after `timeout` seconds; `what` is its words for what was waited for.
        """
        give_up_at = time.monotonic() + timeout
        while not (value := condition()):
            if time.monotonic() > give_up_at:
                raise LabError(f"waited {timeout:g} s for {what or getattr(condition, '__name__', 'a condition')}")
            time.sleep(POLL)
        return value

    def wait_until_healthy(self, timeout: float = 30.0) -> None:
        """Wait until every process runs and every target is healthy (or unused).

        Raises LabError, which names what is not, after `timeout` seconds or as soon as a process has died.
        """
        troubles = wait_until_healthy(self.running, timeout)
        if troubles:
            raise LabError(f"lab {self.name} is not well after {timeout:g} s: {'; '.join(troubles)}")

    def wait_for_state(self, target: str, state: str, *, node: str | None = None, timeout: float = 30.0) -> None:
        """Wait until a target is in `state` (AWS's word) for `node`, or for every node that knows it.

        Raises LabError after `timeout` seconds, or when a node does not answer.
        """

        def reached() -> bool:
            known = [each for each in self.targets() if each.id == target and node in (None, each.node)]
            return bool(known) and all(each.state == state for each in known)

        self.wait_until(reached, timeout=timeout, what=f"{target} to be {state}")


def _load(topology: str | os.PathLike[str], name: str | None) -> Plan:
    if isinstance(topology, str) and "\n" in topology:
        return load(topology, "<text>", lab=name)
    return load(*read_topology(topology), lab=name)


def _text(value: str | int | bool) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
