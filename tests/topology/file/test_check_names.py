"""Which names a topology may use: those of the lab's own things are refused, where they would be in the way."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from gwlbemu.errors import TopologyError
from gwlbemu.topology import names
from gwlbemu.topology.file.parse import parse
from gwlbemu.topology.plan.resolve import resolve
from tests.paths import TOPOLOGIES
from tests.topology.builder import Data, plan_of, put, text_of


def complaints(text: str) -> list[str]:
    with pytest.raises(TopologyError) as caught:
        parse(text, "lab.yaml")
    return str(caught.value).splitlines()


@pytest.mark.parametrize("name", names.RESERVED)
def test_a_reserved_name_is_refused_with_its_line_and_its_meaning(name: str) -> None:
    text = text_of(put("vpcs.0.instances.0.name", name))
    (line,) = complaints(text)
    number = 1 + next(n for n, each in enumerate(text.splitlines()) if each.strip().lstrip("- ") == f"name: {name}")
    assert line.startswith(f"lab.yaml:{number}: vpcs[0].instances[0].name: the name {name} has a meaning of its own")
    assert names.RESERVED[name] in line


def test_no_zone_is_called_all() -> None:
    (line,) = complaints(text_of(put("vpcs.0.subnets.1.zone", "all")))
    assert "vpcs[0].subnets[1].zone: the name all has a meaning of its own" in line


@pytest.mark.parametrize("name", names.RESERVED_FOR_PROCESSES)
@pytest.mark.parametrize("where", ["internet.instances.0", "vpcs.0.instances.0"])
def test_no_instance_has_the_name_of_a_process_or_socket_of_the_lab(name: str, where: str) -> None:
    (line,) = complaints(text_of(put(f"{where}.name", name)))
    assert f".instances[0].name: no instance may be called {name}, like " in line


def rename_vpc(data: Data) -> None:
    put("vpcs.0.name", "capture")(data)


def rename_group(data: Data) -> None:
    put("target_groups.0.name", "capture")(data)
    put("load_balancers.0.listener.target_group", "capture")(data)


def rename_balancer(data: Data) -> None:
    put("load_balancers.0.name", "capture")(data)
    put("vpcs.0.endpoints.0.service", "capture")(data)


def rename_main(data: Data) -> None:
    put("vpcs.0.route_tables.1.name", "main")(data)
    put("vpcs.0.subnets.0.route_table", "main")(data)


@pytest.mark.parametrize(
    "change",
    [
        rename_vpc,
        rename_group,
        rename_balancer,
        rename_main,
        put("vpcs.0.subnets.1.name", "discards"),
        put("vpcs.0.subnets.1.zone", "capture"),
        put("vpcs.1.instances.1.name", "resolver"),
        put("vpcs.1.instances.1.name", "keeper"),
        put("lab", "capture"),
    ],
)
def test_a_name_that_is_in_nobodys_way_is_taken(change: Callable[[Data], None]) -> None:
    parse(text_of(change), "lab.yaml")


def test_a_route_table_called_main_is_not_that_of_subnets_without_one() -> None:
    plan = plan_of(rename_main)
    assert {subnet.name: subnet.route_table for subnet in plan.subnets if subnet.vpc == "app"} == {
        "app-a": "main",
        "app-b": "",
        "ep-a": "ep-a",
    }


def route_to_web(data: Data) -> None:
    put("vpcs.0.route_tables.0.routes.0.target", "web")(data)


def test_the_port_behind_which_a_route_target_is_has_a_name_of_its_own() -> None:
    """Of subnet app-a, since routes lead to an instance in it."""
    taken = put("vpcs.0.subnets.1.name", "app-a-uplink")
    parse(text_of(taken), "lab.yaml")

    def both(data: Data) -> None:
        route_to_web(data)
        taken(data)

    (line,) = complaints(text_of(both))
    wanted = (
        "the interface of app-a-uplink in VPC app would be app-a-uplink, like that of app-a-uplink (vpcs[0].subnets[0])"
    )
    assert f"vpcs[0].subnets[1].name: {wanted}" in line


def test_an_attachments_name_in_a_zone_is_nobody_elses() -> None:
    text = (TOPOLOGIES / "transit-gateway.yaml").read_text()
    plan = parse(text, "tgw.yaml").topology
    attachment = plan.transit_gateways[0].attachments[0]
    vpc = next(vpc for vpc in plan.vpcs if vpc.name == attachment.vpc)
    zone = next(subnet.zone for subnet in vpc.subnets if subnet.name == attachment.subnets[0])
    taken = vpc.subnets[-1].name
    lines = complaints(text.replace(taken, f"{attachment.name}-{zone}"))
    assert any(f" in VPC {vpc.name} would be {attachment.name}-{zone}, like that of " in line for line in lines), lines


@pytest.mark.parametrize("where", ["subnet app-b", "VPC app", "the internet", "node inspect-node-a"])
def test_a_name_that_is_what_a_long_one_is_cut_to_is_refused_with_both_names(where: str) -> None:
    long = "application-server-1"
    pair = (long, names.device(long))

    def change(data: Data) -> None:
        for number, name in enumerate(pair):
            if where == "subnet app-b":
                put("vpcs.0.instances+", {"name": name, "subnet": "app-b"})(data)
            elif where == "VPC app":
                put("vpcs.0.subnets+", {"name": name, "zone": "b", "cidr": f"10.0.{20 + number}.0/24"})(data)
            elif where == "the internet":
                put("internet.instances+", {"name": name})(data)
            else:  # two endpoints in one zone, each in a VPC of its own
                subnet = {"name": f"inside-{number}", "zone": "a", "cidr": "10.1.1.0/24"}
                endpoint = {"name": name, "subnet": f"inside-{number}", "service": "inspect"}
                vpc = {"name": f"vpc-{number}", "cidr": "10.1.0.0/16", "subnets": [subnet], "endpoints": [endpoint]}
                put("vpcs+", vpc)(data)

    (line,) = complaints(text_of(change))
    assert f"the interface of {pair[1]} in {where} would be {pair[1]}, like that of {long} (" in line


@pytest.mark.parametrize("file", sorted(TOPOLOGIES.glob("*.yaml")), ids=lambda file: file.stem)
def test_names_that_begin_alike_however_long_become_interfaces_of_their_own(file: Path) -> None:
    text = file.read_text()
    plan = resolve(parse(text, file.name))
    things = {namespace.resource for namespace in plan.namespaces} - {"internet"}
    things |= {endpoint.name for endpoint in plan.endpoints} - {node.name for node in plan.gateway_nodes}
    for number, name in enumerate(sorted(things, key=len, reverse=True)):
        text = re.sub(rf"(?<![\w.-])(?<!program: ){name}(?![\w.:-])", f"a-name-as-long-as-they-come-{number}", text)
    plan = resolve(parse(text, file.name))
    assert any(len(namespace.resource) > 28 for namespace in plan.namespaces)
    found = Counter((end.namespace, end.name) for link in plan.links for end in (link.a, link.b))
    found += Counter((namespace.name, bridge.name) for namespace in plan.namespaces for bridge in namespace.bridges)
    assert {what for what, count in found.items() if count > 1} == set()


def test_a_name_that_is_taken_is_told_once() -> None:
    (line,) = complaints(text_of(put("vpcs.0.instances+", {"name": "web", "subnet": "app-a"})))
    assert "vpcs[0].instances[1].name: the name web is taken by vpcs[0].instances[0]" in line
