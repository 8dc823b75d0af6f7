"""What the doctor says of designs with an application load balancer, and the same design mended as it says."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from gwlbemu.topology.file.document import dotted
from tests.lab.albs import behind
from tests.paths import TOPOLOGIES
from tests.review.test_review import Change, findings
from tests.topology.builder import put

Document = dict[str, Any]
WEB = yaml.safe_load((TOPOLOGIES / "web-tier.yaml").read_text())
LOAD_BALANCER, SERVERS = "vpcs.0.security_groups.0", "vpcs.0.security_groups.1"
EDGE, FRONT_A = "vpcs[0].route_tables[0]", "vpcs[0].route_tables[1]"


def table(document: Document, name: str) -> Document:
    return next(each for each in document["vpcs"][0]["route_tables"] if each["name"] == name)


def one(*changes: Change) -> tuple[str, str, str, str, str]:
    """The only finding: kind, severity, place, mend, and the text."""
    (found,) = findings(WEB, *changes)
    return found.kind, found.severity, dotted(found.path), found.change, found.text


def from_servers_by_the_endpoint(document: Document) -> None:
    routes = [{"destination": "10.0.1.0/24", "target": "vpce-a"}]
    document["vpcs"][0]["route_tables"].append({"name": "app-a", "routes": routes})
    next(each for each in document["vpcs"][0]["subnets"] if each["name"] == "app-a")["route_table"] = "app-a"


def to_servers_by_the_endpoint(document: Document) -> None:
    table(document, "front-a")["routes"].append({"destination": "10.0.11.0/24", "target": "vpce-a"})


def test_the_bundled_web_tier_has_nothing_and_neither_has_one_inspected_behind_the_load_balancer() -> None:
    assert findings(WEB) == []
    assert findings(WEB, from_servers_by_the_endpoint, to_servers_by_the_endpoint) == []


@pytest.mark.contract("AL-13")
@pytest.mark.parametrize(
    ("change", "kind", "place", "mend", "text"),
    [
        (
            put(f"{SERVERS}.ingress.0.source", "192.0.2.0/24"),
            "shut-target",
            "vpcs[0].security_groups[1].ingress",
            "{protocol: tcp, ports: 80, source: load-balancer}",
            "lets in none of what load balancer web sends to tcp 80 there: it comes from its nodes, whose addresses"
            " they see; requests that are given to it get 504",
        ),
        (
            put(f"{LOAD_BALANCER}.egress.0.ports", 8080),
            "shut-target",
            "vpcs[0].security_groups[0].egress",
            "{protocol: tcp, ports: 80, destination: 10.0.0.0/16}",
            "of load balancer web lets out nothing to tcp 80 of target web-a1; requests that are given to it get 504",
        ),
        (
            put(f"{LOAD_BALANCER}.ingress.0.ports", 8081),
            "shut-listener",
            "vpcs[0].security_groups[0].ingress",
            "{protocol: tcp, ports: 80, source: 0.0.0.0/0}",
            "lets no client in on HTTP 80, on which it listens",
        ),
        (
            put("target_groups.1.health_check.port", 8080),
            "shut-health-check",
            "vpcs[0].security_groups[1].ingress",
            "",  # one rule of one group is not enough: the load balancer's lets nothing out to that port, too
            "lets in no health check of load balancer web, which comes to tcp 8080 from its nodes",
        ),
    ],
)
def test_security_groups_that_do_not_fit_are_told(change: Change, kind: str, place: str, mend: str, text: str) -> None:
    found = one(change)
    assert found[:4] == (kind, "error", place, mend)
    assert text in found[4]


def test_a_node_without_a_way_to_the_internet_answers_nobody_there() -> None:
    found = one(lambda document: table(document, "front-a").update(routes=[]))
    assert found[:4] == ("no-answer", "error", FRONT_A, "add {destination: 0.0.0.0/0, target: vpce-a}")
    assert found[4].startswith("client -> web-node-a: the answer is lost: route table front-a")


def test_inspection_in_front_in_one_direction_only_is_told() -> None:
    found = one(lambda document: table(document, "edge")["routes"].pop())
    assert found[:4] == ("skips-endpoint", "error", EDGE, "add {destination: 10.0.2.0/24, target: vpce-b}")
    direct = [{"destination": "0.0.0.0/0", "target": "igw"}]
    found = one(lambda document: table(document, "front-a").update(routes=direct))
    assert found[:4] == ("skips-endpoint", "warning", f"{FRONT_A}.routes[0].target", "target: vpce-a")


def test_inspection_behind_in_one_direction_only_is_told() -> None:
    found = one(from_servers_by_the_endpoint)
    assert found[:4] == ("skips-endpoint", "error", FRONT_A, "add {destination: 10.0.11.0/24, target: vpce-a}")
    assert found[4].startswith("web-node-a -> web-a1: the packet skips vpce-a, which its answer passes")
    found = one(to_servers_by_the_endpoint)
    assert found[:2] == ("skips-endpoint", "warning")
    assert found[3] == "route_table: one of its own, with {destination: 10.0.1.0/24, target: vpce-a}"


def test_a_target_behind_a_route_that_leads_nowhere_is_told_with_what_clients_get() -> None:
    document = yaml.safe_load(yaml.safe_dump(WEB))
    document["target_groups"][1] |= {"target_type": "ip", "targets": [{"id": "192.168.9.9"}, {"id": "10.0.11.11"}]}
    table(document, "front-a")["routes"].insert(0, {"destination": "10.0.11.0/24", "target": "vpce-b"})
    found = {(each.kind, each.severity) for each in findings(document)}
    assert ("other-zone", "error") in found or ("skips-endpoint", "warning") in found


def test_a_group_without_targets_is_told_with_what_clients_get() -> None:
    found = one(put("target_groups.1.targets", []))
    assert found[:2] == ("no-targets", "error")
    text = "target group web-servers of load balancer web has no targets: requests that are forwarded to it get 503 ("
    assert found[4].startswith(text)


def test_of_a_group_without_targets_the_rules_are_named_that_give_it_requests() -> None:
    """A group of weight 0 gets none (ELBv2 API, TargetGroupTuple)."""
    document = yaml.safe_load(yaml.safe_dump(WEB))
    document["target_groups"].append(document["target_groups"][1] | {"name": "empty", "targets": []})
    listener = document["load_balancers"][1]["listeners"][0]

    def weighted(weight: int) -> list[dict[str, object]]:
        groups = [{"target_group": "empty", "weight": weight}, {"target_group": "web-servers", "weight": 1}]
        return [{"type": "forward", "forward_config": {"target_groups": groups}}]

    def rule(priority: int, actions: list[dict[str, object]]) -> dict[str, object]:
        condition = {"field": "path-pattern", "values": [f"/{priority}"]}
        return {"priority": priority, "conditions": [condition], "actions": actions}

    listener["rules"] = [rule(12, weighted(0))]
    assert findings(document) == []
    whole: list[dict[str, object]] = [{"type": "forward", "target_group": "empty"}]
    listener["rules"] = [rule(8, whole), rule(12, weighted(0)), rule(20, weighted(1))]
    (found,) = findings(document)
    place = f"{listener['protocol']}:{listener['port']}"
    assert found.text == (
        "target group empty of load balancer web has no targets: requests that are forwarded to it get 503"
        f" ({place} rule 8, {place} rule 20)"
    )


@pytest.mark.contract("NL-10")
def test_the_group_of_a_load_balancer_behind_another_has_to_let_its_clients_in() -> None:
    """A network load balancer keeps its clients' addresses; its health checks come from its nodes."""
    groups = (
        {"name": "lb", "ingress": [{"protocol": "tcp", "ports": "80-81", "source": "0.0.0.0/0"}]},
        {"name": "alb", "ingress": [{"protocol": "tcp", "ports": "80-81", "source": "10.0.0.0/16"}]},
    )
    shut = yaml.safe_load(behind(security_groups=groups, members={"front": ["lb"], "web": ["alb"]}))
    found = [each for each in findings(shut) if each.kind != "no-nat"]  # servers without a public address
    assert {(each.kind, each.change) for each in found} == {
        ("shut-target", "{protocol: tcp, ports: 80, source: lb}"),
        ("shut-target", "{protocol: tcp, ports: 81, source: lb}"),
    }
    assert found[0].text == (
        "security group alb of target web-node-a lets in none of what load balancer front sends to tcp 80 there: it"
        " comes from clients, whose addresses it keeps"
    )
    shut["vpcs"][0]["security_groups"][1]["ingress"][0]["source"] = "lb"
    assert {each.kind for each in findings(shut)} == {"no-nat"}
