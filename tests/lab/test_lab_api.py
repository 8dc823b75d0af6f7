"""The Python API: what `gwlbemu.Lab` does beyond what the other lab tests use of it."""

from __future__ import annotations

import dataclasses
import signal
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from scapy.layers.inet import IP, UDP

import gwlbemu
from gwlbemu import Lab
from gwlbemu.errors import AwsError, LabError, NetError, SettingError, TopologyError, UnknownNameError
from gwlbemu.topology.plan.resolve import load
from gwlbemu.trials import inject
from tests.lab.worlds import world
from tests.paths import TOPOLOGIES
from tests.waiting import wait_until

pytestmark = pytest.mark.namespace


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with Lab(world(), capture=False) as lab:
        yield lab


def test_a_lab_may_be_a_plan_a_path_or_text_and_is_gone_after_its_block() -> None:
    plan = load(world(), "here")
    for topology in (plan, TOPOLOGIES / "minimal.yaml", world()):
        with Lab(topology, capture=False) as lab:
            assert lab.exec("client", ["curl", "-s", "-m", "30", "http://203.0.113.10/"]).code == 0
        with pytest.raises(LabError, match="is not up"):
            lab.flows()


def test_a_lab_goes_away_when_its_block_raises() -> None:
    clients = []

    def use_it() -> None:
        with Lab(world(), capture=False) as lab:
            clients.append(lab.spawn("client", ["sleep", "1000"]))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        use_it()
    assert not clients[0].running


def test_a_lab_that_does_not_get_well_in_time_is_taken_down_with_the_reason() -> None:
    sick = world(program={"command": ["sleep", "1000"]})
    with pytest.raises(LabError, match="lab world is not well after 1 s: "):
        Lab(sick, capture=False, wait=1).up()


def test_a_file_that_is_not_there_and_a_plan_with_another_name_are_refused() -> None:
    with pytest.raises(TopologyError, match="no-such-file"):
        Lab("no-such-file.yaml")
    with pytest.raises(TopologyError, match="world"):
        Lab(load(world(), "here"), name="other")


def test_exec_returns_code_and_both_outputs_and_takes_input(lab: Lab) -> None:
    assert lab.exec("client", ["sh", "-c", "cat; echo oops >&2; exit 3"], stdin="hello") == gwlbemu.public.Completed(
        3, "hello", "oops\n"
    )
    assert lab.exec("client", ["sh", "-c", "kill -9 $$"]).code == 137


def test_exec_that_takes_too_long_is_ended_and_what_does_not_exist_is_named(lab: Lab) -> None:
    begun = time.monotonic()
    with pytest.raises(LabError, match=r"sleep in client still ran after 0\.2 s"):
        lab.exec("client", ["sleep", "100"], timeout=0.2)
    assert time.monotonic() - begun < 60
    with pytest.raises(NetError, match="no-such-program in client"):
        lab.exec("client", ["no-such-program"])
    with pytest.raises(UnknownNameError, match=r"nothing called nobody in lab world; there are: .*client"):
        lab.exec("nobody", ["true"])


def test_of_a_process_that_is_not_there_log_and_events_name_those_that_are(lab: Lab) -> None:
    assert "ready on" in lab.log("fw")
    assert lab.events("fw") == []
    for read in (lab.log, lab.events):
        with pytest.raises(UnknownNameError, match=r"^no process nobody in lab world; there are: .*fw"):
            read("nobody")


def test_a_client_runs_meanwhile_and_its_output_can_be_read_before_and_after_its_end(lab: Lab) -> None:
    client = lab.spawn("client", ["ping", "-i", "0.1", "203.0.113.10"])
    wait_until(lambda: client.output().count("bytes from 203.0.113.10") >= 2)
    assert client.running
    ended = client.kill(signal.SIGINT)
    assert (ended.code, client.running) == (0, False)
    assert "packets transmitted" in client.output()
    assert client.wait() == ended


def test_inject_tells_the_fate_of_crafted_packets_and_of_scapys(lab: Lab) -> None:
    fates = lab.inject(udp=9, count=3, payload="x")
    assert [fate.number for fate in fates] == [1, 2, 3]
    (fate,) = lab.inject(IP(dst="10.0.1.10") / UDP(dport=9) / b"y", source="client")
    assert (fate.outcome, fate.hops) == ("lost", ())  # no route on the internet leads to a private address
    (fate,) = lab.inject("IP(dst='203.0.113.10')/UDP(dport=9)/b'z'")
    assert (fate.outcome, fate.delivered_to) == ("delivered", "server-a")
    with pytest.raises(dataclasses.FrozenInstanceError):
        fate.delivered_to = "elsewhere"  # type: ignore[misc]
    with pytest.raises(SettingError, match="no instance nobody"):
        lab.inject(tcp=80, destination="nobody")
    with pytest.raises(TypeError, match="exactly one"):
        lab.inject(tcp=80, udp=80)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda lab: lab.exec("client", "curl -s x"), r"^argv 'curl -s x': expected a list of words"),
        (lambda lab: lab.spawn("client", "curl -s x"), r"^argv 'curl -s x': expected a list of words"),
        (lambda lab: lab.exec("client", []), r"^argv \[\]: expected a list of words"),
        (lambda lab: lab.exec("client", ["sleep", 1]), r"^argv \['sleep', 1\]: expected a list of words"),
        (lambda lab: lab.fail("nonsense", "fw"), r"^kind 'nonsense': expected one of instance, process, link, health"),
        (lambda lab: lab.heal("nonsense", "fw"), r"^kind 'nonsense': expected one of instance"),
        (lambda lab: lab.inject(tcp=99999), r"^inject: tcp 99999: expected a whole number from 1 to 65535"),
        (lambda lab: lab.inject(tcp="http"), r"^inject: tcp 'http': expected a whole number"),
        (lambda lab: lab.inject(udp=-1), r"^inject: udp -1: expected a whole number from 1 to 65535"),
        (lambda lab: lab.inject(udp=9, source_port=70000), r"^inject: source_port 70000: expected .* 0 to 65535"),
        (lambda lab: lab.inject(udp=9, count=0), r"^inject: count 0: expected a whole number from 1 to"),
        (lambda lab: lab.inject(udp=9, interval=-1), r"^inject: interval -1: expected seconds from 0 to"),
        (lambda lab: lab.inject(udp=9, payload=5), r"^inject: payload 5: expected bytes or text"),
        (lambda lab: lab.inject(tcp=80, flags="XYZ"), r"^inject: flags 'XYZ': expected letters out of FSRPAUEC"),
        (lambda lab: lab.trace_flow(tcp=99999), r"^trace_flow: tcp 99999: expected a whole number from 0 to 65535"),
    ],
)
def test_an_argument_that_does_not_fit_is_named_with_what_was_expected(
    lab: Lab, call: Callable[[Lab], object], message: str
) -> None:
    with pytest.raises(SettingError, match=message):
        call(lab)


def test_the_pause_between_packets_is_kept_when_answers_come(lab: Lab) -> None:
    begun = time.monotonic()
    fates = lab.inject(icmp=True, count=3, interval=0.4)
    assert time.monotonic() - begun >= 1.2
    assert [len(fate.replies) for fate in fates] == [1, 1, 1]


def test_the_time_of_a_packet_counts_from_before_it_is_sent(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    send = inject._send

    def interrupted(*arguments: Any) -> None:
        send(*arguments)
        time.sleep(0.2)

    monkeypatch.setattr(inject, "_send", interrupted)
    (fate,) = lab.inject(udp=9)
    assert fate.delivered_after > 0  # seen after it was sent, whatever kept this process waiting meanwhile


def test_a_packet_that_is_lost_where_something_is_broken_on_purpose_says_so(lab: Lab) -> None:
    lab.fail("zone", "a")
    try:
        (fate,) = lab.inject(udp=9)
    finally:
        lab.heal("zone", "a")
    assert fate.why == "no node saw it and it did not arrive; broken on purpose: zone a"


def test_a_trace_has_the_hops_of_its_flow_and_of_no_other(lab: Lab) -> None:
    with lab.trace_flow("client", "server-a", tcp=80) as trace:
        lab.exec("client", ["ping", "-c", "1", "203.0.113.10"])
        assert trace.hops == ()
        lab.exec("client", ["curl", "-s", "http://203.0.113.10/"])
        assert trace.hops
    assert {hop.protocol for hop in trace.hops} == {6}
    assert [hop.at for hop in trace.hops] == sorted(hop.at for hop in trace.hops)
    assert {hop.cookie for hop in trace.hops} == {trace.hops[0].cookie}
    assert {hop.direction for hop in trace.hops} == {"out", "back"}


def test_the_plan_follows_what_is_registered_and_set(lab: Lab) -> None:
    lab.deregister("firewalls", "fw")
    assert list(lab.plan.target_groups[0].targets) == []
    assert not lab.deregister("firewalls", "fw")
    lab.register("firewalls", "fw")
    lab.set("firewalls", {"deregistration_delay.timeout_seconds": 7, "stickiness.enabled": False})
    assert lab.plan.target_groups[0].attributes["deregistration_delay.timeout_seconds"] == "7"
    assert [target.id for target in lab.plan.target_groups[0].targets] == ["fw"]
    lab.wait_for_state("fw", "healthy")
    with pytest.raises(AwsError, match=r"^no target group no-such-group; there are: firewalls$") as refusal:
        lab.register("no-such-group", "fw")
    assert refusal.value.code == "TargetGroupNotFound"


def test_what_awss_core_refuses_comes_with_its_code_through_the_nodes_socket_too(lab: Lab) -> None:
    with pytest.raises(AwsError, match=r"^target nobody is not registered with the target group$") as refusal:
        lab.call("inspect-node-a", "deregister", id="nobody")
    assert refusal.value.code == "InvalidTarget"
    with pytest.raises(SettingError, match=r"^verb: expected one of ") as other:
        lab.call("inspect-node-a", "dance")
    assert other.value.code == SettingError.code


@pytest.mark.parametrize(
    "call",
    [
        lambda lab: lab.exec("nobody", ["true"]),
        lambda lab: lab.spawn("nobody", ["true"]),
        lambda lab: lab.inject(tcp=80, source="nobody"),
        lambda lab: lab.inject(tcp=80, destination="nobody"),
        lambda lab: lab.fail("link", "nobody"),
        lambda lab: lab.heal("zone", "nobody"),
        lambda lab: lab.log("nobody"),
        lambda lab: lab.target("nobody"),
    ],
)
def test_a_name_that_nothing_has_is_the_same_error_everywhere(lab: Lab, call: Callable[[Lab], object]) -> None:
    with pytest.raises(UnknownNameError, match="nobody") as unknown:
        call(lab)
    assert (unknown.value.code, unknown.value.exit_code) == ("UnknownName", 3)


def test_a_silent_node_stands_in_the_status_and_is_no_empty_list_elsewhere(lab: Lab) -> None:
    lab.fail("process", "inspect-node-a")
    try:
        (node,) = lab.status().nodes
        assert (node.name, node.load_balancer, node.zone, node.ports) == ("inspect-node-a", "inspect", "a", ())
        assert node.error.startswith("inspect-node-a is frozen; its log is ")
        for read in (lab.targets, lab.flows, lab.metrics, lambda: lab.target("fw"), lambda: lab.metric("verdicts")):
            with pytest.raises(LabError, match=r"^inspect-node-a is frozen; its log is "):
                read()
    finally:
        lab.heal("process", "inspect-node-a")
    assert lab.status().well


def test_the_readings_of_a_lab_agree_with_each_other(lab: Lab) -> None:
    lab.inject(udp=9, source_port=5556)
    (flow,) = (each for each in lab.flows() if each.source_port == 5556)
    assert (flow.node, flow.endpoint, flow.target, flow.protocol) == ("inspect-node-a", "vpce-a", "fw", 17)
    (counters,) = lab.metrics()
    assert (counters.load_balancer, counters.type, counters.zone) == ("inspect", "gateway", "a")
    assert lab.metric("NewFlowCount") == counters["NewFlowCount"] >= 1
    status = lab.status()
    assert status.nodes[0].targets[0].id == lab.target("fw").id == "fw"
    assert {port.name for port in status.nodes[0].ports} == {"vpce-a", "eni"}
    assert (status.capture, status.never_started, status.failures) == (None, (), ())


def test_waiting_in_vain_says_for_what(lab: Lab) -> None:
    with pytest.raises(LabError, match=r"waited 0\.1 s for fw to be draining"):
        lab.wait_for_state("fw", "draining", timeout=0.1)


def test_advance_tells_which_flows_ended(lab: Lab) -> None:
    lab.inject(udp=9, source_port=5555)
    ended = lab.advance(121)
    assert any("port 5555" in each.flow and each.node == "inspect-node-a" for each in ended)


def test_what_is_broken_stands_in_the_status_until_it_is_healed(lab: Lab) -> None:
    lab.fail("process", "fw")
    assert lab.status().failures == (("process", "fw"),)
    assert {process.name: process.state for process in lab.status().processes}["fw"] == "frozen"
    lab.heal("process", "fw")
    assert lab.status().failures == ()
    with pytest.raises(SettingError, match="no instance nobody; there are: client, "):
        lab.fail("instance", "nobody")


def test_the_package_exports_lab_and_complains_about_anything_else() -> None:
    assert gwlbemu.Lab is Lab
    with pytest.raises(AttributeError, match="no_such_thing"):
        gwlbemu.no_such_thing  # noqa: B018
