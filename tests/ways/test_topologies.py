"""The shipped topologies keep what their row in the README promises, and the cases do what was seen of them."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import pytest

from gwlbemu.paths.gateway import Node
from gwlbemu.paths.machine import Space
from gwlbemu.paths.values import Exchange, Packet, States
from gwlbemu.paths.walk import Paths, exchange
from gwlbemu.topology.plan.resolve import load
from gwlbemu.wire.protocols import ICMP, TCP
from tests.paths import SHARED, TOPOLOGIES


def walked(file: str, source: str, destination: str, port: int = 80) -> Exchange:
    path = TOPOLOGIES / f"{file}.yaml"
    return exchange(Paths(load(path.read_text(), file)), Packet(source, destination, TCP, None, port))


@dataclass(frozen=True)
class Promise:
    """A pair that talks, and what its packets cross on the way there; for each way that is left open the same."""

    file: str
    source: str
    destination: str
    endpoints: set[tuple[str, ...]]
    targets: set[str]

    def __str__(self) -> str:
        return f"{self.file}: {self.source} -> {self.destination}"


PROMISES = [
    Promise("two-zones", "client", "web-a", {("vpce-fw-a", "vpce-ids-a")}, {"fw-a1", "fw-a2", "ids-a"}),
    Promise("two-zones", "client", "web-b", {("vpce-fw-b", "vpce-ids-b")}, {"fw-b1", "fw-b2", "ids-b"}),
    Promise("two-zones", "web-a", "client", {("vpce-ids-a", "vpce-fw-a")}, {"fw-a1", "fw-a2", "ids-a"}),
    Promise("minimal", "client", "web", {("vpce",)}, {"fw"}),
    Promise("minimal", "web", "client", {("vpce",)}, {"fw"}),
    Promise("overlap", "client", "web-red", {("vpce-red",)}, {"fw"}),
    Promise("overlap", "client", "web-blue", {("vpce-blue",)}, {"fw"}),
    Promise("cross-zone", "client", "web-a", {("vpce-a",)}, {"fw-a1", "fw-a2"}),
    Promise("cross-zone", "client", "web-b", {("vpce-b",)}, {f"fw-b{number}" for number in range(1, 9)}),
    Promise("zone-failure", "client", "web-a", {("vpce-a",)}, {"fw-a1", "fw-a2"}),
    Promise("zone-failure", "client", "web-b", {("vpce-b",)}, {"fw-b1", "fw-b2"}),
    Promise("scaling", "client", "web", {("vpce",)}, {"small-1"}),
    Promise("egress-nat", "worker", "server", {("vpce",)}, {"fw"}),
    Promise("east-west", "front", "back", {("vpce",)}, {"fw"}),
    Promise("transit-gateway", "client-a", "server-b", {("vpce-a",), ("vpce-b",)}, {"fw-a", "fw-b"}),
]


@pytest.mark.parametrize("promise", PROMISES, ids=str)
def test_a_shipped_topology_keeps_its_promise(promise: Promise) -> None:
    found = walked(promise.file, promise.source, promise.destination)
    assert (found.answered, found.inspected, found.same_targets, found.parting) == (True, (True, True), True, None)
    assert {each.there.endpoints for each in found.possible} == promise.endpoints
    assert {target for each in found.possible for _, target in each.there.targets} == promise.targets
    for each in found.possible:
        assert each.back is not None
        assert each.back.endpoints == each.there.endpoints[::-1]


# A client on the internet asks a load balancer: by which endpoints its packets come, and who serves it.
SERVED: list[tuple[str, str, set[tuple[str, ...]], set[str]]] = [
    ("static-ip", "203.0.113.1", {()}, {"web-a1", "web-a2"}),
    ("static-ip", "203.0.113.2", {()}, {"web-b1"}),
    ("static-ip", "web", {()}, {"web-a1", "web-a2", "web-b1"}),
    ("cross-zone", "203.0.113.1", {("vpce-a",)}, {"web-a", "web-b", "web-b2"}),
    ("cross-zone", "web", {("vpce-a",), ("vpce-b",)}, {"web-a", "web-b", "web-b2"}),
    # The node of an application load balancer answers itself.
    ("cross-zone", "shop", {("vpce-a",), ("vpce-b",)}, {"shop-node-a", "shop-node-b"}),
    ("web-tier", "web", {("vpce-a",), ("vpce-b",)}, {"web-node-a", "web-node-b"}),
    ("sticky", "web", {()}, {"web-node-a", "web-node-b"}),
    ("scaling", "shop", {()}, {"shop-node-a", "shop-node-b"}),
]


@pytest.mark.contract("NL-01", "NL-08")
@pytest.mark.parametrize(("file", "destination", "endpoints", "servers"), SERVED)
def test_a_shipped_load_balancer_serves_its_clients(
    file: str, destination: str, endpoints: set[tuple[str, ...]], servers: set[str]
) -> None:
    found = walked(file, "client", destination)
    assert (found.answered, found.same_targets) == (True, True)
    assert {each.there.end.at for each in found.possible} == servers
    assert {each.there.endpoints for each in found.possible} == endpoints


def test_every_shipped_topology_is_in_the_table() -> None:
    files = {promise.file for promise in PROMISES} | {file for file, *_ in SERVED}
    assert files == {file.stem for file in TOPOLOGIES.glob("*.yaml")}


# ---- cases that were seen with real packets: see the README of each ----
def case(path: str) -> Paths:
    file = SHARED / "cases" / path
    if not file.exists():
        pytest.skip(f"no {file}")
    return Paths(load(file.read_text(), str(file)))


CENTRAL = "31-central-egress-mistakes"


@pytest.mark.parametrize(
    ("file", "there", "back", "parted"),
    [
        ("nat-of-other-zone", "delivered client", "dropped MidstreamTcp", ("ep-a", "pub-b")),
        ("nat-returns-by-tgw", "delivered client", "delivered blue-vm-a", ("ep-a", "pub-a")),
        ("nat-without-return", "delivered client", "dropped IGW_PUBLIC_IP_ASSOCIATION_FOR_EGRESS", None),
        ("no-nat", "dropped IGW_PUBLIC_IP_ASSOCIATION_FOR_EGRESS", "", None),
        ("bypass", "delivered client", "dropped MidstreamTcp", ("att-a", "pub-a")),
        ("tgw-without-default", "dropped NO_ROUTE_TO_DESTINATION", "", None),
    ],
)
def test_the_mistakes_of_central_egress_are_told(
    file: str, there: str, back: str, parted: tuple[str, str] | None
) -> None:
    found = exchange(case(f"{CENTRAL}/{file}.yaml"), Packet("blue-vm-a", "client", TCP, 40000, 80)).possible[0]
    assert _told(found, back=False) == there
    assert _told(found, back=True) == back
    assert not (found.answered and all(found.inspected))
    if parted is not None:
        assert found.parting is not None
        assert (found.parting.there and found.parting.there.at, found.parting.back and found.parting.back.at) == parted


def _told(found: Exchange, *, back: bool) -> str:
    way = found.back if back else found.there
    if way is None:
        return ""
    return f"{way.end.kind.value} {way.end.reason or way.end.at}"


def test_without_appliance_mode_pairs_in_different_zones_are_lost() -> None:
    paths = case(f"{CENTRAL}/appliance-mode-off.yaml")
    found = exchange(paths, Packet("blue-vm-a", "red-vm-b", TCP, 40000, 80))
    assert _told(found, back=True) == "dropped MidstreamTcp"
    assert found.parting is not None
    assert found.parting.back is not None
    assert found.parting.back.rule == "route table spokes: 0.0.0.0/0 -> t-sec (zone b)"
    assert exchange(paths, Packet("blue-vm-a", "red-vm-a", TCP, 40000, 80)).answered


def test_an_endpoint_in_the_subnet_of_its_own_instances_is_a_loop() -> None:
    found = exchange(case("03-same-subnet-loop/loop.yaml"), Packet("client", "web", TCP, 40000, 80))
    ends = {_told(found, back=False), _told(found, back=True)}
    assert any(end.startswith("loop") for end in ends)


def test_of_a_zone_that_was_forgotten_some_connections_fail() -> None:
    found = exchange(case("30-tgw-zone-b-forgotten/no-route.yaml"), Packet("client-a", "server-b", TCP, 40000, 80))
    assert sorted(each.answered for each in found.possible) == [False, True]


def test_a_published_central_egress_is_inspected_both_ways() -> None:
    paths = case("ref-2-central-egress/two-zones.yaml")
    for source, destination in [("red-vm-a", "client"), ("blue-vm-b", "client"), ("red-vm-a", "blue-vm-b")]:
        found = exchange(paths, Packet(source, destination, TCP, 40000, 80))
        assert (found.answered, found.inspected, found.same_targets) == (True, (True, True), True)


def test_ipv6_is_inspected_like_ipv4() -> None:
    paths = case("ref-10-ipv6/dual-stack-distributed.yaml")
    server = next(each for each in paths.plan.instances if each.name == "web")
    found = exchange(paths, Packet("client", server.ipv6_address, ICMP))
    assert found.there.packet.destination == server.ipv6_address
    assert (found.answered, found.same_targets) == (True, True)


# ---- how much work it is ----
def test_one_pair_costs_a_look_up_per_router_and_a_node_per_endpoint(monkeypatch: pytest.MonkeyPatch) -> None:
    """Under 5 ms is the aim; what is counted here is what that time goes by."""
    counted: Counter[str] = Counter()
    look_up, begin = Space.route, Node.__init__

    def counting_look_up(self: Space, table: int, destination: str) -> object:
        counted["routes"] += 1
        return look_up(self, table, destination)

    def counting_begin(self: Node, *arguments: object) -> None:
        counted["nodes"] += 1
        begin(self, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(Space, "route", counting_look_up)
    monkeypatch.setattr(Node, "__init__", counting_begin)
    plan = load((TOPOLOGIES / "two-zones.yaml").read_text(), "two-zones.yaml")
    paths, states = Paths(plan), States(seeds={node.name: 1 for node in plan.gateway_nodes})
    assert not counted  # an index asks for no route
    for port in range(40000, 40010):
        assert exchange(paths, Packet("client", "web-a", TCP, port, 80), states).answered
    # There and back: 2 senders, 5 routers there and 4 back on which a table decides, 1 for each target's answer.
    assert counted["routes"] <= 10 * (2 + 5 + 5 + 2)
    assert counted["nodes"] == 10 * 2
