from __future__ import annotations

from collections.abc import Callable
from dataclasses import astuple

from gwlbemu.topology import names
from gwlbemu.topology.plan.resolve import load
from gwlbemu.topology.plan.shortcuts import MacEntry, shortcuts
from gwlbemu.topology.plan.values import Plan
from tests.paths import TOPOLOGIES
from tests.topology.builder import Data, plan_of, put


def known(plan: Plan, resource: str) -> dict[str, tuple[str, str]]:
    """Device and bridge by MAC in the namespace of a resource, where frames are put by a shortcut."""
    return {place.mac: (place.device, place.bridge) for place in places(plan, resource) if not place.one_way}


def places(plan: Plan, resource: str) -> tuple[MacEntry, ...]:
    (found,) = [each for each in shortcuts(plan) if each.namespace == names.namespace(plan.lab, resource)]
    return found.places


def test_they_stand_in_fabrics_subnets_and_on_the_internet_and_not_where_addresses_are_translated() -> None:
    plan = plan_of()
    roles = {each.name: each.role for each in plan.namespaces}
    assert {roles[each.namespace] for each in shortcuts(plan)} == {"fabric", "subnet", "internet"}
    assert len(shortcuts(plan)) == sum(role in ("fabric", "subnet", "internet") for role in roles.values())


def test_a_fabric_hands_frames_to_whoever_has_the_mac() -> None:
    places = known(plan_of(), "app")
    assert places[names.mac("app-a", "fabric")] == ("app-a", "")
    assert places[names.mac("vpce-a", "endpoint")] == ("vpce-a", "")
    assert names.mac("app", "fabric") not in places  # a fabric is no router


def test_a_subnet_routes_what_is_sent_to_its_own_macs() -> None:
    places = known(plan_of(), "sec-a")
    assert places[names.mac("sec-a", "subnet")] == ("subnet", "subnet")
    assert places[names.mac("sec-a", "fabric")] == ("fabric", "subnet")
    assert places[names.mac("fw-a", "eth0")] == ("fw-a", "")


EGRESS = [{"protocol": "tcp", "destination": "10.0.0.0/8"}]
ANYTHING = {"protocol": "all", "source": "0.0.0.0/0"}


def test_ports_whose_groups_bind_what_is_sent_and_ports_with_a_rate_are_the_kernels() -> None:
    assert names.mac("web", "eth0") not in known(plan_of(put("vpcs.0.security_groups.0.egress", EGRESS)), "app-a")
    plan = plan_of(put("vpcs.1.instances.0.rate_mbit", 100))
    assert names.mac("fw-a", "eth0") not in known(plan, "sec-a")
    assert names.mac("fw-b", "eth0") in known(plan, "sec-b")


def test_a_port_with_groups_has_a_place_for_what_they_let_in_without_a_record() -> None:
    def open_rules(change: Callable[[Data], object] | None = None) -> list[tuple[str, str, int, int]]:
        found = [each.instance for each in places(plan_of(change), "app-a") if each.device == "web"]
        return [astuple(rule) for port in found if port for rule in port.open_rules]

    def ingress(*rules: dict[str, str]) -> Callable[[Data], object]:
        return put("vpcs.0.security_groups.0.ingress", list(rules))

    assert open_rules() == [("0.0.0.0/0", "tcp", 80, 80)]
    assert open_rules(put("vpcs.0.security_groups.0.egress", EGRESS)) == []
    assert open_rules(ingress({"protocol": "icmp", "source": "0.0.0.0/0"}, {"protocol": "udp", "source": "::/0"})) == []
    assert open_rules(ingress({"protocol": "udp", "ports": "7-9", "source": "10.0.0.0/8"}, ANYTHING)) == [
        ("10.0.0.0/8", "udp", 7, 9),
        ("0.0.0.0/0", "tcp", 0, 65535),
        ("0.0.0.0/0", "udp", 0, 65535),
    ]
    assert open_rules(ingress({"protocol": "tcp", "source": "web"})) == [("10.0.1.10", "tcp", 0, 65535)]


def test_a_port_with_a_rate_is_left_by_a_shortcut_only() -> None:
    firewall = names.mac("fw-a", "eth0")
    plan = plan_of(put("vpcs.1.instances.0.rate_mbit", 100))
    assert {place.mac: place.one_way for place in places(plan, "sec-a")}[firewall] is True


def test_the_port_of_an_instance_is_guarded_and_no_other() -> None:
    by_namespace = {each.namespace: set(each.guarded) for each in shortcuts(plan_of())}
    assert by_namespace["test-app-a"] == {"web"}
    assert by_namespace["test-sec-a"] == {"fw-a"}
    assert by_namespace["test-internet"] == {"client"}
    assert by_namespace["test-app"] == set()


def test_a_port_that_carries_less_than_its_bridge_is_the_kernels() -> None:
    plan = load((TOPOLOGIES / "transit-gateway.yaml").read_text(), "transit-gateway.yaml")
    handed = {place.device for each in shortcuts(plan) for place in each.places if not place.bridge}
    narrow = {end.name for link in plan.links for end in (link.a, link.b) if end.bridge and end.mtu == 8500}
    assert narrow
    assert not narrow & handed


def test_the_program_stands_on_every_interface_of_its_namespace() -> None:
    (subnet,) = [each for each in shortcuts(plan_of()) if each.namespace.endswith("-sec-a")]
    assert set(subnet.devices) == {"fabric", "fw-a", names.device("inspect-node-a")}


def test_a_topology_can_do_without() -> None:
    assert shortcuts(plan_of(put("shortcuts", False))) == ()
