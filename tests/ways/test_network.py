"""The ways through a network load balancer's node, and each way that a packet can end there."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import yaml

from gwlbemu.core.network.tables import Connection
from gwlbemu.paths.answer import expected_answers
from gwlbemu.paths.network_node import NetworkModel
from gwlbemu.paths.values import Bound, Cause, Exchange, Kind, Packet, States
from gwlbemu.paths.walk import Paths, Request, exchange
from gwlbemu.topology.file.document import dotted
from gwlbemu.topology.plan.dns_names import resource_named
from gwlbemu.topology.plan.resolve import load
from gwlbemu.views.explanation import conclusion
from gwlbemu.wire.protocols import ICMP, TCP, UDP
from gwlbemu.wire.tcp import ACK, RST
from tests.lab.albs import behind
from tests.lab.fronts import ADDRESSES, BOTH, ECHO, NOBODY, ONLY_A, ONLY_B, PRIVATE, PUBLIC, front

Document = dict[str, Any]
Change = Callable[[Document], object]
CROSS_ZONE, PRESERVE = "load_balancing.cross_zone.enabled", "preserve_client_ip.enabled"


def paths(*changes: Change, **what: Any) -> Paths:
    document = yaml.safe_load(front(**what))
    for change in changes:
        change(document)
    return Paths(load(yaml.safe_dump(document, sort_keys=False), "front.yaml"))


def asked(found: Paths, packet: Packet, states: States | None = None) -> Exchange:
    return exchange(found, packet, states or States(), expected_answers(found.plan))


def tcp(source: str, destination: str, port: int, **what: Any) -> Packet:
    return Packet(source, destination, TCP, 40000, port, **what)


def looks(packet: Packet) -> tuple[str, int | None, str, int | None]:
    return packet.source, packet.source_port, packet.destination, packet.destination_port


def ended(found: Exchange) -> tuple[str, str, str]:
    return found.there.end.kind.value, found.there.end.at, found.there.end.reason


def not_across(document: Document) -> None:
    document["load_balancers"][0]["attributes"] = {CROSS_ZONE: False}


def group(document: Document, name: str) -> Document:
    return next(each for each in document["target_groups"] if each["name"] == name)


def not_preserved(name: str) -> Change:
    return lambda document: group(document, name)["attributes"].update({PRESERVE: False})


def weights(**weight: int) -> Change:
    """The listener BOTH forwards to several groups."""

    def change(document: Document) -> None:
        groups = [{"target_group": name, "weight": share} for name, share in weight.items()]
        action = {"type": "forward", "forward_config": {"target_groups": groups}}
        document["load_balancers"][0]["listeners"][0]["default_actions"] = [action]

    return change


LB = {"name": "lb", "ingress": [{"protocol": "tcp", "ports": ONLY_A, "source": "198.51.100.0/24"}]}
WEB = {"name": "web", "ingress": [{"protocol": "tcp", "ports": 80, "source": "lb"}]}


def grouped(*changes: Change, lb: Document = LB, web: Document = WEB) -> Paths:
    return paths(*changes, security_groups=(lb, web), members={"front": ["lb"], "web-a": ["web"]})


@pytest.mark.contract("NL-01", "NL-03")
def test_a_client_is_preserved_and_the_answer_finds_back_to_the_node_that_it_asked() -> None:
    found = asked(paths(), tcp("client", PUBLIC["b"], ONLY_A))
    assert found.answered
    assert looks(found.there.packet) == (ADDRESSES["client"], 40000, ADDRESSES["web-a"], 80)
    assert found.there.balanced == (("front-node-b", "web-a"),)
    assert found.back is not None
    assert looks(found.back.packet) == (PUBLIC["b"], ONLY_A, ADDRESSES["client"], 40000)
    assert [hop.at for hop in found.back.hops] == [
        "web-a", "app-a", "front-node-b", "front-b", "igw", "internet", "client"
    ]  # fmt: skip
    assert dotted(next(hop.path for hop in found.there.hops if hop.kind == "choice")) == "target_groups[1]"


@pytest.mark.contract("NL-03")
def test_a_client_that_is_not_preserved_is_the_node_for_the_target() -> None:
    found = asked(paths(not_preserved("only-a")), tcp("client", PUBLIC["b"], ONLY_A))
    assert found.answered
    assert looks(found.there.packet) == (PRIVATE["b"], 40000, ADDRESSES["web-a"], 80)
    assert found.back is not None
    assert looks(found.back.packet) == (PUBLIC["b"], ONLY_A, ADDRESSES["client"], 40000)
    low = asked(paths(not_preserved("only-a")), replace(tcp("client", PUBLIC["b"], ONLY_A), source_port=1000))
    assert low.there.packet.source_port is None  # out of the node's range: another one
    assert low.answered


@pytest.mark.contract("NL-03")
def test_datagrams_are_preserved_too() -> None:
    found = asked(paths(), Packet("near", PRIVATE["a"], UDP, 40000, ECHO))
    assert found.answered
    assert looks(found.there.packet) == (ADDRESSES["near"], 40000, ADDRESSES["web-a"], 7)


@pytest.mark.contract("NL-02")
def test_without_a_seed_every_target_is_possible_and_with_one_it_is_the_kernels() -> None:
    found = asked(paths(), tcp("client", "front-node-a", BOTH))
    assert found.answered
    assert {one.there.end.at for one in found.possible} == {"web-a", "web-b"}
    made = paths()
    (node, _) = made.plan.network_nodes
    met = set()
    for number in range(40):
        states = States(seeds={node.name: 7})
        packet = replace(tcp("client", "front-node-a", BOTH), source_port=40000 + number, sequence=number)
        said = asked(made, packet, states)
        assert len(said.possible) == 1
        source, destination = (bytes(map(int, each.split("."))) for each in (ADDRESSES["client"], PRIVATE["a"]))
        core = NetworkModel(made.plan, node, states)._core
        assert core.chosen(Connection(TCP, source, 40000 + number, destination, BOTH, number)) == (
            "both", said.there.end.at,
        )  # fmt: skip
        met.add(said.there.end.at)
    assert met == {"web-a", "web-b"}


@pytest.mark.contract("NL-02")
def test_a_sticky_groups_target_needs_no_port_and_no_sequence_number() -> None:
    sticky = {"stickiness.enabled": True, "stickiness.type": "source_ip"}
    made = paths(groups={"both": sticky})
    states = States(seeds={node.name: 3 for node in made.plan.network_nodes})
    ports = [replace(tcp("client", "front-node-a", BOTH), source_port=port) for port in (None, 1000, 40000)]
    found = [asked(made, each, states) for each in ports]
    assert [len(each.possible) for each in found] == [1, 1, 1]
    assert len({each.there.end.at for each in found}) == 1


@pytest.mark.contract("NL-05")
@pytest.mark.parametrize(
    ("packet", "cause"),
    [
        (tcp("client", PUBLIC["a"], 9999), Cause.NO_LISTENER),
        (Packet("client", PUBLIC["a"], UDP, 40000, BOTH), Cause.NO_LISTENER),
        (Packet("client", PUBLIC["a"], ICMP), Cause.NO_LISTENER),
        (tcp("client", PUBLIC["a"], BOTH, tcp_flags=ACK), Cause.RESET),
        (tcp("client", PUBLIC["a"], BOTH, tcp_flags=RST), Cause.NO_LISTENER),
        (tcp("client", PUBLIC["a"], 9999, tcp_flags=ACK), Cause.NO_LISTENER),
        (replace(tcp("web-a", PRIVATE["a"], 9999), source_port=80, tcp_flags=ACK), Cause.RESET),
        (tcp("client", PUBLIC["a"], ONLY_A, ttl=4), Cause.TTL),
    ],
)
def test_a_packet_ends_at_the_node(packet: Packet, cause: Cause) -> None:
    assert ended(asked(paths(), packet)) == ("dropped", "front-node-a", cause.value)


@pytest.mark.contract("NL-08")
def test_a_zone_without_targets_drops_unless_the_group_says_otherwise() -> None:
    here = tcp("client", PUBLIC["b"], ONLY_A)
    found = asked(paths(not_across), here)
    assert ended(found) == ("dropped", "front-node-b", Cause.NO_TARGETS_IN_ZONE.value)
    assert dotted(found.there.end.path) == "target_groups[1]"
    assert asked(paths(not_across), replace(here, destination=PUBLIC["a"])).answered
    assert asked(paths(not_across, groups={"only-a": {CROSS_ZONE: "true"}}), here).answered


def test_a_group_without_targets_drops() -> None:
    none = asked(paths(lambda document: group(document, "only-a").update(targets=[])), tcp("client", "front", ONLY_A))
    assert {one.there.end.reason for one in none.possible} == {Cause.NO_TARGETS.value}


@pytest.mark.contract("NL-12")
def test_weighted_groups_are_all_possible_but_those_of_weight_zero() -> None:
    found = asked(paths(weights(**{"only-a": 1, "only-b": 2, "nobody": 0})), tcp("client", "front-node-a", BOTH))
    assert {one.there.packet.destination for one in found.possible} == {ADDRESSES["web-a"], ADDRESSES["web-b"]}
    assert {one.there.packet.destination_port for one in found.possible} == {80}


@pytest.mark.contract("NL-06", "NL-07")
def test_only_healthy_targets_get_connections_and_all_where_none_is() -> None:
    one = States(members={("front-node-a", "both", "web-a"): "unhealthy"})
    found = asked(paths(), tcp("client", "front-node-a", BOTH), one)
    assert (found.there.end.at, len(found.possible)) == ("web-b", 1)
    none = States(members={("front-node-a", "both", name): "unhealthy" for name in ("web-a", "web-b")})
    found = asked(paths(), tcp("client", "front-node-a", BOTH), none)
    assert {each.there.end.at for each in found.possible} == {"web-a", "web-b"}
    assert next(hop.detail for hop in found.there.hops if hop.kind == "choice") == (
        "fail open: no target in scope is healthy"
    )


def test_a_live_connection_stays_where_it_is() -> None:
    key = (UDP, ADDRESSES["near"], 40000, PRIVATE["a"], ECHO)
    states = States(connections={"front-node-a": {key: Bound("echo", "web-b", ADDRESSES["web-b"], 7)}})
    assert asked(paths(), Packet("near", PRIVATE["a"], UDP, 40000, ECHO), states).there.end.at == "web-b"
    assert asked(paths(), Packet("near", PRIVATE["a"], UDP, 40001, ECHO), states).there.end.at == "web-a"


@pytest.mark.contract("NL-17")
def test_a_client_that_is_its_own_target_fails_while_addresses_are_preserved() -> None:
    own = tcp("web-a", PRIVATE["a"], ONLY_A)
    found = asked(paths(), own)
    assert ended(found) == ("dropped", "web-a", Cause.HAIRPIN.value)
    assert "client IP preservation" in found.there.end.sentence
    assert asked(paths(not_preserved("only-a")), own).answered
    assert asked(paths(), replace(own, destination_port=ONLY_B)).answered
    assert asked(paths(), tcp("web-a", PRIVATE["a"], BOTH)).there.end.kind is Kind.AMBIGUOUS


@pytest.mark.contract("NL-11")
def test_the_load_balancers_group_lets_clients_in_and_is_a_source_for_its_targets() -> None:
    assert asked(grouped(), tcp("client", PUBLIC["a"], ONLY_A)).answered
    assert ended(asked(grouped(), tcp("near", PRIVATE["a"], ONLY_A))) == (
        "dropped", "front-node-a", Cause.SECURITY_GROUP.value
    )  # fmt: skip
    assert ended(asked(grouped(), tcp("client", "203.0.113.10", 80))) == (
        "dropped", "web-a", Cause.SECURITY_GROUP.value
    )  # fmt: skip
    assert asked(grouped(not_preserved("only-a")), tcp("client", PUBLIC["a"], ONLY_A)).answered
    clients = {"name": "web", "ingress": [{"protocol": "tcp", "ports": 80, "source": "198.51.100.0/24"}]}
    assert asked(grouped(web=clients), tcp("client", PUBLIC["a"], ONLY_A)).answered
    assert ended(asked(grouped(not_preserved("only-a"), web=clients), tcp("client", PUBLIC["a"], ONLY_A))) == (
        "dropped", "web-a", Cause.SECURITY_GROUP.value
    )  # fmt: skip
    shut = LB | {"egress": [{"protocol": "udp", "destination": "0.0.0.0/0"}]}
    assert asked(grouped(lb=shut), tcp("client", PUBLIC["a"], ONLY_A)).answered  # by the fabric, and answers may leave
    assert ended(asked(grouped(not_preserved("only-a"), lb=shut), tcp("client", PUBLIC["a"], ONLY_A))) == (
        "dropped", "front-node-a", Cause.SECURITY_GROUP.value
    )  # fmt: skip


def test_a_port_where_nobody_listens_is_refused_by_the_address_that_was_asked() -> None:
    found = asked(paths(), tcp("client", PUBLIC["b"], NOBODY))
    assert found.answered
    assert found.back is not None
    assert found.back.packet.tcp_flags & RST
    assert looks(found.back.packet) == (PUBLIC["b"], NOBODY, ADDRESSES["client"], 40000)


@pytest.mark.contract("NL-15")
def test_a_name_means_every_address_that_dns_may_answer() -> None:
    def zones(found: Exchange) -> set[str]:
        return {one.there.balanced[0][0] for one in found.possible}

    made = paths(not_across)
    assert zones(asked(paths(), tcp("client", "front", ONLY_A))) == {"front-node-a", "front-node-b"}
    lost = States(members={("front-node-b", name, "web-b"): "unhealthy" for name in ("both", "only-b")})
    assert zones(asked(made, tcp("client", "front", BOTH), lost)) == {"front-node-a", "front-node-b"}
    # Each group has to have a healthy target: in zone a, `only-b` has none, in zone b `only-a`.
    either = paths(not_across, lambda document: document.update(
        load_balancers=[document["load_balancers"][0] | {
            "listeners": document["load_balancers"][0]["listeners"][:1]
        }]
    ))  # fmt: skip
    assert zones(asked(either, tcp("client", "front", BOTH), lost)) == {"front-node-a"}
    affine = {"dns_record.client_routing_policy": "availability_zone_affinity", CROSS_ZONE: True}
    near = paths(lambda document: document["load_balancers"][0].update(attributes=affine))
    assert zones(asked(near, tcp("client", "front", ONLY_A))) == {"front-node-a", "front-node-b"}
    assert {hop.packet.destination for hop in asked(near, tcp("near", "front", ONLY_A)).there.hops[:1]} == {PUBLIC["a"]}


def test_what_is_broken_ends_a_way_there() -> None:
    for broken, at in ((("node", "front-node-a"), "front-a"), (("zone", "a"), "front-a")):
        found = asked(paths(), tcp("client", PUBLIC["a"], ONLY_A), States(broken=frozenset({broken})))
        assert ended(found) == ("dropped", at, Cause.BROKEN.value)
    frozen = States(broken=frozenset({("process", "front-node-a")}))
    assert asked(paths(), tcp("client", PUBLIC["a"], ONLY_A), frozen).answered


def test_after_an_answer_was_remembered_a_target_is_asked_itself() -> None:
    """What a client sends past the load balancer is answered past it."""
    found = asked(paths(), tcp("near", ADDRESSES["web-a"], 80))
    assert found.answered
    assert found.back is not None
    assert not any(hop.at.startswith("front-node") for hop in found.back.hops)


def proxied(protocol: str = "TLS", **attributes: object) -> Paths:
    """The listener ONLY_A ends TLS, or connections are announced by proxy protocol version 2."""

    def change(document: Document) -> None:
        listener = next(each for each in document["load_balancers"][0]["listeners"] if each["port"] == ONLY_A)
        listener["protocol"] = protocol
        group(document, "only-a")["attributes"].update(attributes)

    return paths(change)


@pytest.mark.contract("NL-09")
def test_a_proxy_in_the_node_ends_the_connection_and_begins_another_with_the_clients_address() -> None:
    found = asked(proxied(), tcp("client", PUBLIC["a"], ONLY_A))
    assert found.answered
    assert found.served
    assert ended(found) == ("delivered", "front-node-a", "")
    onward = found.onward
    assert onward is not None
    assert onward.exchange is not None
    second = onward.exchange
    assert looks(second.there.packet) == (ADDRESSES["client"], None, ADDRESSES["web-a"], 80)
    assert second.there.balanced == (("front-node-a", "web-a"),)
    assert second.back is not None
    assert second.back.end.at == "front-node-a"  # and not the client, whose address it has
    assert [hop.at for hop in second.back.hops] == ["web-a", "app-a", "front-node-a"]
    assert onward.sees == (f"source {ADDRESSES['client']}, the client's",)
    assert conclusion(found).endswith("It is served by web-a.")
    assert ended(asked(proxied(), tcp("client", PUBLIC["a"], ONLY_A, tcp_flags=ACK)))[2] == Cause.RESET.value


@pytest.mark.contract("NL-04")
def test_a_proxy_tells_the_client_by_proxy_protocol_and_is_the_source_where_that_is_not_kept() -> None:
    made = proxied("TCP", **{"proxy_protocol_v2.enabled": True, PRESERVE: False})
    found = asked(made, tcp("client", PUBLIC["b"], ONLY_A))
    assert found.onward is not None
    assert found.onward.exchange is not None
    assert found.onward.exchange.there.packet.source == PRIVATE["b"]
    assert found.onward.sees == (
        f"source {PRIVATE['b']}, the node's",
        f"a header of proxy protocol version 2, with {ADDRESSES['client']}",
    )
    assert found.served


def test_what_a_proxy_cannot_reach_closes_the_connection_that_it_has_taken() -> None:
    found = asked(proxied(), tcp("client", PUBLIC["a"], ONLY_A), States(broken=frozenset({("instance", "web-a")})))
    assert found.answered
    assert not found.served
    assert "But front-node-a closes the connection: " in conclusion(found)
    own = asked(proxied(), tcp("web-a", PRIVATE["a"], ONLY_A))  # its own client, with its own address
    assert own.onward is not None
    assert own.onward.exchange is not None
    assert own.onward.exchange.there.end.reason == Cause.HAIRPIN.value
    stopped = States(without_engine=frozenset({"front-node-a"}))
    assert ended(asked(proxied(), tcp("client", PUBLIC["a"], ONLY_A), stopped))[2] == Cause.RESET.value


def test_a_request_is_for_the_application_load_balancer_behind_whoever_ends_the_connection_before() -> None:
    document = yaml.safe_load(behind())
    document["vpcs"][0]["ipv6_cidr"] = "2001:db8:a::/56"
    for number, subnet in enumerate(document["vpcs"][0]["subnets"]):
        subnet["ipv6_cidr"] = f"2001:db8:a:{number}::/64"
    front = document["load_balancers"][0]
    front |= {"ip_address_type": "dualstack"}
    made = Paths(load(yaml.safe_dump(document, sort_keys=False), "behind.yaml"))
    node = made.plan.network_nodes[0]
    found = exchange(made, tcp("near", node.ipv6_address, 80), request=Request("GET", "/x"))
    assert found.served
    first = found.onward
    assert first is not None
    assert first.exchange is not None
    assert first.sees == (f"source {node.address}, the node's, since targets have IPv4",)
    second = first.exchange.onward
    assert second is not None
    assert second.sees[0] == "GET /x"
    assert second.sees[3].startswith(f"X-Forwarded-For: {node.address},")
    ends = [one.onward.exchange.there.end.at for one in found.possible if one.onward and one.onward.exchange]
    assert set(ends) == {"web-node-a", "web-node-b"}


def test_nothing_is_claimed_of_a_node_whose_tables_were_changed() -> None:
    states = States(changed_tables=frozenset({"front-node-a"}))
    found = asked(paths(), tcp("client", PUBLIC["a"], BOTH), states)
    assert ended(found) == ("ambiguous", "front-node-a", Cause.CHANGED_TABLES.value)
    assert conclusion(found).startswith("Not known: the tables of front-node-a in the kernel are missing")
    assert asked(paths(), tcp("client", PUBLIC["b"], BOTH), states).answered


@pytest.mark.parametrize(
    ("name", "resource"),
    [
        ("front.elb.lab.amazonaws.com", "front"),
        ("b.front.elb.lab.amazonaws.com", "front-node-b"),
        ("Front.ELB.lab.amazonaws.com.", "front"),
        ("web-a.app.internal", "web-a"),
        ("web-a", "web-a"),
        ("192.0.2.1", "192.0.2.1"),
        ("c.front.elb.lab.amazonaws.com", "c.front.elb.lab.amazonaws.com"),
    ],
)
def test_a_dns_name_stands_for_a_resource(name: str, resource: str) -> None:
    assert resource_named(paths().plan, name) == resource
