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
from types import TracebackType
from typing import Any, Self, TypeVar

from gwlbemu.errors import LabError, NetError, SettingError, TopologyError, UnknownNameError
from gwlbemu.lab import change, client, failure
from gwlbemu.lab.client import Client, Completed
from gwlbemu.lab.running import RunningLab, open_lab
from gwlbemu.lab.topology_file import read_topology
from gwlbemu.lab.up import up
from gwlbemu.net.remove import down
from gwlbemu.topology.plan.resolve import load
from gwlbemu.topology.plan.values import Plan, Target
from gwlbemu.trials.craft import Recipe
from gwlbemu.trials.follow import FlowTrace, Pattern, addresses_of, following
from gwlbemu.trials.inject import Fate, inject
from gwlbemu.trials.order import check_number, order
from gwlbemu.views import answers
from gwlbemu.views.answers import Ended, Flow, Metrics, Status, TargetState
from gwlbemu.views.waiting import wait_until_healthy

__all__ = ["Client", "Completed", "Ended", "Fate", "Flow", "FlowTrace", "Lab", "Metrics", "Status", "TargetState"]

POLL = 0.02  # seconds between two looks of `wait_until`
PROTOCOLS = {"tcp": 6, "udp": 17, "icmp": 1}

T = TypeVar("T")


class Lab:
    """A lab that is up for as long as the `with` block runs, and gone afterwards whatever happened in it.

    `topology` is a plan, a path, or the text of a topology file. `name` replaces the file's name for the lab, `capture`
    and `datapath` (auto, python, ebpf) what it says about those. Entering waits up to `wait` seconds until every target
    is healthy and raises LabError when one is not; 0 does not wait.
    """

    def __init__(
        self,
        topology: str | os.PathLike[str] | Plan,
        *,
        name: str | None = None,
        capture: bool | None = None,
        datapath: str | None = None,
        wait: float = 30.0,
    ) -> None:
        plan = topology if isinstance(topology, Plan) else _load(topology, name)
        if name is not None and plan.lab != name:
            raise TopologyError(f"the plan is of lab {plan.lab}: give the name where it is resolved, not here")
        if capture is not None:
            plan = dataclasses.replace(plan, capture=dataclasses.replace(plan.capture, enabled=capture))
        if datapath not in (None, "auto", "python", "ebpf"):
            raise SettingError(f"datapath {datapath!r}: expected auto, python or ebpf")
        if datapath is not None:
            plan = dataclasses.replace(plan, datapath=datapath)
        self._plan, self._wait = plan, wait
        self._running: RunningLab | None = None
        self._clients: list[Client] = []

    # ---- its life ----------------------------------------------------------------------------------------------------
    def up(self) -> Self:
        """Bring it up; nothing is left of it when that fails. Raises NetError, LabError."""
        if os.geteuid() != 0:
            raise NetError("network namespaces need root")
        self._running = up(self._plan)
        try:
            troubles = wait_until_healthy(self._running, self._wait) if self._wait else []
            if troubles:
                raise LabError(f"lab {self.name} is not well after {self._wait:g} s: {'; '.join(troubles)}")
        except BaseException:
            self.down()
            raise
        return self

    def down(self) -> None:
        """Remove it and everything that runs in it; once is enough, twice does no harm."""
        if self._running is None:  # a lab of this name may be somebody else's
            return
        for each in self._clients:
            each.kill()
        down(self.name)
        self._running = None

    def __enter__(self) -> Self:
        return self.up()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.down()

    @property
    def name(self) -> str:
        return self._plan.lab

    @property
    def plan(self) -> Plan:
        """The plan as it is now: `register`, `deregister` and `set` change it."""
        return open_lab(self.name).plan if self._running else self._plan

    @property
    def running(self) -> RunningLab:
        """The handle that the rest of the package works with; LabError when the lab is not up."""
        if self._running is None:
            raise LabError(f"lab {self.name} is not up")
        return self._running

    # ---- inside its instances ----------------------------------------------------------------------------------------
    def exec(self, instance: str, argv: Sequence[str], *, timeout: float = 30.0, stdin: str = "") -> Completed:
        """Run a command inside an instance (or subnet, gateway, node) to its end and return what it printed.

        Raises NetError when there is no such program, LabError when it takes longer than `timeout` seconds.
        """
        return client.execute(self.running.plan, instance, argv, timeout=timeout, stdin=stdin)

    def spawn(self, instance: str, argv: Sequence[str]) -> Client:
        """Start a command inside an instance that runs meanwhile; it ends with the lab at the latest."""
        started = client.start(self.running.plan, instance, argv)
        self._clients.append(started)
        return started

    def inject(
        self,
        packet: object = None,
        *,
        source: str | None = None,
        destination: str | None = None,
        tcp: int | None = None,
        udp: int | None = None,
        icmp: bool = False,
        flags: str = "S",
        payload: bytes | str = b"",
        source_port: int = 0,
        count: int = 1,
        interval: float = 0.0,
    ) -> list[Fate]:
        """Send crafted packets from inside `source` and tell the fate of each.

        Exactly one of: a scapy packet (or the text of one), `tcp=PORT`, `udp=PORT`, `icmp=True`. Without `source` and
        `destination` (an instance or an address) it goes from the lab's client to its server. `source_port` 0 is a
        fresh one, `interval` the pause between packets in seconds. Raises SettingError for what cannot be sent.
        """
        body = payload.encode() if isinstance(payload, str) else payload
        recipes = [
            *([Recipe("expression", expression=packet)] if packet is not None else []),
            *([Recipe("tcp", tcp, flags=flags, payload=body)] if tcp is not None else []),
            *([Recipe("udp", udp, payload=body)] if udp is not None else []),
            *([Recipe("icmp", payload=body)] if icmp else []),
        ]
        if len(recipes) != 1:
            raise TypeError("inject: expected exactly one of a packet, tcp=PORT, udp=PORT, icmp=True")
        ordered = order(
            self.running.plan, recipes, source=source, destination=destination, source_port=source_port, count=count
        )
        return inject(self.running, ordered.sender, ordered.receiver, ordered.packets, interval)

    def trace_flow(
        self,
        source: str | None = None,
        destination: str | None = None,
        *,
        tcp: int | None = None,
        udp: int | None = None,
        icmp: bool = False,
    ) -> AbstractContextManager[FlowTrace]:
        """Follow real traffic: `with lab.trace_flow("client", "web-a", tcp=80) as trace: ...` and then `trace.hops`.

        Both directions; whatever is not given matches everything. One trace (or `inject`) at a time.
        """
        chosen = {"tcp": tcp, "udp": udp, "icmp": 0 if icmp else None}
        for name, port in chosen.items():
            check_number(f"trace_flow: {name}", port or 0, 0, 65535)
        protocol = next((PROTOCOLS[name] for name, port in chosen.items() if port is not None), None)
        ends = None
        if source is not None and destination is not None:
            ends = (addresses_of(self.running.plan, source), addresses_of(self.running.plan, destination))
        return following(self.running, Pattern(protocol, ends, tcp or udp or None))

    # ---- reading -----------------------------------------------------------------------------------------------------
    def targets(self) -> list[TargetState]:
        """Every target as every node sees it."""
        groups = {balancer.name: balancer.target_group for balancer in self.running.plan.load_balancers}
        return [
            answers.target_of(node.name, groups[node.load_balancer], target)
            for node in self.running.plan.gateway_nodes
            for target in self.call(node.name, "targets")["targets"]
        ]

    def target(self, name: str, node: str | None = None) -> TargetState:
        """One target as one node (the first that knows it) sees it; LabError when none does."""
        for each in self.targets():
            if each.id == name and node in (None, each.node):
                return each
        raise UnknownNameError(f"no target {name}" + (f" at {node}" if node else ""))

    def flows(self) -> list[Flow]:
        """Every live flow of every node."""
        found: list[Flow] = []
        for node in self.running.plan.gateway_nodes:
            offset, more = 0, True
            while more:
                answer = self.call(node.name, "flows", offset=offset, limit=1000)
                found += [answers.flow_of(node.name, flow) for flow in answer["flows"]]
                offset, more = offset + len(answer["flows"]), answer["more"]
        return found

    def metrics(self) -> list[Metrics]:
        """The counters of every load balancer and zone."""
        return [
            Metrics(node.load_balancer, node.zone, node.name, self.call(node.name, "metrics")["metrics"])
            for node in self.running.plan.gateway_nodes
        ]

    def metric(self, name: str) -> int:
        """One counter, added up over all load balancers and zones; KeyError when there is none of that name."""
        return sum(each[name] for each in self.metrics())

    def status(self) -> Status:
        """Processes, nodes and what is broken; a node that is dead has its `error` set."""
        nodes = []
        for node in self.running.plan.gateway_nodes:
            try:
                nodes.append(answers.status_of(node.name, self.call(node.name, "status")))
            except LabError as error:
                nodes.append(answers.NodeStatus(node.name, node.load_balancer, node.zone, error=str(error)))
        return Status(self.name, tuple(self.running.processes()), tuple(nodes), tuple(failure.failures(self.running)))

    def log(self, name: str) -> str:
        """What a process (node, appliance, web server) has written to its log."""
        return self.running.state.log(self._process(name)).read_text(errors="replace")

    def events(self, appliance: str) -> list[dict[str, Any]]:
        """What an appliance has recorded: the firewall's decisions, the IDS's EVE events; one dict each."""
        path = self.running.state.decisions(self._process(appliance))
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    def _process(self, name: str) -> str:
        known = [process.name for process in self.running.processes()]
        if name not in known:
            raise UnknownNameError(f"no process {name} in lab {self.name}; there are: {', '.join(known)}")
        return name

    def capture_files(self) -> list[Path]:
        """The capture's pcapng files so far, oldest first; they go with the lab."""
        return self.running.state.capture_files()

    # ---- changing ----------------------------------------------------------------------------------------------------
    def register(self, group: str, target: str, zone: str | None = None) -> Target:
        """RegisterTargets. Raises SettingError with AWS's code."""
        return change.register(self.running, group, target, zone)

    def deregister(self, group: str, target: str) -> bool:
        """DeregisterTargets; False when it was not registered."""
        return change.deregister(self.running, group, target)

    def set(self, resource: str, attributes: Mapping[str, str | int | bool]) -> None:
        """Set AWS attributes of a load balancer, its listener, or a target group: all or, with SettingError, none."""
        change.set_attributes(self.running, resource, {key: _text(value) for key, value in attributes.items()})

    def fail(self, kind: str, name: str) -> None:
        """Break an instance, process, link, health check or zone (see gwlbemu.lab.failure)."""
        failure.fail(self.running, kind, name)

    def heal(self, kind: str, name: str) -> None:
        """Undo `fail`."""
        failure.heal(self.running, kind, name)

    def advance(self, duration: float | str) -> list[Ended]:
        """Let time pass at every node at once, seconds or text such as "351s"; returns the flows that this ended."""
        seconds = change.parse_duration(duration) if isinstance(duration, str) else duration
        return [Ended(node, flow) for node, flows in change.advance(self.running, seconds).items() for flow in flows]

    def call(self, name: str, verb: str, **arguments: Any) -> dict[str, Any]:
        """Ask a process (a node, an appliance, `capture`) directly over its control socket."""
        return self.running.call(name, verb, **arguments)

    # ---- waiting -----------------------------------------------------------------------------------------------------
    def wait_until(self, condition: Callable[[], T], *, timeout: float = 10.0, what: str = "") -> T:
        """Wait until `condition()` is true and return its value; LabError after `timeout` seconds."""
        give_up_at = time.monotonic() + timeout
        while not (value := condition()):
            if time.monotonic() > give_up_at:
                raise LabError(f"waited {timeout:g} s for {what or getattr(condition, '__name__', 'a condition')}")
            time.sleep(POLL)
        return value

    def wait_until_healthy(self, timeout: float = 30.0) -> None:
        """Wait until every process runs and every target is healthy (or unused)."""
        troubles = wait_until_healthy(self.running, timeout)
        if troubles:
            raise LabError(f"lab {self.name} is not well after {timeout:g} s: {'; '.join(troubles)}")

    def wait_for_state(self, target: str, state: str, *, node: str | None = None, timeout: float = 30.0) -> None:
        """Wait until a target is in `state` for `node`, or for every node that knows it."""

        def reached() -> bool:
            known = [each for each in self.targets() if each.id == target and node in (None, each.node)]
            return bool(known) and all(each.state == state for each in known)

        self.wait_until(reached, timeout=timeout, what=f"{target} to be {state}")


def _load(topology: str | os.PathLike[str], name: str | None) -> Plan:
    if isinstance(topology, str) and "\n" in topology:
        return load(topology, "<text>", lab=name)
    return load(read_topology(topology), os.fspath(topology), lab=name)


def _text(value: str | int | bool) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
