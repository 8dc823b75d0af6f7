"""The ways to an application load balancer's node, each way that a packet can end there, and what comes then."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import yaml

from gwlbemu.errors import UnknownNameError
from gwlbemu.paths.answer import expected_answers
from gwlbemu.paths.values import Cause, Exchange, Kind, Onward, Packet, States
from gwlbemu.paths.walk import Paths, Request, exchange
from gwlbemu.topology.plan.resolve import load
from gwlbemu.views.explanation import conclusion
from gwlbemu.views.outcome import outcome_of
from gwlbemu.wire.protocols import ICMP, TCP, UDP
from gwlbemu.wire.tcp import ACK, RST, SYN
from tests.paths import TOPOLOGIES

Document = dict[str, Any]
Change = Callable[[Document], object]
NODES = {"a": "10.0.1.254", "b": "10.0.2.254"}
CROSS_ZONE = "load_balancing.cross_zone.enabled"
WEBS = {"web-a1", "web-a2", "web-b1", "web-b2"}


def paths(*changes: Change) -> Paths:
    """The bundled web tier, with an appliance that lets everything pass."""
    document = yaml.safe_load((TOPOLOGIES / "web-tier.yaml").read_text())
    for instance in document["vpcs"][1]["instances"]:
        instance["program"] = "passthrough"
    for change in changes:
        change(document)
    return Paths(load(yaml.safe_dump(document, sort_keys=False), "web-tier.yaml"))


def asked(found: Paths, packet: Packet, states: States | None = None) -> Exchange:
    return exchange(found, packet, states or States(), expected_answers(found.plan))


def tcp(source: str, destination: str, port: int = 443, **what: Any) -> Packet:
    return Packet(source, destination, TCP, 40000, port, **what)


def ended(found: Exchange) -> tuple[str, str, str]:
    return found.there.end.kind.value, found.there.end.at, found.there.end.reason


def targets(found: Exchange) -> set[str]:
    return {one.onward.target for one in found.possible if one.onward}


def statuses(found: Exchange) -> set[int]:
    return {one.onward.status for one in found.possible if one.onward}


def balancer(document: Document) -> Document:
    return next(each for each in document["load_balancers"] if each["type"] == "application")


def https(document: Document) -> Document:
    return next(each for each in balancer(document)["listeners"] if each["port"] == 443)


def group(document: Document) -> Document:
    return next(each for each in document["target_groups"] if each["name"] == "web-servers")


def security_group(document: Document, name: str) -> Document:
    return next(each for each in document["vpcs"][0]["security_groups"] if each["name"] == name)


def with_rules(document: Document) -> None:
    """Rule 5 answers by itself, rule 10 goes to a group of web-b2 alone."""
    document["target_groups"].append(group(document) | {"name": "api", "targets": ["web-b2"]})
    fixed = {"type": "fixed-response", "fixed_response_config": {"status_code": "404"}}
    https(document)["rules"] = [
        {"priority": 10, "conditions": [{"field": "path-pattern", "values": ["/api/*"]}],
         "actions": [{"type": "forward", "target_group": "api"}]},
        {"priority": 5, "conditions": [{"field": "path-pattern", "values": ["/no"]}], "actions": [fixed]},
    ]  # fmt: skip


@pytest.mark.contract("AL-01")
def test_a_connection_ends_at_the_node_which_begins_another_one_with_its_own_address() -> None:
    made = paths()
    found = asked(made, tcp("client", "web-node-a"))
    assert found.answered
    assert found.served
    assert ended(found) == ("delivered", "web-node-a", "")
    assert found.there.is_terminated
    assert (found.inspected, found.same_targets) == ((True, True), True)
    assert targets(found) == WEBS
    onward = found.onward
    assert onward is not None
    assert onward.exchange is not None
    assert onward.exchange.there.packet.source == NODES["a"]
    assert onward.exchange.inspected == (False, False)
    assert onward.exchange.back is not None
    assert onward.exchange.back.end.at == "web-node-a"
    assert onward.exchange.there.hops[0].rule == "security group load-balancer: tcp 80 to servers"
    assert onward.exchange.there.hops[-1].rule == "security group servers: tcp 80 from load-balancer"
    assert "round robin, one of 4" in onward.detail


@pytest.mark.contract("AL-02")
def test_it_is_told_what_a_target_sees_of_the_client() -> None:
    def sees(**attributes: object) -> tuple[str, ...]:
        found = asked(paths(lambda d: balancer(d).update(attributes=attributes)), tcp("client", "web-node-a"))
        assert found.onward is not None
        return found.onward.sees

    first, forwarded, proto, port = sees()
    assert first == f"source {NODES['a']}, the node's"
    assert forwarded.startswith("X-Forwarded-For: 198.51.100.10,")
    assert (proto, port) == ("X-Forwarded-Proto: https", "X-Forwarded-Port: 443")
    assert sees(**{"routing.http.xff_client_port.enabled": True})[1].startswith("X-Forwarded-For: 198.51.100.10:40000,")
    assert sees(**{"routing.http.xff_header_processing.mode": "remove"})[1] == "no X-Forwarded-For"


def test_a_name_means_the_node_of_each_zone_that_dns_answers() -> None:
    found = asked(paths(), tcp("client", "web"))
    assert {one.there.end.at for one in found.possible} == {"web-node-a", "web-node-b"}
    assert found.there.delivered  # not ambiguous: each is the load balancer
    assert "Delivered to web-node-a or web-node-b and answered" in conclusion(found)
    off = paths(lambda d: group(d).update(attributes={CROSS_ZONE: "false"}))
    lost = States(members={("web-node-b", "web-servers", name): "unhealthy" for name in ("web-b1", "web-b2")})
    assert {one.there.end.at for one in asked(off, tcp("client", "web"), lost).possible} == {"web-node-a"}


@pytest.mark.contract("AL-04")
def test_every_rule_may_match_a_request_that_is_not_known() -> None:
    found = asked(paths(with_rules), tcp("client", "web-node-a"))
    assert targets(found) == WEBS | {""}
    by_rule = {(one.onward.rule.partition(" -> ")[0], one.onward.status) for one in found.possible if one.onward}
    assert by_rule == {
        ("listener HTTPS:443, rule 5", 404),
        ("listener HTTPS:443, rule 10", 0),
        ("listener HTTPS:443, default actions", 0),
    }
    assert found.served  # a fixed response is what was wanted
    assert asked(paths(), tcp("client", "web-node-a", 80)).onward is not None
    assert statuses(asked(paths(), tcp("client", "web-node-a", 80))) == {301}


@pytest.mark.contract("AL-04")
def test_a_given_request_has_its_rule_and_the_target_is_told_what_becomes_of_it() -> None:
    made = paths(with_rules)

    def of(request: Request) -> Onward:
        found = exchange(made, tcp("client", "web-node-a"), request=request)
        rules = {one.onward.rule.partition(" -> ")[0] for one in found.possible if one.onward}
        assert len(rules) == 1
        assert found.onward is not None
        return found.onward

    assert (of(Request("GET", "/no")).status, of(Request("GET", "/no")).served) == (404, True)
    api = of(Request("GET", "/api/1?a=b", (("Host", "EXAMPLE.com"),)))
    assert (api.rule, api.target) == ("listener HTTPS:443, rule 10 -> target group api: web-b2", "web-b2")
    assert api.sees[:3] == ("GET /api/1?a=b", "Host: example.com", f"source {NODES['a']}, the node's")
    assert of(Request()).target_group == "web-servers"
    assert (of(Request("TRACE", "/")).status, of(Request("TRACE", "/")).served) == (405, False)
    redirect = exchange(made, tcp("client", "web-node-a", 80), request=Request("GET", "/x")).onward
    assert redirect is not None
    assert "301 Moved Permanently" in redirect.sentence
    assert "https://web." in redirect.sentence


@pytest.mark.contract("AL-09", "AL-10")
def test_only_healthy_targets_in_scope_are_asked_and_all_where_none_is() -> None:
    one = States(members={("web-node-a", "web-servers", "web-a1"): "unhealthy"})
    assert targets(asked(paths(), tcp("client", "web-node-a"), one)) == WEBS - {"web-a1"}
    none = States(members={("web-node-a", "web-servers", name): "unhealthy" for name in WEBS})
    found = asked(paths(), tcp("client", "web-node-a"), none)
    assert targets(found) == WEBS
    assert found.onward is not None
    assert found.onward.detail.startswith("fail open")
    off = paths(lambda d: group(d).update(attributes={CROSS_ZONE: "false"}))
    assert targets(asked(off, tcp("client", "web-node-b"))) == {"web-b1", "web-b2"}


@pytest.mark.contract("AL-11")
@pytest.mark.parametrize(
    ("change", "status", "why"),
    [
        (lambda d: group(d).update(targets=[]), 503, "has no registered targets"),
        (
            lambda d: group(d).update(targets=["web-b1"], attributes={CROSS_ZONE: "false"}),
            503,
            "no target in zone a, and cross-zone load balancing is off",
        ),
        (lambda d: group(d).update(port=8080), 504, "no egress rule of load-balancer"),
        (
            lambda d: security_group(d, "servers")["ingress"][0].update(source="192.0.2.0/24"),
            504,
            "no ingress rule of servers allows",
        ),
        (
            lambda d: d["vpcs"][0]["instances"][0].update(program=None)
            or group(d).update(targets=["web-a1"]),
            502,
            "nothing listens on 10.0.11.11:80",
        ),
    ],
)  # fmt: skip
def test_a_request_without_a_target_that_answers_gets_the_documented_status(
    change: Change, status: int, why: str
) -> None:
    found = asked(paths(change), tcp("client", "web-node-a"))
    assert found.answered  # the handshake is the node's
    assert not found.served
    assert statuses(found) == {status}
    assert found.onward is not None
    assert why in found.onward.sentence
    assert str(status) in conclusion(found)
    outcome = outcome_of(paths(change).plan, found.possible[0])
    assert outcome.answered
    assert str(status) in outcome.sentence


@pytest.mark.parametrize(
    ("packet", "at", "cause"),
    [
        (tcp("client", "web-node-a", 8080), "web-node-a", Cause.SECURITY_GROUP),
        (Packet("client", "web-node-a", UDP, 40000, 443), "web-node-a", Cause.SECURITY_GROUP),
        (Packet("client", "web-node-a", ICMP), "web-node-a", Cause.SECURITY_GROUP),
        (tcp("web-b1", "web-a1", 80), "web-a1", Cause.SECURITY_GROUP),  # AL-13: their group admits the load balancer's
    ],
)
@pytest.mark.contract("AL-13")
def test_nobody_comes_past_the_security_groups(packet: Packet, at: str, cause: Cause) -> None:
    assert ended(asked(paths(), packet)) == ("dropped", at, cause.value)


def open_to_all(document: Document) -> None:
    security_group(document, "load-balancer")["ingress"] = [{"protocol": "all", "source": "0.0.0.0/0"}]


@pytest.mark.parametrize(
    ("packet", "cause"),
    [
        (tcp("web-a1", NODES["a"], 8080), Cause.NO_LISTENER),
        (Packet("web-a1", NODES["a"], UDP, 40000, 443), Cause.NO_LISTENER),
        (Packet("web-a1", NODES["a"], 47), Cause.NO_LISTENER),
        (tcp("web-a1", NODES["a"], tcp_flags=ACK), Cause.RESET),
        (tcp("web-a1", NODES["a"], 8080, tcp_flags=SYN | ACK), Cause.RESET),
        (tcp("web-a1", NODES["a"], tcp_flags=RST), Cause.NO_LISTENER),
    ],
)
def test_a_packet_that_is_no_connection_to_a_listener_ends_at_the_node(packet: Packet, cause: Cause) -> None:
    assert ended(asked(paths(open_to_all), packet)) == ("dropped", "web-node-a", cause.value)


def test_a_ping_is_answered_where_it_is_let_in() -> None:
    found = asked(paths(open_to_all), Packet("web-a1", NODES["a"], ICMP))
    assert found.answered
    assert found.onward is None
    assert ended(found) == ("delivered", "web-node-a", "")


def test_a_node_without_its_haproxy_answers_with_a_reset() -> None:
    states = States(without_engine=frozenset({"web-node-a"}))
    assert ended(asked(paths(), tcp("client", "web-node-a"), states)) == ("dropped", "web-node-a", Cause.RESET.value)
    assert asked(paths(), tcp("client", "web-node-b"), states).served


def test_what_is_broken_ends_a_way_there_or_the_one_to_a_target() -> None:
    found = asked(paths(), tcp("client", "web-node-a"), States(broken=frozenset({("node", "web-node-a")})))
    assert ended(found) == ("dropped", "front-a", Cause.BROKEN.value)
    pulled = States(broken=frozenset({("instance", "web-a1")}))
    found = asked(paths(), tcp("client", "web-node-a"), pulled)
    assert found.answered
    assert not found.served
    assert {one.onward.status for one in found.possible if one.onward and one.onward.target == "web-a1"} == {504}


def test_a_node_is_a_sender_and_connections_to_targets_may_be_asked_for_alone() -> None:
    found = asked(paths(), tcp("web-node-b", "web-a1", 80))
    assert found.answered
    assert found.onward is None
    assert found.back is not None
    assert found.back.end.at == "web-node-b"
    with pytest.raises(UnknownNameError, match="no instance web-node-c"):
        asked(paths(), tcp("web-node-c", "web-a1", 80))
    assert exchange(paths(), tcp("client", "web-node-a"), follow=False).onward is None


def inspected_behind(document: Document) -> None:
    """What goes between load balancer and servers takes the firewall's endpoints, too, both ways."""
    vpc = document["vpcs"][0]
    for zone, other in (("a", 1), ("b", 2)):
        subnet = next(each for each in vpc["subnets"] if each["name"] == f"app-{zone}")
        subnet["route_table"] = f"app-{zone}"
        to_front = {"destination": f"10.0.{other}.0/24", "target": f"vpce-{zone}"}
        vpc["route_tables"].append({"name": f"app-{zone}", "routes": [to_front]})
        front = next(each for each in vpc["route_tables"] if each["name"] == f"front-{zone}")
        front["routes"].append({"destination": f"10.0.1{other}.0/24", "target": f"vpce-{zone}"})


def test_a_gateway_load_balancer_behind_looks_at_the_second_connection() -> None:
    found = asked(paths(inspected_behind), tcp("client", "web-node-a"))
    by_target = {one.onward.target: one.onward for one in found.possible if one.onward}
    mine, far = by_target["web-a1"].exchange, by_target["web-b1"].exchange
    assert mine is not None
    assert far is not None
    assert (mine.inspected, mine.same_targets) == ((True, True), True)
    assert mine.there.endpoints == ("vpce-a",)
    assert far.inspected == (False, False)  # nothing leads it there: each front table has its own zone's servers


def behind_another(document: Document) -> None:
    """The load balancer `inner`, internal, whose target by address is a node of the first one."""
    document["target_groups"].append(
        {"name": "outer", "vpc": "app", "protocol": "HTTP", "port": 80, "target_type": "ip", "targets": [NODES["b"]]}
    )
    document["load_balancers"].append(
        {
            "name": "inner", "type": "application", "scheme": "internal", "subnets": ["app-a", "app-b"],
            "listeners": [
                {"protocol": "HTTP", "port": 80, "default_actions": [{"type": "forward", "target_group": "outer"}]}
            ],
        }
    )  # fmt: skip


def test_one_load_balancer_behind_another_is_followed_too() -> None:
    found = asked(paths(behind_another), tcp("web-a1", "inner-node-a", 80))
    assert found.onward is not None
    assert found.onward.exchange is not None
    inner = found.onward.exchange.onward
    assert inner is not None
    assert (inner.node, inner.status) == ("web-node-b", 301)
    assert found.served
    assert found.there.end.kind is Kind.DELIVERED
