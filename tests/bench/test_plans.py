"""The labs of the benchmark as plans: what differs between two paths, and what does not."""

from __future__ import annotations

import struct

import pytest

from gwlbemu.bench import network, plans, sender
from gwlbemu.bench.labs import PATHS, ends_of
from gwlbemu.topology.plan.machine_half import Namespace
from gwlbemu.topology.plan.resolve import load
from gwlbemu.topology.plan.values import Plan
from gwlbemu.wire.checksum import transport


def namespace(plan: Plan, resource: str) -> Namespace:
    return next(each for each in plan.namespaces if each.resource == resource)


def ways(plan: Plan, subnet: str) -> dict[str, str | None]:
    return {route.destination: route.via for route in namespace(plan, subnet).routes}


def test_plain_routing_is_the_same_lab_with_routes_that_skip_the_endpoint() -> None:
    plain, inspected = plans.path_plan("x", inspected=False), plans.path_plan("x")
    assert plain.links == inspected.links
    differing = {a.resource for a, b in zip(plain.namespaces, inspected.namespaces, strict=True) if a != b}
    assert differing == {"clients", "servers"}
    (endpoint,) = (set(ways(inspected, "clients").values()) - set(ways(plain, "clients").values())) or {None}
    assert ways(inspected, "clients")["10.0.2.0/24"] == endpoint is not None


def test_the_kernel_paths_have_the_same_links_and_no_process() -> None:
    way = plans.path_plan("x", offload=True)
    kernel = plans.kernel_only(way)
    assert kernel.links == way.links
    assert (kernel.gateway_nodes, kernel.programs) == ((), ())
    node = next(each for each in kernel.namespaces if each.role == "node")
    assert node.forwarding
    assert not node.nftables


def test_super_packets_are_a_matter_of_the_links_alone() -> None:
    assert all(end.offload for link in plans.path_plan("x", offload=True).links for end in (link.a, link.b))
    assert not any(end.offload for link in plans.path_plan("x").links for end in (link.a, link.b))


def test_nothing_is_captured_while_something_is_measured() -> None:
    assert not plans.path_plan("x").capture.enabled


def test_a_load_is_sent_to_the_clients_router() -> None:
    plan = plans.path_plan("x")
    bridge = namespace(plan, "clients").bridges[0]
    assert ends_of(plan).router_mac == bridge.mac


@pytest.mark.parametrize("instances", [30, 100])
def test_the_big_lab_has_as_many_instances_as_asked_and_a_program_in_each_but_the_client(instances: int) -> None:
    plan = load(plans.many_instances("big", instances), "big")
    assert len(plan.instances) == instances
    assert len(plan.programs) == instances - 1


def test_what_is_compared_with_plain_routing_runs_under_the_same_offloads() -> None:
    for name in ("hops", "vxlan", "fast-super"):
        assert PATHS[name].offload == PATHS["plain"].offload


def test_what_we_are_compared_with_is_the_kernels_own_way() -> None:
    assert {name for name, setup in PATHS.items() if not setup.shortcuts} == {
        "plain", "hops", "vxlan", "ovs", "fast-long", "network-long", "network-hops"
    }  # fmt: skip
    assert not plans.path_plan("x", shortcuts=False).shortcuts


def test_the_hops_of_a_network_load_balancer_are_the_same_lab_without_its_rules_and_its_keeper() -> None:
    plan = network.network_plan("x", shortcuts=False)
    hops = network.hops_plan(plan)
    assert (hops.links, hops.network_nodes, hops.programs) == (plan.links, (), ())
    assert all(
        "table ip returns" not in each.nftables and not each.mark_rules
        for each in hops.namespaces
        if each.role == "subnet"
    )
    assert "table ip returns" in namespace(plan, "servers").nftables
    ends = [network.network_ends(plan, routed=routed).destination for routed in (False, True)]
    assert ends == [network.NODE, plans.SERVER]


def test_the_python_sender_makes_the_frames_that_blast_would() -> None:
    source, destination = b"\x0a\x00\x01\x0a", b"\x0a\x00\x02\x0a"
    frame = sender.frame(40_001, b"\x02\x01\x01\x01\x01\x01" + b"\x02\x02\x02\x02\x02\x02", source, destination, 64)
    assert len(frame) == 64
    segment = frame[34:]
    assert struct.unpack(">HHH", segment[:6]) == (10_001, 20_001, 30)
    assert transport(source, destination, 17, segment) in (0, 0xFFFF)
