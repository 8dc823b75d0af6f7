"""Which pair a packet goes between when nobody names one: one that is inspected, by the model."""

from __future__ import annotations

import pytest
import yaml

from gwlbemu.cli.lab import _next_steps
from gwlbemu.topology.plan.ends import client_and_server, instance_named
from gwlbemu.topology.plan.resolve import load
from gwlbemu.topology.plan.values import Plan
from gwlbemu.trials.craft import PacketSpec
from gwlbemu.trials.injection import demo_packets, prepare
from gwlbemu.trials.pairs import inspected_pair
from tests.lab.worlds import world
from tests.paths import SHARED, TOPOLOGIES

CENTRAL = SHARED / "cases/ref-2-central-egress/two-zones.yaml"


def with_open_server(port: int = 80) -> Plan:
    """The world with a server that stands before those that are inspected, and is not."""
    document = yaml.safe_load(world())
    app = document["vpcs"][0]
    app["subnets"].insert(0, {"name": "open", "zone": "a", "cidr": "10.0.3.0/24", "route_table": "open-table"})
    app["route_tables"].append({"name": "open-table", "routes": [{"destination": "0.0.0.0/0", "target": "igw"}]})
    bare = {"name": "bare", "subnet": "open", "address": "10.0.3.10", "public_address": "203.0.113.30"}
    app["instances"].insert(0, {**bare, "program": {"web": {"port": port}}})
    return load(yaml.safe_dump(document), "here")


def names(pair: tuple[object, ...]) -> list[str]:
    return [each.name for each in pair]  # type: ignore[attr-defined]


def test_a_server_that_is_not_inspected_is_passed_over() -> None:
    plan = with_open_server()
    assert names(client_and_server(plan)) == ["client", "bare"]
    assert names(inspected_pair(plan)) == ["client", "server-a"]


def test_all_who_choose_take_the_same_pair() -> None:
    plan = with_open_server(port=8080)
    assert prepare(plan, [PacketSpec("icmp")]).packets[0].destination == "203.0.113.10"
    assert PacketSpec("tcp", 80) in demo_packets(plan)
    assert any("--from client --to server-a --tcp 80" in step for step in _next_steps(plan))


def test_an_end_that_is_given_stays() -> None:
    plan = with_open_server()
    bare = instance_named(plan, "bare")
    assert inspected_pair(plan, receiver=bare)[1] is bare
    assert inspected_pair(plan, sender=bare)[0] is bare


def test_without_an_inspected_pair_it_is_the_first_that_can_talk() -> None:
    document = yaml.safe_load(world())
    for table in document["vpcs"][0]["route_tables"]:
        table["routes"] = [{"destination": "0.0.0.0/0", "target": "igw"}] if table["name"] != "edge" else []
    plan = load(yaml.safe_dump(document), "here")
    assert inspected_pair(plan) == client_and_server(plan)


@pytest.mark.skipif(not CENTRAL.exists(), reason="the cases beside the project are not there")
def test_a_central_exit_is_shown_by_a_pair_of_two_vpcs() -> None:
    plan = load(CENTRAL.read_text(), "here")
    sender, receiver = inspected_pair(plan)
    assert sender.vpc != receiver.vpc


def test_what_a_security_group_keeps_from_arriving_is_not_proposed() -> None:
    plan = load((TOPOLOGIES / "web-tier.yaml").read_text(), "web-tier.yaml")
    steps = _next_steps(plan)
    assert any("http --lab web-tier client https://" in step for step in steps)
    assert not any("inject" in step or "exec" in step for step in steps)
