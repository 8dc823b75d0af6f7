"""Which two ends test traffic has when nobody names them."""

from __future__ import annotations

import pytest

from gwlbemu.errors import SettingError
from gwlbemu.topology.plan.ends import client_and_server, instance_named, web_port
from gwlbemu.topology.plan.resolve import load
from gwlbemu.topology.plan.values import Plan
from gwlbemu.trials.craft import PacketSpec
from gwlbemu.trials.injection import demo_packets, prepare
from tests.paths import TOPOLOGIES
from tests.topology.builder import plan_of, put

ENDS = {
    "cross-zone": ("client", "web-a", "203.0.113.10"),
    "east-west": ("front", "back", "10.0.2.10"),
    "egress-nat": ("worker", "server", "198.51.100.20"),
    "minimal": ("client", "web", "203.0.113.10"),
    "overlap": ("client", "web-red", "203.0.113.10"),
    "scaling": ("client", "web", "203.0.113.10"),
    "sticky": ("blue-b", "blue-a", "10.0.11.11"),
    "static-ip": ("web-a2", "web-a1", "10.0.11.11"),  # the client reaches nothing but the load balancer
    "transit-gateway": ("client-a", "server-b", "10.2.2.10"),
    "two-zones": ("client", "web-a", "203.0.113.10"),
    "web-tier": ("web-a2", "web-a1", "10.0.11.11"),
    "zone-failure": ("client", "web-a", "203.0.113.10"),
}


def shipped(name: str) -> Plan:
    return load((TOPOLOGIES / f"{name}.yaml").read_text(), name)


def test_every_shipped_topology_is_in_the_table() -> None:
    assert {path.stem for path in TOPOLOGIES.glob("*.yaml")} == ENDS.keys()


@pytest.mark.parametrize(("name", "ends"), ENDS.items(), ids=ENDS)
def test_the_ends_of_a_shipped_topology_can_talk(name: str, ends: tuple[str, str, str]) -> None:
    plan = shipped(name)
    ordered = prepare(plan, [PacketSpec("tcp", 80)])
    assert ordered.receiver is not None
    assert (ordered.sender.name, ordered.receiver.name, ordered.packets[0].destination) == ends
    assert web_port(plan, ordered.receiver) == 80


def test_an_end_that_is_named_gets_one_that_can_talk_to_it() -> None:
    plan = shipped("two-zones")
    web_a = instance_named(plan, "web-a")
    assert [end.name for end in client_and_server(plan, sender=web_a)] == ["web-a", "web-b"]
    nat = shipped("egress-nat")
    assert prepare(nat, [PacketSpec("icmp")], destination="198.51.100.20").sender.name == "worker"
    assert prepare(nat, [PacketSpec("icmp")], destination="worker").sender.name == "server"  # to see that it cannot


def test_the_demo_goes_to_the_port_of_the_web_server() -> None:
    plan = plan_of(put("vpcs.0.instances.0.program", {"web": {"port": 8080}}))
    assert PacketSpec("tcp", 8080) in demo_packets(plan)
    assert PacketSpec("tcp", 8080) in demo_packets(plan, destination="web")
    assert PacketSpec("tcp", 80) in demo_packets(plan, destination="192.0.2.1")


def test_a_lab_whose_instances_cannot_reach_each_other_asks_for_the_ends() -> None:
    plan = plan_of(put("vpcs.0.instances.0", {"name": "web", "subnet": "app-a"}))
    with pytest.raises(SettingError, match="name them with --from and --to"):
        client_and_server(plan)
