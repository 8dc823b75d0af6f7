"""What the doctor says of designs with a network load balancer: each finding, and the same design mended as it says."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import yaml

from gwlbemu.review.finding import Finding
from gwlbemu.topology.file.document import dotted
from tests.paths import TOPOLOGIES
from tests.review.test_review import Change, findings
from tests.topology.builder import put

BOTH = yaml.safe_load((TOPOLOGIES / "cross-zone.yaml").read_text())
STATIC = yaml.safe_load((TOPOLOGIES / "static-ip.yaml").read_text())
del STATIC["load_balancers"][1:], STATIC["load_balancers"][0]["listeners"][1:], STATIC["target_groups"][1:]
CROSS_ZONE, PRESERVE = "load_balancing.cross_zone.enabled", "preserve_client_ip.enabled"
RULES = "vpcs[0].security_groups[0].ingress"


def found(*changes: Change) -> list[tuple[str, str, str, str]]:
    return [(each.kind, each.severity, dotted(each.path), each.change) for each in findings(STATIC, *changes)]


def texts(*changes: Change) -> list[Finding]:
    return findings(STATIC, *changes)


def rule(source: str, ports: object = 80, **more: object) -> dict[str, object]:
    return {"protocol": "tcp", "ports": ports, "source": source, **more}


def servers(*rules: dict[str, object]) -> Change:
    return put("vpcs.0.security_groups.0.ingress", list(rules))


def of_the_load_balancer(*rules: dict[str, object], egress: list[dict[str, str]] | None = None) -> list[Change]:
    group: dict[str, Any] = {"name": "front", "ingress": list(rules)}
    if egress is not None:
        group["egress"] = egress
    return [put("vpcs.0.security_groups+", group), put("load_balancers.0.security_groups", ["front"])]


def internal(data: dict[str, Any]) -> None:
    data["load_balancers"][0] |= {"scheme": "internal", "subnets": ["front-a", "front-b"]}


@pytest.mark.parametrize("name", ["static-ip", "cross-zone"])
def test_the_bundled_topologies_have_nothing(name: str) -> None:
    assert findings(yaml.safe_load((TOPOLOGIES / f"{name}.yaml").read_text())) == []


def test_targets_that_let_in_health_checks_and_no_client_are_told_and_mended() -> None:
    only_inside = servers(rule("10.0.0.0/16"), rule("0.0.0.0/0", 8080))
    assert found(only_inside) == [
        ("shut-target", "error", RULES, "{protocol: tcp, ports: 80, source: 0.0.0.0/0}")
    ]  # fmt: skip
    (one,) = texts(only_inside)
    assert one.text == (
        "security group servers of target web-a1 lets in none of what load balancer web sends to tcp 80 there: it comes"
        " from clients, whose addresses it keeps"
    )
    assert found(servers(rule("10.0.0.0/16"), rule("0.0.0.0/0", 8080), rule("0.0.0.0/0"))) == []


def test_targets_of_clients_that_are_not_preserved_have_to_let_in_the_nodes() -> None:
    not_preserved = put("target_groups.0.attributes", {PRESERVE: False})
    clients = servers(rule("198.51.100.0/24"), rule("0.0.0.0/0", 8080))
    kinds = {(kind, severity, change) for kind, severity, _, change in found(not_preserved, clients)}
    assert kinds == {("shut-target", "error", "{protocol: tcp, ports: 80, source: 10.0.0.0/16}")}
    assert found(not_preserved, servers(rule("198.51.100.0/24"), rule("0.0.0.0/0", 8080), rule("10.0.0.0/16"))) == []


def test_targets_that_let_in_clients_alone_are_never_healthy() -> None:
    clients = servers(rule("198.51.100.0/24"), rule("0.0.0.0/0", 8080))
    assert found(clients) == [
        ("shut-health-check", "error", RULES, "{protocol: tcp, ports: 80, source: 10.0.0.0/16}")
    ]  # fmt: skip
    grouped = of_the_load_balancer(rule("0.0.0.0/0"))
    assert found(clients, *grouped)[0][3] == "{protocol: tcp, ports: 80, source: front}"
    assert found(servers(rule("front"), rule("front", 8080)), *grouped) == []


def test_a_load_balancers_group_that_lets_no_client_or_no_health_check_pass_is_told() -> None:
    shut = of_the_load_balancer(rule("0.0.0.0/0", 443))
    assert found(*shut) == [
        ("shut-listener", "error", "vpcs[0].security_groups[1].ingress",
         "{protocol: tcp, ports: 80, source: 0.0.0.0/0}")
    ]  # fmt: skip
    egress = [{"protocol": "udp", "destination": "0.0.0.0/0"}]
    (first, *_) = found(*of_the_load_balancer(rule("0.0.0.0/0"), egress=egress))
    assert first[:3] == ("shut-health-check", "error", "vpcs[0].security_groups[1].egress")
    assert found(*of_the_load_balancer(rule("0.0.0.0/0"))) == []


def test_a_zone_without_targets_is_told_unless_all_zones_are_one() -> None:
    without_b = put("target_groups.0.targets", ["web-a1"])
    place = f"load_balancers[0].attributes['{CROSS_ZONE}']"
    assert found(without_b) == [("empty-zone", "warning", place, f"{CROSS_ZONE}: true")]
    assert found(without_b, put("load_balancers.0.attributes", {CROSS_ZONE: True})) == []
    assert found(without_b, put("target_groups.0.attributes", {CROSS_ZONE: "true"})) == []


def test_a_load_balancer_that_faces_the_internet_in_a_subnet_without_a_way_there_is_told() -> None:
    (one,) = texts(put("vpcs.0.route_tables.0.routes", []))
    assert (one.kind, one.severity) == ("no-answer", "error")
    assert "client -> web-node-a" in one.text
    assert one.change == "add {destination: 0.0.0.0/0, target: igw}"
    (one,) = texts(put("vpcs.0.subnets.1.route_table", None))
    assert one.change == "route_table: front"


def test_an_internal_load_balancer_of_which_its_targets_are_the_only_clients_is_hinted_at() -> None:
    assert found(internal) == [("hairpin", "hint", f"target_groups[0].attributes['{PRESERVE}']", f"{PRESERVE}: false")]
    other = {"name": "caller", "subnet": "front-a", "program": "web", "public_address": "203.0.113.9"}
    assert found(internal, put("vpcs.0.instances+", other)) == []


def inspected(*, there: bool) -> Change:
    """Beside two inspected web servers a load balancer in a subnet of its own, whose answers leave uninspected."""

    def change(data: dict[str, Any]) -> None:
        data.clear()
        data |= copy.deepcopy(BOTH)
        app = data["vpcs"][0]
        subnet = {"name": "front-a", "zone": "a", "cidr": "10.0.21.0/24", "route_table": "front"}
        app["subnets"].append(subnet)
        out = [{"destination": "0.0.0.0/0", "target": "igw"}]
        app["route_tables"].append({"name": "front", "routes": out})
        if there:
            app["route_tables"][0]["routes"].append({"destination": subnet["cidr"], "target": "vpce-a"})
        balancer = next(each for each in data["load_balancers"] if each["type"] == "network")
        balancer |= {"subnets": [{"subnet": "front-a", "public_address": "203.0.113.1"}], "attributes": {}}
        next(each for each in data["target_groups"] if each["protocol"] == "TCP")["targets"] = ["web-a"]

    return change


def test_a_load_balancer_whose_clients_are_inspected_one_way_is_told_and_mended() -> None:
    (one,) = texts(inspected(there=True))
    assert (one.kind, one.severity, one.change) == ("skips-endpoint", "warning", "target: vpce-a")
    assert one.text.startswith("client -> web-node-a: the answer skips vpce-a, which the packet passes")


def test_a_load_balancer_past_the_appliances_is_told() -> None:
    (one,) = texts(inspected(there=False))
    assert (one.kind, one.severity) == ("uninspected", "warning")
    assert one.text.startswith("node web-node-a in subnet front-a: no appliance sees what it sends and gets")
