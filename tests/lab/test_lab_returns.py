"""What a node accepts back from an appliance and what it drops, on the packets of an appliance that misbehaves."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import yaml
from scapy.layers.inet import IP, TCP, UDP

from gwlbemu import Lab
from tests.lab.oracles import curl, sniffed
from tests.lab.worlds import world
from tests.waiting import wait_until

pytestmark = pytest.mark.namespace

TUNNEL = "PacketsDroppedCount_InvalidGeneveTunnel"
ENDPOINT = "PacketsDroppedCount_InvalidGwlbEndpointId"
COOKIE = "PacketsDroppedCount_InvalidGwlbFlowCookie"
MISSING = "PacketsDroppedCount_MissingFlowEntry"
DROPPED = (TUNNEL, ENDPOINT, COOKIE, MISSING)


@pytest.fixture(scope="module")
def broken() -> Iterator[Lab]:
    document = yaml.safe_load(world(program="broken"))
    (appliance,) = document["vpcs"][1]["instances"]
    appliance["source_dest_check"] = False  # with it, what has another's address does not get as far as the node
    with Lab(yaml.safe_dump(document), capture=False) as lab:
        yield lab


@pytest.fixture
def lab(broken: Lab) -> Iterator[Lab]:
    """A lab whose appliance is well again after the test."""
    yield broken
    broken.call("fw", "set", mode="healthy")


def counts(lab: Lab) -> dict[str, float]:
    return {name: lab.metric(name) for name in DROPPED}


@pytest.mark.contract("GV-09")
@pytest.mark.parametrize("mode", ["healthy", "ttl-2", "no-checksum", "bad-checksum", "source-6081"])
def test_a_return_is_accepted_whatever_its_ttl_checksum_or_source_port(lab: Lab, mode: str) -> None:
    lab.call("fw", "set", mode=mode)
    before = counts(lab)
    assert curl(lab) == 0
    assert counts(lab) == before


@pytest.mark.contract("GV-21")
@pytest.mark.parametrize("mode", ["extra-option", "changed-options"])
def test_a_return_with_an_unknown_option_or_another_order_of_options_is_accepted(lab: Lab, mode: str) -> None:
    lab.call("fw", "set", mode=mode)
    assert curl(lab) == 0


@pytest.mark.contract("GV-10")
@pytest.mark.parametrize(
    "mode", ["wrong-source", "wrong-port", "version-1", "truncated", "option-overrun", "wrong-ethertype"]
)
def test_a_return_with_a_broken_tunnel_is_dropped_and_counts_as_such(lab: Lab, mode: str) -> None:
    assert_dropped_once(lab, mode, TUNNEL)


@pytest.mark.contract("GV-10")
def test_a_return_that_is_not_addressed_to_the_node_never_comes_back(lab: Lab) -> None:
    """Unswapped addresses lead the frame to the node's MAC with the appliance's own address as destination."""
    assert_dropped_once(lab, "no-swap", TUNNEL)


@pytest.mark.contract("GV-11")
@pytest.mark.parametrize("mode", ["no-endpoint-option", "no-options", "wrong-endpoint"])
def test_a_return_without_a_known_endpoint_is_dropped_and_counts_as_such(lab: Lab, mode: str) -> None:
    assert_dropped_once(lab, mode, ENDPOINT)


@pytest.mark.contract("GV-12")
@pytest.mark.parametrize("mode", ["no-cookie-option", "wrong-cookie"])
def test_a_return_without_the_flows_cookie_is_dropped_and_counts_as_such(lab: Lab, mode: str) -> None:
    assert_dropped_once(lab, mode, COOKIE)


@pytest.mark.contract("GV-21")
@pytest.mark.parametrize("mode", ["critical-option", "oam"])
def test_a_return_with_an_unknown_critical_option_or_the_o_bit_is_not_forwarded(lab: Lab, mode: str) -> None:
    assert_dropped_once(lab, mode, TUNNEL)


def assert_dropped_once(lab: Lab, mode: str, metric: str) -> None:
    """GV-14 with each: exactly one metric, one count per packet, nothing to the appliance and nothing delivered."""
    lab.call("fw", "set", mode=mode)
    before = counts(lab)
    with (
        sniffed(lab, "fw", matching="ip") as at_appliance,
        sniffed(lab, "server-a", matching="udp port 7") as at_server,
    ):
        (fate,) = lab.inject(udp=7)
    assert fate.outcome in ("dropped", "not-returned")  # an unreadable return names no packet
    assert at_server.frames == []
    after = counts(lab)
    assert {name: after[name] - before[name] for name in DROPPED if after[name] != before[name]} == {metric: 1}
    (own,) = (instance.mac for instance in lab.plan.instances if instance.name == "fw")
    from_node = [frame for frame in at_appliance.frames if frame[6:12] != bytes.fromhex(own.replace(":", ""))]
    tunnel = [frame for frame in from_node if UDP in IP(frame[14:])]
    assert len(tunnel) == 1  # the packet itself; beside it only health checks (TCP)
    assert all(TCP in IP(frame[14:]) for frame in from_node if frame not in tunnel)


@pytest.mark.contract("GV-14")
def test_a_dropped_return_counts_in_one_metric_and_nothing_is_sent_back_to_the_appliance(lab: Lab) -> None:
    assert_dropped_once(lab, "wrong-cookie", COOKIE)


@pytest.mark.contract("GV-13")
def test_a_return_after_its_flow_has_ended_is_dropped_for_want_of_a_flow_entry(lab: Lab) -> None:
    lab.call("fw", "set", mode="slow", delay=3)  # long enough for what is done before the return
    before = counts(lab)
    sender = lab.spawn("client", ["bash", "-c", "echo hello > /dev/udp/203.0.113.10/7"])
    wait_until(lambda: any(flow.destination_port == 7 for flow in lab.flows()), what="the flow")
    sender.wait()
    lab.advance(121)
    wait_until(lambda: lab.metric(MISSING) > before[MISSING], what="the late return")
    after = counts(lab)
    assert {name: after[name] - before[name] for name in DROPPED if after[name] != before[name]} == {MISSING: 1}


@pytest.mark.contract("GV-13", "GV-15", "GV-17")
def test_an_appliance_cannot_start_a_flow_with_the_header_of_another(lab: Lab) -> None:
    lab.call("fw", "set", mode="originate")
    before = counts(lab)
    with sniffed(lab, "server-a", matching="tcp or udp") as at_server:
        assert lab.inject(udp=7)[0].delivered_to == "server-a"
    ports = {(IP(frame[14:])[UDP].sport) for frame in at_server.frames if UDP in IP(frame[14:])}
    assert 40999 not in ports
    after = counts(lab)
    # The packet's own copy there and back again (the server answers with an ICMP error, a flow of its own).
    assert after[MISSING] - before[MISSING] >= 1
    assert all(after[name] == before[name] for name in (TUNNEL, ENDPOINT, COOKIE))


def test_a_doubled_return_is_forwarded_twice(lab: Lab) -> None:
    lab.call("fw", "set", mode="twice")
    with sniffed(lab, "server-a", matching="udp port 7") as at_server:
        lab.inject(udp=7)
    assert len(at_server.frames) == 2
