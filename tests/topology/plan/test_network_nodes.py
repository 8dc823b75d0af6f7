"""What the plan makes of a network load balancer: a node per zone, and the way back from every instance of its VPC."""

from __future__ import annotations

import pytest
import yaml
from netaddr import IPAddress, IPNetwork

from gwlbemu.errors import TopologyError
from gwlbemu.topology import names
from gwlbemu.topology.plan.machine_half import End, Namespace
from gwlbemu.topology.plan.network import PRESERVED, PRESERVED_TABLE, TO_PROXY, TO_PROXY_TABLE
from gwlbemu.topology.plan.render import plan_text
from gwlbemu.topology.plan.resolve import load
from gwlbemu.topology.plan.shortcuts import shortcuts
from gwlbemu.topology.plan.values import Plan
from tests.lab.albs import behind
from tests.lab.fronts import ADDRESSES, PRIVATE, PUBLIC, front
from tests.topology.builder import plan_of


def planned(**what: object) -> Plan:
    return load(front(**what), "front.yaml")  # type: ignore[arg-type]


def space(plan: Plan, resource: str) -> Namespace:
    return next(each for each in plan.namespaces if each.resource == resource)


def end(plan: Plan, resource: str, device: str) -> End:
    ends = [each for link in plan.links for each in (link.a, link.b)]
    return next(each for each in ends if (each.namespace, each.name) == (space(plan, resource).name, device))


def test_a_node_forwards_and_answers_from_its_own_address_by_its_subnet() -> None:
    plan = planned()
    for node in plan.network_nodes:
        namespace = space(plan, node.name)
        assert (namespace.role, namespace.forwarding, namespace.nftables) == ("network-node", True, "")
        assert end(plan, node.name, "eni").addresses == (f"{PRIVATE[node.zone]}/24",)
        (default,) = [each for each in namespace.routes if (each.destination, each.kind) == ("0.0.0.0/0", "unicast")]
        assert default.device == "eni"
        assert IPAddress(default.via) in IPNetwork(f"{node.address}/24")


def test_a_node_has_a_marked_way_over_the_fabric_to_each_subnet_of_its_vpc() -> None:
    plan = planned()
    routers = {subnet.cidr: end(plan, subnet.name, "fabric").addresses[0].split("/")[0] for subnet in plan.subnets}
    for node in plan.network_nodes:
        namespace = space(plan, node.name)
        assert namespace.mark_rules[:2] == (("eni", PRESERVED, PRESERVED_TABLE), ("lo", PRESERVED, PRESERVED_TABLE))
        ways = [route for route in namespace.routes if route.table == PRESERVED_TABLE]
        assert {route.destination: (route.device, route.via) for route in ways} == {
            cidr: ("fabric", router) for cidr, router in routers.items()
        }


def test_an_answer_to_a_proxy_that_has_its_clients_address_is_delivered_in_the_node() -> None:
    plan = planned()
    for node in plan.network_nodes:
        namespace = space(plan, node.name)
        assert namespace.mark_rules[2:] == (("fabric", TO_PROXY, TO_PROXY_TABLE),)
        (way,) = [route for route in namespace.routes if route.table == TO_PROXY_TABLE]
        assert (way.destination, way.device, way.kind) == ("0.0.0.0/0", "lo", "local")


def test_each_subnet_with_instances_leads_the_mark_of_each_node_back_to_it() -> None:
    plan = planned()
    for subnet in ("app-a", "app-b"):
        namespace = space(plan, subnet)
        ways = {route.table: route.via for route in namespace.routes if route.table != 254}
        for node in plan.network_nodes:
            (table,) = [
                table for device, mark, table in namespace.mark_rules if (device, mark) == ("subnet", node.number)
            ]
            assert f"{ways[table]}/17" in end(plan, node.name, "fabric").addresses
            assert f"{names.mac(node.name, 'fabric')} : {node.number}" in namespace.nftables
    assert space(plan, "front-a").mark_rules == ()


def test_the_ports_of_all_instances_of_the_vpc_are_the_kernels_and_no_others() -> None:
    plan = planned()
    (there,) = [each for each in shortcuts(plan) if each.namespace == space(plan, "app-a").name]
    macs = {place.mac for place in there.places}
    assert not macs & {names.mac(name, "eth0") for name in ADDRESSES}
    assert there.guarded == ("web-a", "near")
    (elsewhere,) = [each for each in shortcuts(plan) if each.namespace == space(plan, "internet").name]
    assert names.mac("client", "eth0") in {place.mac for place in elsewhere.places}


@pytest.mark.contract("NL-10")
def test_the_ports_of_an_application_load_balancers_nodes_remember_only_where_they_may_be_targets() -> None:
    document = yaml.safe_load(behind())
    plan = load(yaml.safe_dump(document), "behind.yaml")
    for node in plan.application_nodes:
        (port,) = space(plan, node.subnet).instance_ports
        assert (port.mac, port.address, port.returns, port.stateful) == (node.mac, node.address, True, False)
        assert f"received_{port.device}" in space(plan, node.subnet).nftables.partition("netdev returns")[2]
    document["target_groups"] = [each for each in document["target_groups"] if each.get("target_type") != "alb"]
    document["load_balancers"] = document["load_balancers"][1:]
    alone = load(yaml.safe_dump(document), "behind.yaml")
    assert not any(space(alone, node.subnet).instance_ports for node in alone.application_nodes)


def test_without_a_network_load_balancer_no_subnet_looks_for_answers() -> None:
    for namespace in plan_of().namespaces:
        assert namespace.mark_rules == ()
        assert "returns" not in namespace.nftables
        assert not any(port.returns for port in namespace.instance_ports)


def test_the_internet_gateway_translates_the_public_addresses_of_nodes() -> None:
    plan = planned()
    for zone in "ab":
        assert f"{PUBLIC[zone]} : {PRIVATE[zone]}" in space(plan, "igw").nftables
        assert f"{PUBLIC[zone]}/32" in {route.destination for route in space(plan, "internet").routes}


def test_a_load_balancers_group_guards_its_nodes_and_its_rules_know_its_packets_by_their_mark() -> None:
    groups = (
        {"name": "lb", "ingress": [{"protocol": "tcp", "ports": 81, "source": "198.51.100.0/24"}]},
        {"name": "web", "ingress": [{"protocol": "tcp", "ports": 80, "source": "lb"}]},
    )
    plan = planned(security_groups=groups, members={"front": ["lb"], "web-a": ["web"]})
    (port,) = space(plan, "front-a").instance_ports
    assert (port.device, port.stateful, port.returns) == ("front-node-a", True, False)
    rules = space(plan, "app-a").nftables
    assert "ip version 4 meta mark { 1, 2 } meta l4proto tcp tcp dport 80 goto" in rules
    assert f"ip saddr {{ {PRIVATE['a']}, {PRIVATE['b']} }} meta l4proto tcp tcp dport 80 goto" in rules
    assert {each.name: each.ingress[0].networks for each in plan.security_groups}["web"] == tuple(PRIVATE.values())


def test_a_subnet_called_like_a_nodes_interface_on_the_fabric_is_refused() -> None:
    name = "a-front-of-many-servers"
    device = names.device(names.node(name, "a"))
    text = front().replace("name: front\n", f"name: {name}\n").replace("app-b", device)
    with pytest.raises(TopologyError, match=f"in VPC app would be {device}, like that of"):
        load(text, "front.yaml")


def test_the_taps_are_on_both_interfaces_of_a_node() -> None:
    taps = {(each.name, each.device) for each in planned().taps}
    assert {(f"front-node-{zone}/{device}", device) for zone in "ab" for device in ("eni", "fabric")} <= taps


def test_the_plan_as_text_tells_listeners_nodes_and_groups() -> None:
    text, mac = plan_text(planned()), names.mac("front-node-b", "eni")
    for line in (
        "load balancer front  network  internet-facing  zones a, b",
        "  listener  TCP 80  target group both",
        "  listener  UDP 7  target group echo",
        f"  node front-node-b  zone b  subnet front-b  {PRIVATE['b']}  {mac}  public {PUBLIC['b']}",
        "target group nobody  VPC app  TCP 9  instance targets",
    ):
        assert f"{line}\n" in text, line
