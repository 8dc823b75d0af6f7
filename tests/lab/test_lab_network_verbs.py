"""A lab with a network load balancer by the verbs: what is read of it, changed in it, broken and mended."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from gwlbemu import Lab
from gwlbemu.cli.status import status_lines
from gwlbemu.errors import LabError, SettingError
from gwlbemu.lab import failure
from gwlbemu.lab.running import open_lab
from gwlbemu.topology.names import RESOLVER, load_balancer_dns_name
from gwlbemu.views.attributes import read_attributes
from gwlbemu.views.doctor import examine_lab
from gwlbemu.views.prometheus import exposition
from gwlbemu.views.snapshot import take_snapshot
from tests.lab.fronts import BOTH, ONLY_A, ONLY_B, PRIVATE, PUBLIC, ask, front
from tests.waiting import PATIENCE, wait_until

pytestmark = pytest.mark.namespace
A, B = "front-node-a", "front-node-b"
IDLE = "tcp.idle_timeout.seconds"
RESOLVE = "import socket, sys; print(*{each[4][0] for each in socket.getaddrinfo(sys.argv[1], 80)})"


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    file = tmp_path_factory.mktemp("front") / "front.yaml"
    file.write_text(front())
    with Lab(file) as running:
        running.wait_until_healthy(PATIENCE)
        yield running


def served_by(lab: Lab, port: int, zone: str = "a") -> str:
    """The name of the web server that answers behind the load balancer; AssertionError where none does."""
    said = ask(lab, "client", PUBLIC[zone], port, seconds=5)
    assert isinstance(said, dict), said
    return str(said["name"])


def keeper(lab: Lab, node: str) -> int:
    return next(process.pid for process in lab.running.processes() if process.name == node)


def test_a_connection_is_seen_as_a_flow_with_its_listener_and_target(lab: Lab) -> None:
    assert served_by(lab, ONLY_B) == "web-b"
    flow = next(each for each in lab.flows() if each.listener == f"TCP:{ONLY_B}")
    assert (flow.node, flow.type, flow.protocol, flow.target_group, flow.target) == (A, "network", 6, "only-b", "web-b")
    assert (flow.destination, flow.destination_port) == (PRIVATE["a"], ONLY_B)
    assert (flow.target_address, flow.target_port, flow.source) == ("10.0.2.10", 80, "198.51.100.10")
    assert flow.packets == flow.packets_to + flow.packets_from > 6
    told = flow.as_dict()
    assert {"endpoint", "cookie", "idle_seconds"}.isdisjoint(told)
    assert told["listener"] == f"TCP:{ONLY_B}"


@pytest.mark.contract("NL-19")
def test_its_metrics_have_the_names_of_aws_networkelb_and_hosts_are_counted_by_group(lab: Lab) -> None:
    before = lab.metric("NewFlowCount")
    served_by(lab, ONLY_A)
    assert lab.metric("NewFlowCount") == before + 1
    (counters,) = (each for each in lab.metrics() if each.node == A)
    assert (counters.type, counters.target_group) == ("network", "")
    assert counters.hosts["both"] == {"HealthyHostCount": 2, "UnHealthyHostCount": 0}
    assert counters.hosts["only-a"]["HealthyHostCount"] == 1
    with pytest.raises(KeyError):
        lab.metric("RejectedFlowCount")  # a gateway load balancer's
    from gwlbemu.views.ask import Reading

    text = exposition(Reading((counters,)), {A: "a"})
    for name in (
        "active_flow_count", "new_flow_count_total", "processed_bytes_total", "processed_packets_total",
        "tcp_client_reset_count_total", "tcp_target_reset_count_total", "tcp_elb_reset_count_total",
        "port_allocation_error_count_total", "healthy_host_count", "un_healthy_host_count",
    ):  # fmt: skip
        assert f'aws_networkelb_{name}{{availability_zone="a",load_balancer="net/front/' in text, name


def test_a_target_of_another_port_is_registered_by_it_and_deregistered_by_it(lab: Lab) -> None:
    target = lab.register("only-a", "web-b:8080")
    assert (target.id, target.port) == ("web-b:8080", 8080)
    try:
        lab.wait_for_state("web-b:8080", "healthy", timeout=PATIENCE)  # all are checked on port 80
        state = lab.target("web-b:8080", A)
        assert (state.target_group, state.address, state.port) == ("only-a", "10.0.2.10", 8080)
        assert not lab.deregister("only-a", "web-b")  # another target
    finally:
        assert lab.deregister("only-a", "web-b:8080")
    assert lab.target("web-b:8080", A).state == "draining"
    lab.advance("301s")
    assert "web-b:8080" not in {each.id for each in lab.targets()}
    assert {each.id for each in lab.plan.target_groups[1].targets} == {"web-a"}


def test_what_is_set_for_the_load_balancer_is_set_for_its_listeners_and_one_can_be_named(lab: Lab) -> None:
    def seen() -> dict[str, str]:
        return {each.resource: each.value for each in read_attributes(lab.plan, "front") if each.key == IDLE}

    before = seen()
    assert set(before.values()) == {"350"}
    lab.set(f"front/TCP:{BOTH}", {IDLE: 60})
    assert seen() == before | {f"front/TCP:{BOTH}": "60"}
    lab.set("front", {IDLE: 350})
    assert seen() == before
    with pytest.raises(SettingError, match="from 60 to 6000"):
        lab.set(f"front/TCP:{BOTH}", {IDLE: 59})
    with pytest.raises(SettingError, match="there are: front/TCP:80, front/TCP:81"):
        lab.set("front/TCP:99", {IDLE: 60})
    with pytest.raises(SettingError, match="can't be changed for a UDP or TLS listener"):
        lab.set("front/UDP:7", {IDLE: 60})


def test_rules_that_somebody_flushed_are_told_with_what_brings_them_back(lab: Lab) -> None:
    assert lab.status().well
    assert lab.exec(A, ["nft", "flush", "ruleset"]).code == 0
    wait_until(lambda: not lab.status().well, what="the flush to be seen")
    assert {node.name: node.tables for node in lab.status().nodes} == {A: "missing", B: "intact"}
    (finding,) = (each for each in examine_lab(lab.running).findings if each.kind == "changed-tables")
    assert finding.severity == "error"
    assert f"gwlbemu heal node {A}" in finding.change
    assert failure.heal(lab.running, "node", A) == [f"tables of {A} written anew"]
    assert lab.status().well
    assert failure.heal(lab.running, "node", A) == []
    assert served_by(lab, ONLY_A) == "web-a"


def test_the_status_has_the_name_and_the_addresses_by_which_clients_come(lab: Lab) -> None:
    nodes = {node.name: node for node in lab.status().nodes}
    assert {node.dns_name for node in nodes.values()} == {load_balancer_dns_name("front")}
    assert nodes[A].addresses == (PUBLIC["a"], PRIVATE["a"])
    text = "\n".join(status_lines(lab.status(), lambda *_: "", 200))
    assert f"front: {load_balancer_dns_name('front')}\n  {A}, zone a: {PUBLIC['a']}, {PRIVATE['a']}\n" in text


def test_a_dead_resolver_is_told_of_and_healed(tmp_path: Path) -> None:
    file = tmp_path / "named.yaml"
    file.write_text(front(lab="named"))
    with Lab(file, wait=PATIENCE) as lab:
        (old,) = (each.pid for each in lab.running.processes() if each.name == RESOLVER)
        os.kill(old, signal.SIGKILL)
        wait_until(lambda: any(each.state == "dead" for each in lab.running.processes()), what="the resolver's end")
        hints = [*status_lines(lab.status(), lambda *words: " ".join(words), 200)]
        assert f"! {RESOLVER}: nobody answers the names of this lab (heal process {RESOLVER})" in hints
        (finding,) = (each for each in examine_lab(lab.running).findings if each.kind == "stopped-resolver")
        assert f"gwlbemu heal process {RESOLVER} starts it again" in finding.change
        (done,) = failure.heal(lab.running, "process", RESOLVER)
        assert done.startswith("resolver of the lab started again")
        lab.wait_until_healthy(PATIENCE)
        assert lab.status().well
        resolved = lab.exec("client", [sys.executable, "-c", RESOLVE, load_balancer_dns_name("front")])
        assert set(resolved.stdout.split()) <= set(PUBLIC.values())
        assert resolved.stdout


def test_a_frozen_resolver_is_told_of_with_what_wakes_it(lab: Lab) -> None:
    lab.fail("process", RESOLVER)
    try:
        kinds = {each.kind: each for each in examine_lab(lab.running).findings}
        assert "broken on purpose" in kinds["stopped-resolver"].change
    finally:
        lab.heal("process", RESOLVER)
    assert lab.status().well


def test_the_kernel_goes_on_without_the_keeper_and_heal_starts_another() -> None:
    with Lab(front(lab="alone")) as lab:
        lab.wait_until_healthy(PATIENCE)
        pid = keeper(lab, A)
        os.kill(pid, signal.SIGKILL)
        wait_until(lambda: any(each.state == "dead" for each in lab.running.processes()), what="the keeper's end")
        assert served_by(lab, ONLY_A) == "web-a"
        with pytest.raises(LabError, match=f"{A} is dead"):
            lab.set("both", {"stickiness.enabled": True})
        assert [node.name for node in lab.status().nodes if node.silent] == [A]
        (done,) = failure.heal(lab.running, "node", A)
        assert done.startswith(f"keeper of {A} started again")
        lab.wait_until_healthy(PATIENCE)
        assert keeper(lab, A) != pid
        lab.set("both", {"stickiness.enabled": True})
        assert served_by(lab, ONLY_A) == "web-a"


@pytest.mark.parametrize(("kind", "name"), [("node", A), ("zone", "a")])
def test_a_node_and_a_zone_that_are_lost_answer_nobody_until_they_are_healed(lab: Lab, kind: str, name: str) -> None:
    lab.fail(kind, name)
    try:
        assert [str(each) for each in lab.status().failures] == [f"{kind} {name}"]
        assert isinstance(ask(lab, "client", PUBLIC["a"], ONLY_B, seconds=1), int)
        assert kind == "zone" or served_by(lab, ONLY_B, "b") == "web-b"
    finally:
        lab.heal(kind, name)
    lab.wait_until_healthy(PATIENCE)
    assert served_by(lab, ONLY_B) == "web-b"


def test_a_frozen_keeper_is_told_and_its_node_goes_on(lab: Lab) -> None:
    lab.fail("process", A)
    try:
        assert served_by(lab, ONLY_A) == "web-a"
        (node,) = (each for each in lab.status().nodes if each.silent)
        assert (node.name, node.silent.reason if node.silent else "") == (A, "frozen")
    finally:
        lab.heal("process", A)
    assert lab.status().well


def test_time_that_passes_ends_flows_at_every_node(lab: Lab) -> None:
    served_by(lab, ONLY_A)
    ended = lab.advance("7h")
    assert ended.total >= 1
    assert not lab.flows()
    assert any(f"port {ONLY_A}, target web-a" in each.flow for each in ended)


def test_a_live_view_has_both_directions_of_what_the_kernel_carried(lab: Lab) -> None:
    before = take_snapshot(open_lab(lab.name), now=0.0)
    served_by(lab, ONLY_A)
    after = take_snapshot(open_lab(lab.name), now=1.0)
    (old,), (new,) = ([node for node in each.nodes if node.name == A] for each in (before, after))
    assert new.counts.new_flows == old.counts.new_flows + 1
    assert new.counts.to_targets > old.counts.to_targets
    assert new.counts.from_targets > old.counts.from_targets
    assert Path(lab.plan.source).name == "front.yaml"
