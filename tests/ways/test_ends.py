"""Each way that a packet can end, on small networks: where, why, and by which line."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from gwlbemu.core.gateway.verdict import Reason
from gwlbemu.paths.values import Cause, FlowKey, Kind, Packet, States, Way
from gwlbemu.paths.walk import Paths, exchange, way
from gwlbemu.topology.file.document import dotted
from gwlbemu.topology.plan.resolve import load
from gwlbemu.wire.protocols import GRE, ICMP, TCP, UDP
from gwlbemu.wire.tcp import ACK
from tests.paths import TOPOLOGIES
from tests.topology.builder import Data, plan_of, put

Change = Callable[[Data], object]
PASSTHROUGH: Change = put("vpcs.1.instances.0.program", "passthrough")
REQUEST = Packet("client", "web", TCP, 40000, 80)
OUTWARD = Packet("web", "client", TCP, 40000, 80)


def paths(*changes: Change) -> Paths:
    """Return the base topology, whose appliance returns what it gets, changed."""

    def all_of_them(data: Data) -> None:
        for change in (PASSTHROUGH, *changes):
            change(data)

    return Paths(plan_of(all_of_them))


def walked(packet: Packet, *changes: Change, states: States | None = None) -> Way:
    return way(paths(*changes), packet, states or States())


def ended(found: Way) -> tuple[str, str, str]:
    return found.end.kind.value, found.end.at, found.end.reason


def dropped(at: str, reason: Cause | Reason) -> tuple[str, str, str]:
    return "dropped", at, reason.value


NAT: list[Change] = [
    put("vpcs.0.subnets+", {"name": "nat-a", "zone": "a", "cidr": "10.0.21.0/24", "route_table": "nat-a"}),
    put("vpcs.0.route_tables+", {"name": "nat-a", "routes": [{"destination": "0.0.0.0/0", "target": "igw"}]}),
    put("vpcs.0.nat_gateways", [{"name": "nat", "subnet": "nat-a", "public_address": "203.0.113.99"}]),
]
PROBES = {"protocol": "tcp", "source": "10.0.0.0/8"}
DROP = 'drop tcp any any -> any 80 (msg:"no web"; sid:1;)'
FIREWALL = {"firewall": {"rules": [{"name": "no-ping", "action": "deny", "protocol": "icmp"}], "default": "allow"}}


def test_every_rule_and_every_end_has_its_place_in_the_file() -> None:
    found = walked(REQUEST)
    places = {hop.rule: dotted(hop.path) for hop in found.hops if hop.path}
    assert places == {
        "route table edge: 10.0.1.0/24 -> vpce-a": "vpcs[0].route_tables[0].routes[0]",
        "route table ep-a: 10.0.0.0/16 -> local (app-a)": "vpcs[0].route_tables[2]",
        "security group web: tcp 80 from 0.0.0.0/0": "vpcs[0].security_groups[0].ingress[0]",
    }
    assert found.end.path == ()
    refused = walked(replace(REQUEST, destination_port=81))
    assert dotted(refused.end.path) == "vpcs[0].security_groups[0]"
    no_line = walked(OUTWARD, put("vpcs.0.route_tables.2.routes", []))
    assert dotted(no_line.end.path) == "vpcs[0].route_tables[2]"
    no_table = walked(OUTWARD, put("vpcs.0.subnets.0.route_table", None))
    assert dotted(no_table.end.path) == "vpcs[0].subnets[0]"


def test_a_transit_gateways_table_has_its_place_too() -> None:
    plan = load((TOPOLOGIES / "transit-gateway.yaml").read_text(), "transit-gateway.yaml")
    found = way(Paths(plan), Packet("client-a", "10.99.0.1", TCP, 40000, 80))
    assert {dotted(hop.path) for hop in found.hops if hop.kind == "transit"} == {
        "transit_gateways[0].route_tables[0].routes[0]"
    }
    assert (found.end.reason, dotted(found.end.path)) == (Cause.NO_ROUTE.value, "transit_gateways[0].route_tables[1]")


def own_subnet(data: Data) -> None:
    """The endpoint stands in the subnet of the instances whose traffic it takes."""
    data["vpcs"][0]["endpoints"][0]["subnet"] = "app-a"


def middlebox(check: bool) -> Callable[[Data], None]:
    """What the servers send goes through an instance in a subnet of its own."""

    def change(data: Data) -> None:
        vpc = data["vpcs"][0]
        vpc["subnets"].append({"name": "mid", "zone": "a", "cidr": "10.0.31.0/24", "route_table": "ep-a"})
        vpc["instances"].append({"name": "box", "subnet": "mid", "address": "10.0.31.10", "source_dest_check": check})
        vpc["route_tables"][1]["routes"][0]["target"] = "box"

    return change


def foreign(data: Data) -> None:
    """Another VPC's traffic leaves by this one's internet gateway, both families."""
    data["internet"]["ipv6_cidr"] = "2001:db8:f::/64"
    data["internet"]["instances"][0]["ipv6_address"] = "2001:db8:f::10"
    app = data["vpcs"][0]
    app["ipv6_cidr"], app["subnets"][2]["ipv6_cidr"] = "2001:db8:1::/56", "2001:db8:1:1::/64"
    app["route_tables"][2]["routes"].append({"destination": "::/0", "target": "igw"})
    out = [{"destination": destination, "target": "tgw"} for destination in ("0.0.0.0/0", "::/0")]
    subnet = {"name": "far-a", "zone": "a", "cidr": "10.9.1.0/24", "ipv6_cidr": "2001:db8:9:1::/64"}
    far = {"name": "far", "subnet": "far-a", "address": "10.9.1.10", "ipv6_address": "2001:db8:9:1::10"}
    data["vpcs"].append(
        {
            "name": "elsewhere", "cidr": "10.9.0.0/16", "ipv6_cidr": "2001:db8:9::/56", "instances": [far],
            "subnets": [subnet | {"route_table": "out"}], "route_tables": [{"name": "out", "routes": out}],
        }
    )  # fmt: skip
    lines = [{**line, "target": "to-app"} for line in out]
    data["transit_gateways"] = [
        {
            "name": "tgw",
            "attachments": [
                {"name": "to-far", "vpc": "elsewhere", "subnets": ["far-a"], "route_table": "spokes"},
                {"name": "to-app", "vpc": "app", "subnets": ["ep-a"], "route_table": "back"},
            ],
            "route_tables": [{"name": "spokes", "routes": lines}, {"name": "back", "routes": []}],
        }
    ]


def test_a_packet_is_delivered_and_every_hop_names_its_line() -> None:
    found = walked(REQUEST)
    assert ended(found) == ("delivered", "web", "")
    assert [(hop.at, hop.kind, hop.rule) for hop in found.hops] == [
        ("client", "send", "its default route"),
        ("internet", "internet", "public address behind igw"),
        ("igw", "translate", "destination 203.0.113.10 -> 10.0.1.10"),
        ("igw", "edge", "route table edge: 10.0.1.0/24 -> vpce-a"),
        ("vpce-a", "endpoint", "load balancer inspect, node inspect-node-a"),
        ("inspect-node-a", "choice", "fw-a: the only target in scope"),
        ("fw-a", "target", "GENEVE"),
        ("vpce-a", "return", "returned by fw-a"),
        ("ep-a", "route", "route table ep-a: 10.0.0.0/16 -> local (app-a)"),
        ("app-a", "route", "local: 10.0.1.0/24"),
        ("web", "deliver", "security group web: tcp 80 from 0.0.0.0/0"),
    ]
    assert (found.endpoints, found.targets) == (("vpce-a",), (("inspect-node-a", "fw-a"),))
    # Two from the load balancer, one from each of internet, internet gateway and the two subnets.
    assert found.packet == replace(REQUEST, source="198.51.100.10", destination="10.0.1.10", ttl=64 - 2 - 4)


ROWS: list[tuple[str, Packet, list[Change], str, Cause | Reason]] = [
    ("no route", OUTWARD, [put("vpcs.0.route_tables.1.routes", [])], "app-a", Cause.NO_ROUTE),
    ("nobody on the internet", replace(OUTWARD, destination="203.0.113.77"), [], "internet", Cause.NO_ROUTE),
    ("no such subnet", replace(OUTWARD, destination="10.0.77.1"), [], "app-a", Cause.NO_SUCH_SUBNET),
    ("nobody in the subnet", replace(OUTWARD, destination="198.51.100.77"), [], "internet", Cause.UNKNOWN_ADDRESS),
    ("no ingress rule", replace(REQUEST, destination_port=81), [], "web", Cause.SECURITY_GROUP),
    ("no ping", Packet("client", "web", ICMP), [], "web", Cause.SECURITY_GROUP),
    ("no other protocol", Packet("client", "web", GRE), [], "web", Cause.SECURITY_GROUP),
    (
        "no egress rule",
        OUTWARD,
        [put("vpcs.0.security_groups.0.egress", [{"protocol": "udp", "destination": "0.0.0.0/0"}])],
        "web",
        Cause.SECURITY_GROUP,
    ),
    ("a middlebox that checks", OUTWARD, [middlebox(True)], "box", Cause.SOURCE_DESTINATION_CHECK),
    (
        "no public address", OUTWARD,
        [lambda data: data["vpcs"][0]["instances"][0].pop("public_address")], "igw", Cause.NO_PUBLIC_ADDRESS,
    ),
    ("an endless way", OUTWARD, [own_subnet], "app-a", Cause.LOOP),
    ("nothing of the NAT gateway's", replace(REQUEST, destination="203.0.113.99"), NAT, "nat", Cause.NAT_NO_SESSION),
    (
        "GRE at a NAT gateway", Packet("web", "client", GRE),
        [*NAT, put("vpcs.0.route_tables.2.routes.0.target", "nat")], "nat", Cause.NAT_PROTOCOL,
    ),
    ("an IPv6 source of another VPC", Packet("far", "2001:db8:f::10", UDP, 1, 53), [foreign], "igw",
     Cause.NO_PUBLIC_ADDRESS),
    ("a source of another VPC", Packet("far", "client", UDP, 1, 53), [foreign], "igw", Cause.NO_PUBLIC_ADDRESS),
    ("more than 1500 bytes, DF", replace(OUTWARD, size=1501), [], "igw", Cause.TOO_BIG),
    ("more than 8500 bytes", replace(OUTWARD, size=8501), [], "vpce-a", Reason.TOO_LONG),
    ("more than 9001 bytes", replace(OUTWARD, size=9002), [], "web", Cause.TOO_BIG),
    ("TTL over at a router", replace(REQUEST, ttl=2), [], "igw", Cause.TTL),
    ("TTL over at the endpoint", replace(REQUEST, ttl=3), [], "vpce-a", Reason.TTL_EXPIRED),
    ("TTL over at the node", replace(REQUEST, ttl=4), [], "inspect-node-a", Reason.TTL_EXPIRED),
    ("no SYN", replace(REQUEST, tcp_flags=ACK), [], "vpce-a", Reason.MIDSTREAM),
    (
        "no SYN, answered",
        replace(REQUEST, tcp_flags=ACK),
        [put("load_balancers.0.listener.attributes", {"send_tcp_reset.on_idle_timeout.enabled": "true"})],
        "vpce-a",
        Cause.RESET,
    ),
    (
        "no target in the zone",
        REQUEST,
        [put("target_groups.0.targets", ["fw-b"]), put("load_balancers.0.subnets", ["sec-a", "sec-b"])],
        "vpce-a",
        Reason.NO_TARGET,
    ),
    (
        "a fragment",
        replace(REQUEST, is_fragment=True),
        [put("emulation", {"fragments": "drop"})],
        "vpce-a",
        Reason.FRAGMENT,
    ),
    (
        "no program", REQUEST,
        [lambda data: data["vpcs"][1]["instances"][0].pop("program")], "fw-a", Cause.NO_APPLIANCE,
    ),
    ("a rule", Packet("client", "web", ICMP), [put("vpcs.1.instances.0.program", FIREWALL)], "fw-a", Cause.FIREWALL),
    (
        "an appliance that keeps it",
        REQUEST,
        [put("vpcs.1.instances.0.program", {"broken": {"mode": "no-return"}})],
        "fw-a",
        Cause.NOT_RETURNED,
    ),
    (
        "a drop rule of an IDS that may drop",
        REQUEST,
        [put("vpcs.1.instances.0.program", {"ids": {"rules": DROP, "ips": True}})],
        "fw-a",
        Cause.NOT_RETURNED,
    ),
    (
        "a wrong cookie",
        REQUEST,
        [put("vpcs.1.instances.0.program", {"broken": {"mode": "wrong-cookie"}})],
        "inspect-node-a",
        Reason.INVALID_FLOW_COOKIE,
    ),
    (
        "the appliance's group is closed",
        REQUEST,
        [
            put("vpcs.1.security_groups", [{"name": "probe", "ingress": [PROBES]}]),
            put("vpcs.1.instances.0.security_groups", ["probe"]),
        ],
        "fw-a",
        Cause.SECURITY_GROUP,
    ),
]  # fmt: skip


@pytest.mark.parametrize(("packet", "changes", "at", "why"), [row[1:] for row in ROWS], ids=[row[0] for row in ROWS])
def test_a_packet_ends_where_and_why(packet: Packet, changes: list[Change], at: str, why: Cause | Reason) -> None:
    found = walked(packet, *changes)
    kind = "loop" if why is Cause.LOOP else "dropped"
    assert ended(found) == (kind, at, why.value)
    assert found.end.sentence


@pytest.mark.parametrize(
    ("broken", "at", "why"),
    [
        (("process", "fw-a"), "fw-a", Cause.APPLIANCE),
        (("process", "inspect-node-a"), "vpce-a", Cause.NODE),
        (("link", "web"), "app-a", Cause.BROKEN),
        (("instance", "fw-a"), "inspect-node-a", Cause.BROKEN),
        (("zone", "a"), "igw", Cause.BROKEN),
        (("link", "client"), "client", Cause.BROKEN),
    ],
)
def test_what_is_broken_on_purpose_ends_a_way(broken: tuple[str, str], at: str, why: Cause) -> None:
    found = walked(REQUEST, states=States(broken=frozenset({broken})))
    assert ended(found) == dropped(at, why)


def test_without_a_cable_nobody_is_looked_for() -> None:
    nobody = replace(OUTWARD, destination="10.0.1.99")
    assert ended(walked(nobody)) == dropped("app-a", Cause.UNKNOWN_ADDRESS)
    pulled = States(broken=frozenset({("link", "web")}))
    assert ended(walked(nobody, states=pulled)) == dropped("web", Cause.BROKEN)
    other = put("vpcs.0.instances+", {"name": "other", "subnet": "app-b", "address": "10.0.2.10"})
    assert ended(walked(replace(nobody, source="other"), other)) == dropped("app-a", Cause.UNKNOWN_ADDRESS)
    alone = walked(replace(nobody, source="other"), other, states=pulled)
    assert ended(alone) == dropped("app-a", Cause.BROKEN)
    assert alone.end.sentence == "every cable of app-a is pulled"


COMMAND = put("vpcs.1.instances.0.program", {"command": ["/bin/my-firewall"]})


def test_what_a_program_of_the_users_does_is_open_in_each_direction() -> None:
    found = exchange(paths(COMMAND), REQUEST)
    assert ended(found.there) == ("ambiguous", "fw-a", Cause.OPEN.value)
    assert found.there.end.sentence.startswith("what fw-a does with it is its own; ")
    assert [ended(each) for each in found.there.alternatives] == [
        ("delivered", "web", ""), dropped("fw-a", Cause.OWN_PROGRAM)
    ]  # fmt: skip
    assert [each.answered for each in found.possible] == [True, False, False]
    assert not found.answered


def test_a_program_of_the_users_that_is_known_to_return_packets_does() -> None:
    assert exchange(paths(COMMAND), REQUEST, States(returning=frozenset({"fw-a"}))).answered
    frozen = States(returning=frozenset({"fw-a"}), broken=frozenset({("process", "fw-a")}))
    assert ended(walked(REQUEST, COMMAND, states=frozen)) == dropped("fw-a", Cause.APPLIANCE)


QUERY = Packet("web", "client", UDP, 40000, 53)
QUERYS_FLOW: FlowKey = ("vpce-a", UDP, "10.0.1.10", 40000, "198.51.100.10", 53)


@pytest.mark.parametrize(
    ("packet", "flows", "datapath", "ends"),
    [
        pytest.param(OUTWARD, None, "auto", ["NodeFrozen"], id="a SYN goes up"),
        pytest.param(QUERY, None, "auto", ["NodeFrozen", ""], id="nothing is known of its flows"),
        pytest.param(QUERY, {QUERYS_FLOW: "fw-a"}, "auto", ["NodeFrozen", ""], id="its flow is there"),
        pytest.param(QUERY, {}, "auto", ["NodeFrozen"], id="its flow is not there"),
        pytest.param(QUERY, {QUERYS_FLOW: "fw-a"}, "python", ["NodeFrozen"], id="no fast path"),
        pytest.param(replace(OUTWARD, tcp_flags=ACK), None, "ebpf", ["NodeFrozen"], id="TCP, nothing is known"),
    ],
)
def test_a_frozen_nodes_fast_path_may_go_on(
    packet: Packet, flows: dict[FlowKey, str] | None, datapath: str, ends: list[str]
) -> None:
    states = States(
        broken=frozenset({("process", "inspect-node-a")}), flows={} if flows is None else {"inspect-node-a": flows}
    )
    found = walked(packet, put("datapath", datapath), states=states)
    assert [each.end.reason for each in found.alternatives or (found,)] == ends


@pytest.mark.parametrize(
    ("program", "packet", "said"),
    [
        ("web", REQUEST, ""),
        ("web", replace(REQUEST, destination_port=81), "nobody who listens on tcp 81: the answer is a RST"),
        ("web", replace(REQUEST, protocol=UDP), "nobody who listens on udp 80: the answer is an ICMP error"),
        ({"web": {"port": 81}}, replace(REQUEST, destination_port=81), ""),
        ({"command": ["/bin/my-server"]}, replace(REQUEST, destination_port=81), ""),
        (None, replace(REQUEST, destination_port=81), ""),
    ],
)
def test_a_port_where_the_plan_knows_that_nobody_listens_is_named(program: object, packet: Packet, said: str) -> None:
    open_group = put("vpcs.0.security_groups.0.ingress", [{"protocol": "all", "source": "0.0.0.0/0"}])
    runs = [put("vpcs.0.instances.0.program", program)] if program else []
    found = walked(packet, open_group, *runs)
    assert found.delivered
    assert said in found.hops[-1].detail
    assert bool(found.hops[-1].detail) == bool(said)


def test_a_loop_names_its_circle() -> None:
    found = walked(OUTWARD, own_subnet)
    assert found.end.sentence == "it goes in circles: app-a -> vpce-a -> app-a"


def test_a_middlebox_without_the_check_forwards() -> None:
    found = walked(OUTWARD, middlebox(False))
    assert ended(found) == ("delivered", "client", "")
    assert [hop.kind for hop in found.hops if hop.at == "box"] == ["forward"]


def test_a_long_packet_that_may_be_cut_is_cut() -> None:
    found = walked(replace(OUTWARD, size=1501, df=False))
    assert ended(found) == ("delivered", "client", "")
    assert [(hop.at, hop.rule) for hop in found.hops if hop.kind == "fragment"] == [("igw", "MTU 1500")]
    assert found.packet.is_fragment


def transit(*changes: tuple[str, str]) -> Paths:
    text = (TOPOLOGIES / "transit-gateway.yaml").read_text()
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    return Paths(load(text, "transit-gateway.yaml"))


ACROSS = Packet("client-a", "server-b", TCP, 40000, 80)
OFF = ("appliance_mode: enable, route_table: back", "appliance_mode: disable, route_table: back")


def test_a_transit_gateway_drops_what_a_blackhole_or_no_route_says() -> None:
    hole = ("{destination: 10.2.0.0/16, target: to-right}", "{destination: 10.2.0.0/16, target: blackhole}")
    for_nobody = (", {destination: 10.2.0.0/16, target: to-right}", "")
    assert ended(way(transit(OFF, hole), ACROSS)) == dropped("tgw", Cause.BLACKHOLE)
    assert ended(way(transit(OFF, for_nobody), ACROSS)) == dropped("tgw", Cause.NO_ROUTE)


def test_a_link_to_a_transit_gateway_drops_more_than_8500_bytes() -> None:
    assert not way(transit(OFF), replace(ACROSS, size=8501)).delivered
    assert ended(way(transit(OFF), replace(ACROSS, size=8505))) == dropped("left-a", Cause.LINK_TOO_BIG)


def test_without_appliance_mode_the_answer_takes_the_other_zone_and_the_transit_gateway_parts_them() -> None:
    found = exchange(transit(OFF), ACROSS)
    assert (found.there.end.kind, found.there.endpoints) == (Kind.DELIVERED, ("vpce-a",))
    assert found.back is not None
    assert ended(found.back) == dropped("vpce-b", Reason.MIDSTREAM)
    assert (found.answered, found.same_targets) == (False, False)
    assert found.parting is not None
    assert found.parting.there is not None
    assert found.parting.back is not None
    assert found.parting.there.rule == "route table spokes: 0.0.0.0/0 -> to-security (zone a)"
    assert found.parting.back.rule == "route table spokes: 0.0.0.0/0 -> to-security (zone b)"
    assert found.parting.sentence == "at tgw the answer goes to vpce-b; the packet came by vpce-a"


def test_without_appliance_mode_an_answer_without_connection_is_inspected_by_another_appliance() -> None:
    anything = (
        "{firewall: {rules: [{name: web, action: allow, protocol: tcp, ports: 80}]}}", "passthrough"
    )  # fmt: skip
    for packet in (replace(ACROSS, protocol=UDP), Packet("client-a", "server-b", GRE)):
        found = exchange(transit(OFF, anything), packet)
        assert found.answered
        assert (found.inspected, found.same_targets) == ((True, True), False)


def test_appliance_mode_leaves_the_zone_open_and_is_the_same_both_ways() -> None:
    found = exchange(transit(), ACROSS)
    assert found.answered
    assert [each.there.endpoints for each in found.possible] == [("vpce-a",), ("vpce-b",)]
    assert all(each.same_targets for each in found.possible)
    assert found.there.alternatives


def test_a_lost_zone_takes_the_flows_that_appliance_mode_sends_there_and_no_other() -> None:
    home = (
        "{name: server-b, subnet: right-b, address: 10.2.2.10",
        "{name: server-b, subnet: right-a, address: 10.2.1.10",
    )
    lost = States(broken=frozenset({("zone", "b")}))
    found = exchange(transit(home), ACROSS, lost)
    assert [ended(each.there)[:2] for each in found.possible] == [
        ("delivered", "server-b"),
        ("dropped", "attachment-b"),
    ]
    assert exchange(transit(home, OFF), ACROSS, lost).answered


def test_ways_that_end_differently_are_ambiguous() -> None:
    half = ("{name: to-vpce-b, routes: [{destination: 0.0.0.0/0, target: vpce-b}]}", "{name: to-vpce-b, routes: []}")
    found = exchange(transit(half), ACROSS)
    assert ended(found.there) == ("ambiguous", "left-a", Cause.OPEN.value)
    assert [ended(each) for each in found.there.alternatives] == [
        ("delivered", "server-b", ""),
        dropped("attachment-b", Cause.NO_ROUTE),
    ]
    assert found.back is None
    assert [each.answered for each in found.possible] == [True, False]


def test_an_address_that_two_instances_have_means_the_one_that_is_reached() -> None:
    paths_ = Paths(load((TOPOLOGIES / "overlap.yaml").read_text(), "overlap.yaml"))
    assert ended(way(paths_, Packet("web-red", "web-blue", TCP, 40000, 80)))[1:] == (
        "web-red",
        Cause.UNKNOWN_ADDRESS.value,
    )


def test_what_is_sent_to_a_private_address_by_an_internet_gateway_is_told_of_the_destination() -> None:
    """Such as an answer from the internet that a NAT gateway has given the address of a VPC it has no route back to."""
    private = "is a private address, and igw leads to the internet"
    for destination in ("192.168.7.7", "10.254.77.1"):
        end = walked(Packet("far", destination, UDP, 1, 53), foreign).end
        assert (end.at, end.reason) == ("igw", Cause.NO_PUBLIC_ADDRESS.value)
        assert end.sentence == f"{destination} {private}"
    assert walked(Packet("far", "client", UDP, 1, 53), foreign).end.sentence.endswith("has no public address at igw")
