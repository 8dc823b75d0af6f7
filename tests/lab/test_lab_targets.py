"""Targets that come, fail and go while real connections run through them."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from scapy.layers.inet import IP, TCP

from gwlbemu import Lab
from gwlbemu.errors import LabError, SettingError
from tests.lab.oracles import curl, sniffed
from tests.lab.talkers import Talk, ask, echoing, idle_until_told, talking, until_unhealthy
from tests.lab.worlds import world
from tests.waiting import PATIENCE, wait_until

pytestmark = pytest.mark.namespace

MANY = 24  # connections: that one of two targets is given none of them happens once in eight million runs
PAIR = world({"fw-1": "a", "fw-2": "a"})
REBALANCE = {"target_failover.on_deregistration": "rebalance", "target_failover.on_unhealthy": "rebalance"}
RESET = {"send_tcp_reset.on_deregistration.enabled": True, "send_tcp_reset.on_unhealthy.enabled": True}


@pytest.fixture(scope="module")
def shared() -> Iterator[Lab]:
    with Lab(PAIR, capture=False) as lab:
        yield lab


@pytest.fixture
def pair(shared: Lab) -> Iterator[Lab]:
    """The shared lab with both targets well and no flow left, before and after the test."""
    yield shared
    for name in ("fw-1", "fw-2"):
        shared.heal("health", name)
        shared.register("firewalls", name)
    shared.set("firewalls", dict.fromkeys(REBALANCE, "no_rebalance") | dict.fromkeys(RESET, False))
    shared.advance(400)
    shared.advance(10)
    shared.wait_until_healthy()


def make_unhealthy(lab: Lab, *names: str) -> None:
    """Let health checks fail until the threshold is reached, in no time."""
    for name in names:
        lab.fail("health", name)
    for name in names:
        until_unhealthy(lab, name)


def homes(lab: Lab, talk: Talk) -> dict[str, set[int]]:
    """Which connections each target carries, by source port."""
    found: dict[str, set[int]] = {"fw-1": set(), "fw-2": set()}
    for flow in lab.flows():
        if flow.protocol == 6 and flow.source_port in talk.state():
            found[flow.target].add(flow.source_port)
    return found


def move_on(lab: Lab, talk: Talk, ports: set[int]) -> bool:
    """Whether every one of these connections gets new answers."""
    before = talk.state()

    def all_answered() -> bool:
        now = talk.state()
        return all(now[port][0] > before[port][0] + 1 for port in ports)

    return succeeds(lambda: lab.wait_until(all_answered, timeout=PATIENCE))


def succeeds(act: Callable[[], object]) -> bool:
    try:
        act()
    except LabError:
        return False
    return True


@pytest.mark.contract("TG-03")
def test_probes_come_from_the_nodes_address_and_are_plain_http(pair: Lab) -> None:
    with sniffed(pair, "fw-1", matching="tcp port 80") as seen:
        pair.advance(5)
    probes = [IP(frame[14:]) for frame in seen.frames if IP(frame[14:])[TCP].flags == "S"]
    assert {probe.src for probe in probes} == {"10.254.1.254"}
    assert "GET / HTTP/1.1" in b"".join(bytes(IP(f[14:])[TCP].payload) for f in seen.frames).decode(errors="replace")


@pytest.mark.contract("TG-04", "TG-05")
def test_new_flows_go_to_healthy_targets_only_and_the_state_says_why(pair: Lab) -> None:
    make_unhealthy(pair, "fw-1")
    state = pair.target("fw-1")
    seen = "Health checks failed with these codes: [503], expected 200-399"
    assert (state.reason, state.description) == ("Target.ResponseCodeMismatch", seen)
    with echoing(pair, "server-a"):
        assert set(ask(pair, range(4001, 4031)).values()) == {"10"}
    assert {flow.target for flow in pair.flows() if flow.protocol == 17} == {"fw-2"}
    assert (pair.metric("HealthyHostCount"), pair.metric("UnHealthyHostCount")) == (1, 1)


@pytest.mark.contract("TG-04")
@pytest.mark.topology(world(emulation={"initial_health_check_interval_seconds": None}), capture=False, wait=0)
def test_a_new_target_is_initial_until_its_checks_have_passed(lab: Lab) -> None:
    wait_until(lambda: succeeds(lab.targets))
    state = lab.target("fw")
    assert state.state == "initial"
    assert (state.reason, state.description) in (
        ("Elb.RegistrationInProgress", "Target registration is in progress"),
        ("Elb.InitialHealthChecking", "Initial health checks in progress"),
    )
    lab.advance(5)
    lab.advance(5)
    lab.wait_for_state("fw", "healthy", timeout=PATIENCE)


@pytest.mark.contract("TG-04", "TG-06")
def test_a_deregistered_target_drains_keeps_its_live_flows_and_gets_no_new_ones(pair: Lab) -> None:
    with talking(pair, MANY) as talk, echoing(pair, "server-a"):
        ports = homes(pair, talk)
        assert ports["fw-1"]
        pair.deregister("firewalls", "fw-1")
        state = pair.target("fw-1")
        assert (state.state, state.reason) == ("draining", "Target.DeregistrationInProgress")
        assert state.description == "Target deregistration is in progress"
        ask(pair, range(4001, 4021))
        assert {flow.target for flow in pair.flows() if flow.protocol == 17} == {"fw-2"}
        pair.advance(200)
        assert pair.target("fw-1").state == "draining"
        assert move_on(pair, talk, ports["fw-1"] | ports["fw-2"])
        pair.advance(101)
        # The default, no_rebalance: live flows stay with it even now (TG-07).
        assert move_on(pair, talk, ports["fw-1"])
        assert homes(pair, talk) == ports
        assert pair.target("fw-1").state == "unused"


@pytest.mark.contract("TG-07")
@pytest.mark.topology(PAIR, capture=False)
def test_without_rebalance_the_flows_of_a_dead_target_are_lost_and_the_others_never_notice(lab: Lab) -> None:
    with talking(lab, MANY) as talk:
        ports = homes(lab, talk)
        lab.fail("instance", "fw-1")
        assert move_on(lab, talk, ports["fw-2"])
        until_unhealthy(lab, "fw-1")
        stuck = {port: talk.state()[port] for port in ports["fw-1"]}
        assert move_on(lab, talk, ports["fw-2"])
        assert {port: talk.state()[port] for port in ports["fw-1"]} == stuck
        assert homes(lab, talk) == ports
        assert curl(lab) == 0


@pytest.mark.contract("TG-08")
@pytest.mark.topology(world({"fw-1": "a", "fw-2": "a"}, group=REBALANCE), capture=False)
def test_with_rebalance_only_the_dead_targets_flows_move_mid_stream_and_none_is_lost(lab: Lab) -> None:
    with talking(lab, MANY) as talk:
        ports = homes(lab, talk)
        lab.fail("instance", "fw-1")
        until_unhealthy(lab, "fw-1")
        assert move_on(lab, talk, ports["fw-1"] | ports["fw-2"])
        assert homes(lab, talk) == {"fw-1": set(), "fw-2": ports["fw-1"] | ports["fw-2"]}
        moves = {flow.source_port: flow.moves for flow in lab.flows()}
        assert {moves[port] for port in ports["fw-1"]} == {1}
        assert {moves[port] for port in ports["fw-2"]} == {0}
        assert {how for _, how in talk.state().values()} == {"open"}
        assert lab.metric("MovedFlowCount") == len(ports["fw-1"])


@pytest.mark.contract("TG-08")
def test_with_rebalance_the_flows_of_a_deregistered_target_move_when_its_delay_is_over(pair: Lab) -> None:
    pair.set("firewalls", REBALANCE)
    with talking(pair, MANY) as talk:
        ports = homes(pair, talk)
        pair.deregister("firewalls", "fw-1")
        pair.advance(200)
        assert move_on(pair, talk, ports["fw-1"])
        assert homes(pair, talk) == ports
        pair.advance(100)
        assert move_on(pair, talk, ports["fw-1"] | ports["fw-2"])
        assert homes(pair, talk) == {"fw-1": set(), "fw-2": ports["fw-1"] | ports["fw-2"]}


@pytest.mark.contract("TG-09")
def test_the_two_failover_attributes_must_be_equal(pair: Lab) -> None:
    with pytest.raises(
        SettingError, match=r"target_failover\.on_deregistration.*target_failover\.on_unhealthy"
    ) as refusal:
        pair.set("firewalls", {"target_failover.on_unhealthy": "rebalance"})
    assert refusal.value.code == "ValidationError"


@pytest.mark.contract("TG-10")
def test_with_every_target_unhealthy_new_flows_go_to_any_of_them_and_stay_there(pair: Lab) -> None:
    make_unhealthy(pair, "fw-1", "fw-2")
    with talking(pair, MANY) as talk:
        ports = homes(pair, talk)
        assert all(ports.values())
        assert move_on(pair, talk, ports["fw-1"] | ports["fw-2"])
        assert homes(pair, talk) == ports


@pytest.mark.contract("FL-13")
def test_with_reset_on_idle_timeout_a_late_sender_gets_a_reset_with_the_numbers_of_rfc_9293(
    pair: Lab, tmp_path_factory: pytest.TempPathFactory
) -> None:
    file = tmp_path_factory.mktemp("told") / "now"
    pair.set("inspect", {"send_tcp_reset.on_idle_timeout.enabled": True})
    before = pair.metric("TCP_GWLB_Reset_Count")
    try:
        with idle_until_told(pair, str(file)) as client, sniffed(pair, "client", matching="tcp port 80") as seen:
            pair.advance(351)
            file.touch()
            assert client.wait().stdout.split()[-1] == "ConnectionResetError"
    finally:
        pair.set("inspect", {"send_tcp_reset.on_idle_timeout.enabled": False})
    packets = [IP(frame[14:]) for frame in seen.frames]
    late = next(packet for packet in packets if packet.src == "198.51.100.10")
    reset = next(packet for packet in packets if packet[TCP].flags.R)
    # RFC 9293, 3.10.7.1: if the ACK bit is on, <SEQ=SEG.ACK><CTL=RST>
    assert (reset.src, reset.dst, reset[TCP].dport) == ("203.0.113.10", "198.51.100.10", late[TCP].sport)
    assert reset[TCP].seq == late[TCP].ack
    assert pair.metric("TCP_GWLB_Reset_Count") == before + 1


@pytest.mark.contract("FL-14")
@pytest.mark.parametrize("cause", ["unhealthy", "deregistration"])
def test_with_reset_the_connections_of_a_lost_target_are_reset_and_come_back_on_a_healthy_one(
    pair: Lab, cause: str
) -> None:
    pair.set("firewalls", RESET)
    # Only the sender of the first late packet is told by RESET; the other end meets an unknown flow.
    pair.set("inspect", {"send_tcp_reset.on_idle_timeout.enabled": True})
    before = pair.metric("TCP_GWLB_Reset_Count")
    with talking(pair, MANY) as talk:
        ports = homes(pair, talk)
        if cause == "unhealthy":
            make_unhealthy(pair, "fw-1")
        else:
            pair.deregister("firewalls", "fw-1")
            pair.advance(301)
        wait_until(lambda: all(talk.state()[port][1] == "ConnectionResetError" for port in ports["fw-1"]))
        assert move_on(pair, talk, ports["fw-2"])
        assert homes(pair, talk) == {"fw-1": set(), "fw-2": ports["fw-2"]}
    assert pair.metric("TCP_GWLB_Reset_Count") - before >= len(ports["fw-1"])
    for _ in range(5):
        assert curl(pair) == 0
    assert {flow.target for flow in pair.flows() if flow.age_seconds < 5} == {"fw-2"}


@pytest.mark.contract("FL-14")
@pytest.mark.parametrize(
    "other",
    [REBALANCE, {"stickiness.enabled": True, "stickiness.type": "source_ip_dest_ip_proto"}],
    ids=["rebalance", "sticky"],
)
def test_reset_is_refused_beside_rebalance_or_stickiness(pair: Lab, other: dict[str, str | bool]) -> None:
    with pytest.raises(SettingError, match="send_tcp_reset") as refusal:
        pair.set("firewalls", {**RESET, **other})
    assert refusal.value.code == "InvalidConfigurationRequest"
    assert curl(pair) == 0
