"""status and watch fit 80 columns, whatever the names are: what is cut is cut in the middle of names alone."""

from __future__ import annotations

import pytest

from gwlbemu.cli.columns import beside, fitted, shorten, wrapped
from gwlbemu.cli.common import table
from gwlbemu.cli.status import privilege_lines, status_lines
from gwlbemu.cli.watch_view import frame
from gwlbemu.lab.running import Process
from gwlbemu.topology.plan.port_rules import REASONS
from gwlbemu.topology.plan.resolve import load
from gwlbemu.topology.plan.values import ApplicationNode, GatewayNode, NetworkNode, Plan, Target, TargetGroup
from gwlbemu.views.ask import NoAnswer
from gwlbemu.views.flows import LiveFlow
from gwlbemu.views.port_drops import PortDrops
from gwlbemu.views.privileges import Privileges
from gwlbemu.views.snapshot import NodeSnapshot, Snapshot
from gwlbemu.views.status import (
    BrokenPart,
    CaptureStatus,
    LabStatus,
    LostLines,
    NodeStatus,
    PortCount,
    ShortcutStatus,
    TapCount,
)  # fmt: skip
from gwlbemu.views.targets import TargetState
from tests.paths import TOPOLOGIES
from tests.topology.builder import Data, plan_of

COUNTS = ("ActiveFlowCount", "NewFlowCount", "verdicts_to_target", "verdicts_to_endpoint", "verdicts_drop")
WHY = "Health checks failed with these codes: [503], the connection was closed before the answer was complete"


def long_names() -> Plan:
    """A node whose name has 68 characters (a balancer's, -node- and a zone's), and 32 of each other thing."""

    def change(data: Data) -> None:
        zone, balancer = "an-availability-zone-of-a-region", "a-load-balancer-with-a-long-name"
        data["vpcs"][1]["subnets"][0]["zone"] = data["vpcs"][0]["subnets"][2]["zone"] = zone
        data["load_balancers"][0]["name"] = data["vpcs"][0]["endpoints"][0]["service"] = balancer
        data["vpcs"][1]["instances"][0]["name"] = "an-appliance-in-the-first-zone-1"
        data["target_groups"][0]["targets"] = ["an-appliance-in-the-first-zone-1"]
        data["vpcs"][0]["endpoints"][0]["name"] = "an-endpoint-of-the-firewalls-123"
        for each in data["vpcs"][0]["route_tables"]:
            for route in each["routes"]:
                route["target"] = route["target"].replace("vpce-a", "an-endpoint-of-the-firewalls-123")

    return plan_of(change, lab="a-lab-with-a-name-as-long-as-is-")


FILES = sorted(TOPOLOGIES.glob("*.yaml"))
PLANS = {file.stem: load(file.read_text(), str(file)) for file in FILES} | {"long names": long_names()}


def target_state(group: TargetGroup, target: Target, node: str, count: int, broken: bool) -> TargetState:
    return TargetState(
        group.name, node, target.id, target.address, target.zone, "unhealthy" if broken else "healthy",
        "Target.FailedHealthChecks" if broken else "", WHY if broken else "", count // 100, count, count,
    )  # fmt: skip


def addressed_status(plan: Plan, node: NetworkNode | ApplicationNode, count: int, broken: bool) -> NodeStatus:
    of_network = isinstance(node, NetworkNode)
    groups = plan.groups_of(node.load_balancer)
    targets = [target_state(group, each, node.name, count, broken) for group in groups for each in group.targets]
    return NodeStatus(
        node.name, node.load_balancer, ", ".join(group.name for group in groups), node.zone,
        "nftables" if of_network else "haproxy", faults={"a request": 3} if broken else {}, targets=tuple(targets),
        type="network" if of_network else "application", proxy="" if of_network else "does not answer: timed out",
        tables="" if not of_network else "altered" if broken else "intact",
        failing_open=tuple(group.name for group in groups) * broken,
    )  # fmt: skip


def node_status(plan: Plan, node: GatewayNode, count: int, broken: bool) -> NodeStatus:
    ports = tuple(
        PortCount(name, count, count, count // 1000, count, count // 1000) for name in (*node.endpoints, "eni")
    )
    group = plan.group_of(node.load_balancer)
    targets = tuple(target_state(group, target, node.name, count, broken) for target in group.targets)
    reason = "the kernel has no BPF_MAP_TYPE_RINGBUF: Linux 6.6 or newer is needed" if broken else ""
    faults = {"frame": 3} if broken else {}
    return NodeStatus(
        node.name, node.load_balancer, group.name, node.zone, "python" if broken else "ebpf", reason,
        faults=faults, ports=ports, targets=targets,
    )  # fmt: skip


def snapshot(plan: Plan, at: float, count: int, *, broken: bool) -> Snapshot:
    logs = f"/run/gwlbemu/{plan.lab}/logs"
    names = [program.instance for program in plan.programs] + [node.name for node in plan.nodes]
    processes = tuple(
        Process(each, f"{plan.lab}-{each}", 4_194_303, "dead" if broken else "running", f"{logs}/{each}.log")
        for each in names
    )
    nodes = [node_status(plan, node, count, broken) for node in plan.gateway_nodes]
    nodes += [addressed_status(plan, node, count, broken) for node in plan.addressed_nodes]
    capture = CaptureStatus(
        f"/run/gwlbemu/{plan.lab}/capture/{plan.lab}-00001.pcapng", 10 * count, count // 1000 * broken,
        taps=(TapCount("client/eth0", count, count // 1000 * broken),), unwritten=count * broken,
    )  # fmt: skip
    silent = tuple(
        NodeStatus(each.name, "", "", "", silent=NoAnswer(each.name, "no answer")) for each in nodes[:broken]
    )
    drops = tuple(PortDrops(each.name, "received", reason, count) for each in plan.instances for reason in REASONS)
    status = LabStatus(
        plan.lab, str(TOPOLOGIES / f"{plan.lab}.yaml"), processes, tuple(names[:3]) if broken else (),
        (*nodes, *silent),
        ShortcutStatus(7, 11, "this kernel has no bpf_redirect_neigh" if broken else ""), capture,
        tuple(BrokenPart("process", each) for each in names[: 3 * broken]),
        lost_lines=(LostLines(names[0], count, count),) * broken, interrupted=broken,
        port_drops=drops,
    )  # fmt: skip
    metrics = dict.fromkeys(COUNTS, count) | {"ProcessedBytes": 1000 * count, "Dropped_MidstreamTcp": count * broken}
    metrics["PortAllocationErrorCount"] = count * broken
    metrics |= {"NewConnectionCount": count, "HTTPCode_ELB_5XX_Count": count * broken, "ActiveConnectionCount": count}
    flows = tuple(
        LiveFlow(
            node.name, node.endpoints[0], 6, "198.51.100.100", 50000 + number, "203.0.113.100", 8080,
            plan.in_scope(node)[0].id, "0x00000001", 50000, 60.0, 0.2, 349.8, count, count, 0,
            100 * count, number,
        )
        for node in plan.gateway_nodes
        for number in range(3)
        if plan.in_scope(node) and node.endpoints
    )  # fmt: skip
    flows += tuple(
        LiveFlow(
            node.name, "", 6, "198.51.100.100", 50000 + number, "203.0.113.100", 8080, target.id, "", 0, 0.0, 0.0,
            349.8, count, count, 0, 100 * count, 0, plan.node_types[node.name], "HTTP:8080", group.name, target.address,
            target.port, "ESTABLISHED",
        )
        for node in plan.addressed_nodes
        for number, group in enumerate(plan.groups_of(node.load_balancer))
        for target in group.targets[:2]
    )  # fmt: skip
    v6 = tuple(
        LiveFlow(
            each.node, each.endpoint, 17, "2001:db8:1234:5678:9abc:def0:1234:5678", 50000,
            "2001:db8:1234:5678:9abc:def0:1234:9999", 53, each.target, "0x1", 1, 1.0, 1.0, 1.0, count,
            count, 0, count, 0,
        )
        for each in flows[:1]
    )  # fmt: skip
    return Snapshot(at, status, tuple(NodeSnapshot(each, metrics, (*flows, *v6), more=True) for each in nodes))


def told(*words: str) -> str:
    return " ".join(("/home/somebody/gwlbemu/.venv/bin/gwlbemu", *words))


@pytest.mark.parametrize("broken", [False, True], ids=["well", "broken"])
@pytest.mark.parametrize("name", PLANS)
def test_status_fits_80_columns(name: str, broken: bool) -> None:
    lines = "\n".join(status_lines(snapshot(PLANS[name], 1.0, 123_456, broken=broken).status, told)).splitlines()
    assert max(map(len, lines)) <= 80
    if name != "long names":
        assert not any("…" in line for line in lines)  # nothing has to be cut


@pytest.mark.parametrize("broken", [False, True], ids=["well", "broken"])
@pytest.mark.parametrize("name", PLANS)
def test_watch_fits_80_columns_and_cuts_no_column_off(name: str, broken: bool) -> None:
    before, now = (snapshot(PLANS[name], at, count, broken=broken) for at, count in ((1.0, 100_000), (2.0, 123_456)))
    lines = frame(now, before, told, width=80, height=200).plain.splitlines()
    assert max(map(len, lines)) <= 80
    for heading in ("NODE", "TARGET"):
        (head,) = (line for line in lines if line.startswith(heading))
        assert head.split()[-1] in ("OVERRUN", "WHY")
    flows = next(line for line in lines if line.split()[-1:] == ["IDLE"] or line.split()[-1:] == ["AGE"])
    assert {"PKT/s", "BIT/s", "TARGET"} <= set(flows.split())


def test_what_processes_may_do_fits_80_columns() -> None:
    limits = {"file_size": 17_179_869_184, "data": 4_294_967_296, "processes": 96_365, "files": 4096}
    found = [
        Privileges(name, 4711, 65528, ("net_bind_service",), True, "filter", True, True, limits)
        for name in ("firewall-node-a", "a-load-balancer-with-a-long-name-node-an-availability-zone-of-a-region")
    ]
    lines = "\n".join(privilege_lines(found)).splitlines()
    assert max(map(len, lines)) <= 80
    assert sum(line.startswith("limits of all: file_size=") for line in lines) == 1


def test_a_name_is_cut_in_the_middle_since_names_differ_at_their_ends() -> None:
    assert shorten("firewall-node-a", 15) == "firewall-node-a"
    assert shorten("firewall-node-a", 9) == "fire…de-a"
    assert [len(shorten("firewall-node-a", width)) for width in range(1, 16)] == list(range(1, 16))


def test_the_widest_columns_are_narrowed_first() -> None:
    assert fitted([30, 5, 20], 80) == [30, 5, 20]
    assert fitted([30, 5, 20], 40) == [15, 5, 16]
    assert fitted([9, 9], 5) == [8, 8]  # names of less are none


def test_a_table_without_a_width_is_not_cut() -> None:
    name = "n" * 200
    assert table([[name, "1"]], ["NAME", "N"]).splitlines()[1] == f"{name}  1"
    assert max(map(len, table([[name, "1"]], ["NAME", "N"], 80).splitlines())) == 80


def test_a_sentence_goes_on_indented() -> None:
    assert wrapped("! " + "word " * 20, 30)[1].startswith("    word")
    assert max(map(len, wrapped("/" + "folder" * 30, 40))) <= 40


def test_text_beside_a_label_is_broken_at_blanks_alone() -> None:
    path = "/a-folder/" * 10
    assert beside("hint: ", f"see {path} there", 30, indent=8) == ["hint: see", f"        {path}", "        there"]
    assert max(map(len, beside("hint: ", "word " * 50, 30, indent=8))) <= 30
    assert beside("hint: ", "a b", 2, indent=8) == ["hint: a b"]  # what is narrower than its indent is no screen
