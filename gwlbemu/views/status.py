"""The state of a lab: its processes and nodes, its capture, its shortcuts, and what is broken."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, NamedTuple

from gwlbemu.core.elb.balancer_types import APPLICATION, GATEWAY, NETWORK
from gwlbemu.lab.control import TIMEOUT
from gwlbemu.lab.failure import failures
from gwlbemu.lab.running import CAPTURE, Process, RunningLab
from gwlbemu.lab.shortcuts import installed
from gwlbemu.topology.names import RESOLVER
from gwlbemu.topology.plan.dns_names import dns_name
from gwlbemu.topology.plan.shortcuts import shortcuts
from gwlbemu.topology.plan.values import GatewayNode, Node, Plan
from gwlbemu.views.ask import PATIENCE, Answers, NoAnswer, ask, value_of
from gwlbemu.views.port_drops import PortDrops, read_port_drops
from gwlbemu.views.targets import TargetState, targets_of

_CARRIERS = {NETWORK: "the kernel", APPLICATION: "its proxy"}


@dataclass(frozen=True, slots=True)
class PortCount:
    """Packets of one side of a node since it began."""

    name: str  # an endpoint, or eni
    frames_in: int
    verdicts: int
    socket_drops: int  # what the kernel threw away because the node was too slow
    frames_out: int
    unsent: int  # what the interface did not take
    tagged: int = 0  # frames with a VLAN tag, all of them dropped


@dataclass(frozen=True, slots=True)
class NodeStatus:
    """One node of a load balancer. Where it does not answer, `silent` says why and only the names are known.

    What only one type of load balancer has is empty for the other: a gateway has a fast path and ports, a network load
    balancer tables in the kernel. Where clients know nodes by their addresses, groups fail open each for itself.
    """

    name: str
    load_balancer: str
    target_group: str  # with several groups: "a, b"
    zone: str
    datapath: str = ""  # python | ebpf | nftables | haproxy
    datapath_reason: str = ""  # why it is not ebpf, or not now; a sentence, or ""
    fastpath: Mapping[str, int] = field(default_factory=dict)  # counters of the eBPF program
    uptime_seconds: float = 0.0
    faults: Mapping[str, int] = field(default_factory=dict)  # exceptions in the node, by kind; its log has the first
    ports: tuple[PortCount, ...] = ()
    discards: Mapping[str, int] = field(default_factory=dict)  # dropped packets that the capture was told of, or not
    targets: tuple[TargetState, ...] = ()
    silent: NoAnswer | None = None
    type: str = GATEWAY  # of its load balancer
    tables: str = ""  # intact | missing | altered: what the kernel has of what the node has written
    failing_open: tuple[str, ...] = ()  # target groups without a healthy target in scope
    proxy: str = ""  # running, or in words why it is not; "" where the load balancer needs none
    dns_name: str = ""  # of its load balancer; "" of a gateway's, which AWS gives none
    addresses: tuple[str, ...] = ()  # of a network load balancer's node: the public one, if any, before the VPC's own

    @property
    def carrier(self) -> str:
        """What goes on without the node's own process, in words: the kernel, its proxy; "" where nothing does."""
        return _CARRIERS.get(self.type, "")

    @property
    def carries(self) -> str:
        """What it hands to targets, in a word."""
        return "requests" if self.type == APPLICATION else "connections"

    @property
    def broken_tables(self) -> bool:
        """Whether somebody has taken away or changed what it wrote into the kernel: connections fail."""
        return self.tables not in ("", "intact")

    @property
    def broken_proxy(self) -> bool:
        """Whether connections that need the node's proxy fail, since it does not run as it should."""
        return self.proxy not in ("", "running")

    @property
    def error(self) -> str:
        """Why it does not answer, one sentence; "" when it does."""
        return self.silent.sentence if self.silent else ""

    def as_dict(self) -> dict[str, Any]:
        """Return it as `gwlbemu status --json` prints it; of a node that is silent the names and an "error"."""
        found = asdict(self)
        del found["silent"]
        if not self.silent:
            return found
        names = ("name", "load_balancer", "target_group", "zone", "type", "dns_name", "addresses")
        return {key: found[key] for key in names} | {"error": self.error}


@dataclass(frozen=True, slots=True)
class TapCount:
    """Packets that the capture saw at one tap, and those that it could not record."""

    name: str
    packets: int
    dropped: int


@dataclass(frozen=True, slots=True)
class CaptureStatus:
    """The lab's capture: the file it writes now, and its counts since it began."""

    file: str = ""
    packets: int = 0
    dropped: int = 0
    waiting: int = 0  # held back to bring all taps into one order
    faults: Mapping[str, int] = field(default_factory=dict)  # exceptions in the capture, by kind
    refused_records: int = 0  # reports of dropped packets that were not understood
    unwritten: int = 0  # packets for which the disk had no room
    taps: tuple[TapCount, ...] = ()
    silent: NoAnswer | None = None

    @property
    def error(self) -> str:
        """Why it does not answer, one sentence; "" when it does."""
        return self.silent.sentence if self.silent else ""

    def as_dict(self) -> dict[str, Any]:
        """Return it as `gwlbemu status --json` prints it; only an "error" when it is silent."""
        found = asdict(self)
        del found["silent"]
        return {"error": self.error} if self.silent else found


@dataclass(frozen=True, slots=True)
class ShortcutStatus:
    """In how many of the lab's fabrics and routers a shortcut stands, and why not in all."""

    standing: int
    of: int
    reason: str = ""


class LostLines(NamedTuple):
    """Lines that a log of packets or requests lacks since it began: an appliance's log of decisions or alerts, the
    access log of an application load balancer's node, by whose name `appliance` is then.
    """

    appliance: str
    over_rate: int  # more than the log takes in a second
    failed: int  # the disk did not take them


class BrokenPart(NamedTuple):
    """What `gwlbemu fail KIND NAME` broke and nobody has healed."""

    kind: str  # instance | process | link | health | zone
    name: str

    def __str__(self) -> str:
        return f"{self.kind} {self.name}"


@dataclass(frozen=True, slots=True)
class LabStatus:
    """A lab as it is now."""

    lab: str
    source: str  # the topology file
    processes: tuple[Process, ...]
    never_started: tuple[str, ...]  # of a lab whose `up` died: processes that it should have
    nodes: tuple[NodeStatus, ...]
    shortcuts: ShortcutStatus
    capture: CaptureStatus | None  # None: the lab records no packets
    failures: tuple[BrokenPart, ...]
    lost_lines: tuple[LostLines, ...] = ()  # of the logs that lost some
    interrupted: bool = False  # a change ended halfway: nodes may differ from the plan
    port_drops: tuple[PortDrops, ...] = ()  # read by `read_status` alone

    @property
    def stopped(self) -> tuple[Process, ...]:
        """The processes that are frozen or dead."""
        return tuple(each for each in self.processes if each.state in ("frozen", "dead"))

    @property
    def well(self) -> bool:
        """Whether every process runs, nothing is broken on purpose, and the kernel has what the nodes wrote into it."""
        nodes = any(node.broken_tables or node.broken_proxy for node in self.nodes)
        return not (self.stopped or self.failures or self.never_started or self.interrupted or nodes)

    @property
    def errors(self) -> tuple[str, ...]:
        """One sentence per process that does not run or does not answer, each once."""
        stopped = [NoAnswer(each.name, each.state, each.log).sentence for each in self.stopped]
        said = [each.error for each in (*self.nodes, self.capture) if each is not None and each.error]
        return tuple(dict.fromkeys([*stopped, *said]))

    def as_dict(self) -> dict[str, Any]:
        """Return it as `gwlbemu status --json` prints it."""
        return {
            "lab": self.lab,
            "source": self.source,
            "processes": [asdict(process) for process in self.processes],
            "never_started": list(self.never_started),
            "nodes": {node.name: node.as_dict() for node in self.nodes},
            "shortcuts": asdict(self.shortcuts),
            "capture": self.capture.as_dict() if self.capture else None,
            "failures": [broken._asdict() for broken in self.failures],
            "lost_lines": [lost._asdict() for lost in self.lost_lines],
            "interrupted": self.interrupted,
            "port_drops": [asdict(each) for each in self.port_drops],
        }


def read_status(lab: RunningLab) -> LabStatus:
    """Take stock of a lab. Raises NetError without root, LabError for a state folder that is damaged."""
    return replace(status_from(lab, *ask_for_status(lab, {})), port_drops=read_port_drops(lab))


def ask_for_status(
    lab: RunningLab, others: Mapping[str, Mapping[str, Any]], *, within_seconds: float = TIMEOUT
) -> tuple[dict[str, Answers], dict[str, NoAnswer]]:
    """Ask every node for its status and for `others` (see `ask`).

    Asked for their status alone: the capture, and the appliances that have a log of their own.
    """
    nodes = [node.name for node in lab.plan.nodes]
    answers, silent = ask(lab, nodes, {"status": {}, **others}, within_seconds=within_seconds)
    if lab.plan.capture.enabled:
        said, quiet = ask(lab, [CAPTURE], {"status": {}}, within_seconds=within_seconds)
        answers, silent = answers | said, silent | quiet
    said, _ = ask(lab, _with_a_log(lab.plan), {"status": {}}, within_seconds=min(within_seconds, PATIENCE))
    return answers | said, silent


def _with_a_log(plan: Plan) -> list[str]:
    return [program.instance for program in plan.programs if program.kind in ("firewall", "ids")]


def status_from(lab: RunningLab, answers: Mapping[str, Answers], silent: Mapping[str, NoAnswer]) -> LabStatus:
    """Return the status that the answers to `ask_for_status` tell."""
    plan, processes = lab.plan, tuple(lab.processes())
    expected = {node.name for node in plan.nodes} | {program.instance for program in plan.programs} | {RESOLVER}
    now = installed(lab.state)
    return LabStatus(
        lab=plan.lab,
        source=plan.source,
        processes=processes,
        never_started=tuple(sorted(expected - {process.name for process in processes})),
        nodes=tuple(_node(plan, node, answers.get(node.name), silent.get(node.name)) for node in plan.nodes),
        shortcuts=ShortcutStatus(len(now.namespaces), len(shortcuts(plan)), now.reason),
        capture=_capture(answers.get(CAPTURE), silent.get(CAPTURE)) if plan.capture.enabled else None,
        failures=tuple(BrokenPart(kind, name) for kind, name in failures(lab)),
        lost_lines=tuple(_lost_lines(plan, answers)),
        interrupted=lab.state.plan_before.exists(),
    )


def _lost_lines(plan: Plan, answers: Mapping[str, Answers]) -> Iterator[LostLines]:
    logs = [(name, "log") for name in _with_a_log(plan)]
    logs += [(node.name, "access_log") for node in plan.application_nodes]
    for name, key in logs:
        log = answers[name]["status"].get(key, {}) if name in answers else {}
        lost = LostLines(name, log.get("over_rate", 0), log.get("failed", 0))
        if lost.over_rate or lost.failed:
            yield lost


def _node(plan: Plan, node: Node, answers: Answers | None, silent: NoAnswer | None) -> NodeStatus:
    groups = ", ".join(group.name for group in plan.groups_of(node.load_balancer))
    kind = plan.node_types[node.name]
    balancer = next(each for each in plan.load_balancers if each.name == node.load_balancer)
    names = NodeStatus(
        node.name, node.load_balancer, groups, node.zone, silent=silent, type=kind, dns_name=dns_name(balancer),
        addresses=_addresses(node),
    )  # fmt: skip
    if answers is None:
        return names
    answer = answers["status"]
    return replace(
        names,
        datapath=answer["datapath"],
        datapath_reason=answer.get("datapath_reason") or "",
        fastpath=answer.get("fastpath", {}),
        uptime_seconds=answer["uptime_seconds"],
        faults=answer.get("faults", {}),
        ports=tuple(value_of(PortCount, port) for port in answer["ports"]),
        discards=answer["discards"],
        targets=targets_of(plan, node, answer),
        tables=answer.get("tables", ""),
        failing_open=tuple(answer.get("failing_open", ())),
        proxy=answer.get("proxy", ""),
    )


def _addresses(node: Node) -> tuple[str, ...]:
    """By what clients reach a node; a gateway's they reach by its endpoints."""
    if isinstance(node, GatewayNode):
        return ()
    return tuple(each for each in (node.public_address, node.address, node.ipv6_address) if each)


def _capture(answers: Answers | None, silent: NoAnswer | None) -> CaptureStatus:
    if answers is None:
        return CaptureStatus(silent=silent)
    answer = answers["status"]
    return value_of(CaptureStatus, answer, taps=tuple(value_of(TapCount, tap) for tap in answer["taps"]))
