"""Which packets belong together, and for how long."""

from typing import Any

import pytest

from gwlbemu.core.gateway.balancer import Balancer
from gwlbemu.core.gateway.verdict import Drop, Reason, ToEndpoint, ToTarget
from gwlbemu.wire.build import build_ip
from gwlbemu.wire.icmp import build_icmp_error
from gwlbemu.wire.tcp import ACK, FIN, RST, SYN, build_tcp
from gwlbemu.wire.udp import build_udp
from tests.core.gateway.core_lab import (
    CLIENT,
    CLIENT6,
    SERVER,
    SERVER6,
    VPCE_A,
    VPCE_B,
    data,
    drops,
    give_back,
    node,
    query,
    reply,
    sent,
    syn,
    target_of,
)

MANY = range(1, 65)


def echo(number: int, source: bytes = CLIENT, destination: bytes = SERVER, kind: int = 8) -> bytes:
    return build_ip(source, destination, 1, bytes([kind, 0, 0, 0]) + number.to_bytes(4, "big"))


def both_ways(protocol: str, number: int) -> tuple[bytes, bytes]:
    client, server = bytes([10, 1, 0, number]), SERVER
    if protocol == "tcp":
        return build_tcp(client, server, 40000, 80), build_tcp(server, client, 80, 40000, flags=SYN | ACK)
    if protocol == "udp":
        return build_udp(client, server, 40000, 53), build_udp(server, client, 53, 40000)
    if protocol == "icmp":
        return echo(1, client, server), echo(1, server, client, 0)
    if protocol == "gre":
        return build_ip(client, server, 47, b"\0\0\x08\0" * 3), build_ip(server, client, 47, b"\0\0\x08\0" * 9)
    client6 = CLIENT6[:-1] + bytes([number])
    if protocol == "tcp6":
        return build_tcp(client6, SERVER6, 40000, 80), build_tcp(SERVER6, client6, 80, 40000, flags=SYN | ACK)
    return build_ip(client6, SERVER6, 58, bytes([128, 0, 0, 0, 0, 1, 0, 1])), build_ip(
        SERVER6, client6, 58, bytes([129, 0, 0, 0, 0, 1, 0, 1])
    )


@pytest.mark.contract("FL-03")
@pytest.mark.parametrize("stickiness", [None, "source_ip_dest_ip_proto", "source_ip_dest_ip"])
@pytest.mark.parametrize("protocol", ["tcp", "udp", "icmp", "gre", "tcp6", "icmp6"])
def test_both_directions_of_every_flow_reach_one_target(protocol: str, stickiness: str | None) -> None:
    group = {"stickiness.enabled": "true", "stickiness.type": stickiness} if stickiness else {}
    balancer = node(8, group=group)
    chosen = set()
    for number in MANY:
        there, back = both_ways(protocol, number)
        chosen.add(target_of(balancer, there, now=1.0))
        assert target_of(balancer, there, now=1.0) == target_of(balancer, back, now=1.0)
    assert len(chosen) == 8
    assert len(list(balancer.flows(now=1.0))) == len(MANY)


def tuples(group: dict[str, str]) -> list[tuple[int, int, int]]:
    """Return the flows that six packets make that differ in ports, and in ports and protocol."""
    balancer = node(8, group=group)
    for packet in (syn(1), syn(2), query(1), query(2), echo(1), echo(2)):
        balancer.receive_packet(VPCE_A, packet, now=1.0)
    return sorted((flow.tuple_size, flow.protocol, flow.source_port) for flow in balancer.flows(now=1.0))


@pytest.mark.contract("FL-01")
def test_a_flow_is_a_5_tuple_for_tcp_and_udp_and_a_3_tuple_for_the_rest() -> None:
    assert tuples({}) == [(3, 1, 0), (5, 6, 1), (5, 6, 2), (5, 17, 1), (5, 17, 2)]


@pytest.mark.contract("FL-02")
def test_stickiness_makes_a_flow_a_3_tuple_or_a_2_tuple() -> None:
    on = {"stickiness.enabled": "true"}
    assert tuples(on | {"stickiness.type": "source_ip_dest_ip_proto"}) == [(3, 1, 0), (3, 6, 0), (3, 17, 0)]
    assert tuples(on | {"stickiness.type": "source_ip_dest_ip"}) == [(2, 0, 0)]


@pytest.mark.contract("FL-04")
def test_the_same_addresses_behind_two_endpoints_are_two_flows_with_cookies_of_their_own() -> None:
    balancer = node(2)
    one, other = (sent(balancer.receive_packet(endpoint, query(), now=1.0)) for endpoint in (VPCE_A, VPCE_B))
    assert one.datagram[64:68] != other.datagram[64:68]
    assert {flow.endpoint for flow in balancer.flows(now=1.0)} == {VPCE_A, VPCE_B}
    targets = {
        (target_of(balancer, query(port), now=1.0), target_of(balancer, query(port), now=1.0, endpoint=VPCE_B))
        for port in MANY
    }
    assert len(targets) == 4


def test_a_packet_of_an_endpoint_that_is_not_ours_is_dropped_by_that_name() -> None:
    assert node().receive_packet(0x1234, query(), now=1.0) == Drop(Reason.UNKNOWN_ENDPOINT)


@pytest.mark.contract("FL-06")
@pytest.mark.parametrize(
    ("packet", "seconds", "listener", "group"),
    [
        (syn(), 350, {}, {}),
        (syn(), 60, {"tcp.idle_timeout.seconds": "60"}, {}),
        (syn(), 6000, {"tcp.idle_timeout.seconds": "6000"}, {}),
        (syn(), 350, {"tcp.idle_timeout.seconds": "60"}, {"stickiness.enabled": "true"}),
        (query(), 120, {"tcp.idle_timeout.seconds": "60"}, {}),
        (echo(1), 120, {}, {}),
        (build_tcp(CLIENT6, SERVER6, 1, 2), 350, {}, {}),
    ],
    ids=["tcp", "tcp 60", "tcp 6000", "tcp 2-tuple", "udp", "icmp", "tcp6"],
)
def test_a_flow_is_forgotten_at_its_idle_timeout_and_not_before(
    packet: bytes, seconds: int, listener: dict[str, str], group: dict[str, str]
) -> None:
    balancer = node(listener=listener, group=group)
    verdict = balancer.receive_packet(VPCE_A, packet, now=10.0)
    assert [flow.expires_at for flow in balancer.flows(now=10.0)] == [10.0 + seconds]
    assert len(list(balancer.flows(now=9.875 + seconds))) == 1
    assert list(balancer.flows(now=10.0 + seconds)) == []
    assert give_back(balancer, verdict, now=10.0 + seconds) == Drop(Reason.MISSING_FLOW_ENTRY)


def test_the_sweep_follows_the_deadlines_it_names() -> None:
    balancer = node()
    balancer.receive_packet(VPCE_A, query(), now=0.5)
    balancer.receive_packet(VPCE_A, syn(), now=0.5)
    counts = []
    while balancer.next_deadline() < 1000:
        at = balancer.next_deadline()
        balancer.expire(now=at)
        counts.append((at, balancer.metrics(now=at)["ActiveFlowCount"]))
    assert counts == [(10.0, 2), (121.0, 1), (351.0, 0)]


@pytest.mark.contract("FL-07")
@pytest.mark.parametrize("way", ["hot towards the target", "hot from the target", "from the server"])
def test_any_packet_of_either_direction_restarts_the_idle_clock(way: str) -> None:
    balancer = node()
    verdict = balancer.receive_packet(VPCE_A, syn(), now=0.0)
    if way == "hot from the target":
        give_back(balancer, verdict, now=300.0, packet=data(flags=ACK))
    else:
        balancer.receive_packet(VPCE_A, reply() if way == "from the server" else data(), now=300.0)
    assert [flow.expires_at for flow in balancer.flows(now=649.0)] == [650.0]
    balancer.expire(now=649.0)
    assert isinstance(balancer.receive_packet(VPCE_A, data(), now=649.0), ToTarget)


@pytest.mark.contract("FL-08")
def test_after_expiry_a_syn_and_udp_begin_new_flows_and_other_tcp_is_dropped_silently() -> None:
    balancer = node()
    for packet in (syn(), query()):
        balancer.receive_packet(VPCE_A, packet, now=0.0)
    assert balancer.receive_packet(VPCE_A, data(), now=350.0) == Drop(Reason.MIDSTREAM)
    assert balancer.receive_packet(VPCE_A, reply(flags=SYN | ACK), now=350.0) == Drop(Reason.MIDSTREAM)
    assert isinstance(balancer.receive_packet(VPCE_A, syn(), now=350.0), ToTarget)
    assert isinstance(balancer.receive_packet(VPCE_A, query(), now=350.0), ToTarget)
    assert [flow.placed_at for flow in balancer.flows(now=350.0)] == [350.0, 350.0]


@pytest.mark.contract("FL-08")
@pytest.mark.parametrize(("setting", "verdict"), [("drop", "Drop"), ("rst", "Reset"), ("new", "ToTarget")])
def test_a_connection_in_midstream_meets_what_the_switch_says(setting: str, verdict: str) -> None:
    balancer = node(emulation={"midstream": setting})
    assert type(balancer.receive_packet(VPCE_A, data(), now=1.0)).__name__ == verdict


def connected(**changes: Any) -> Balancer:
    balancer = node(**changes)
    for packet in (syn(), reply(flags=SYN | ACK), data(payload=b"")):
        give_back(balancer, balancer.receive_packet(VPCE_A, packet, now=1.0), now=1.0)
    return balancer


@pytest.mark.contract("FL-09")
@pytest.mark.parametrize(
    "packet", [data(flags=RST, payload=b""), reply(flags=RST | ACK, payload=b"")], ids=["client", "server"]
)
def test_a_rst_ends_a_flow_when_the_appliance_lets_it_pass(packet: bytes) -> None:
    balancer = connected()
    verdict = balancer.receive_packet(VPCE_A, packet, now=2.0)
    assert len(list(balancer.flows(now=2.0))) == 1
    assert isinstance(give_back(balancer, verdict, now=2.0), ToEndpoint)
    assert list(balancer.flows(now=2.0)) == []
    assert balancer.receive_packet(VPCE_A, data(), now=2.0) == Drop(Reason.MIDSTREAM)


@pytest.mark.contract("FL-09")
@pytest.mark.parametrize("linger", [3, 10, 0])
def test_fin_in_both_directions_ends_a_flow_after_the_linger(linger: int) -> None:
    balancer = connected(emulation={"fin_linger_seconds": linger})
    give_back(balancer, balancer.receive_packet(VPCE_A, data(flags=FIN | ACK), now=2.0), now=2.0)
    assert [flow.expires_at for flow in balancer.flows(now=2.0)] == [352.0]
    give_back(balancer, balancer.receive_packet(VPCE_A, reply(flags=FIN | ACK), now=3.0), now=3.0)
    assert [flow.expires_at for flow in balancer.flows(now=2.5)] == [3.0 + linger]
    assert balancer.receive_packet(VPCE_A, data(), now=3.0 + linger) == Drop(Reason.MIDSTREAM)


def test_the_last_ack_and_a_new_syn_pass_in_the_linger() -> None:
    balancer = connected()
    for packet in (data(flags=FIN | ACK), reply(flags=FIN | ACK)):
        give_back(balancer, balancer.receive_packet(VPCE_A, packet, now=2.0), now=2.0)
    assert isinstance(
        give_back(balancer, balancer.receive_packet(VPCE_A, data(payload=b""), now=2.0), now=2.0), ToEndpoint
    )
    assert isinstance(balancer.receive_packet(VPCE_A, syn(), now=2.5), ToTarget)
    assert [flow.expires_at for flow in balancer.flows(now=2.5)] == [352.5]


def fragments(identification: int) -> list[bytes]:
    whole = build_udp(CLIENT, SERVER, 40000, 53, bytes(3000), identification=identification)
    pieces = []
    for offset in range(0, 3008, 1480):
        piece = whole[20 + offset : 20 + offset + 1480]
        more = 0x2000 if offset + 1480 < 3008 else 0
        word = (offset // 8 | more).to_bytes(2, "big")
        head = whole[:2] + (20 + len(piece)).to_bytes(2, "big") + whole[4:6] + word + whole[8:20]
        pieces.append(head + piece)
    return pieces


@pytest.mark.contract("FL-10")
def test_all_fragments_of_a_datagram_reach_one_target_and_return() -> None:
    balancer = node(8)
    verdicts = [balancer.receive_packet(VPCE_A, piece, now=1.0) for piece in fragments(7)]
    assert len(verdicts) == 3
    assert len({(sent(verdict).target, sent(verdict).datagram[28:68]) for verdict in verdicts}) == 1
    assert all(isinstance(give_back(balancer, verdict, now=1.0), ToEndpoint) for verdict in verdicts)
    assert [flow.tuple_size for flow in balancer.flows(now=1.0)] == [3]


@pytest.mark.contract("FL-10")
def test_the_first_fragment_goes_with_the_others_even_when_its_ports_belong_to_a_live_flow() -> None:
    balancer = node(8)
    headers = set()
    for port in MANY:
        balancer.receive_packet(VPCE_A, query(port), now=1.0)
    balancer.receive_packet(VPCE_A, query(40000), now=1.0)
    for piece in fragments(7):
        headers.add(sent(balancer.receive_packet(VPCE_A, piece, now=1.0)).datagram[28:68])
    assert len(headers) == 1


@pytest.mark.contract("FL-10")
def test_fragments_are_dropped_by_name_when_the_switch_says_so() -> None:
    balancer = node(emulation={"fragments": "drop"})
    assert {balancer.receive_packet(VPCE_A, piece, now=1.0) for piece in fragments(7)} == {Drop(Reason.FRAGMENT)}


@pytest.mark.contract("FL-11")
@pytest.mark.parametrize(("setting", "flows"), [("own", 2), ("parent", 1)])
def test_an_icmp_error_is_a_flow_of_its_own_or_goes_with_the_flow_it_quotes(setting: str, flows: int) -> None:
    balancer = node(8, emulation={"icmp_errors": setting})
    flow = sent(balancer.receive_packet(VPCE_A, query(), now=1.0))
    router = bytes([203, 0, 113, 1])
    error = build_icmp_error(query(), 3, 4, router)
    assert error is not None
    verdict = balancer.receive_packet(VPCE_A, error, now=1.0)
    assert len(list(balancer.flows(now=1.0))) == flows
    assert (sent(verdict).datagram[28:68] == flow.datagram[28:68]) is (setting == "parent")
    assert isinstance(give_back(balancer, verdict, now=1.0), ToEndpoint)


@pytest.mark.contract("FL-11")
def test_an_icmp_error_goes_the_other_way_than_the_packet_it_quotes() -> None:
    # With one hop on the first sender's side only, an error towards the first sender loses its hop when it leaves.
    balancer = node(1, emulation={"icmp_errors": "parent", "ttl_decrement": 1})
    balancer.receive_packet(VPCE_A, query(), now=1.0)
    error = build_icmp_error(query(), 3, 4, SERVER, ttl=50)
    assert error is not None
    verdict = balancer.receive_packet(VPCE_A, error, now=1.0)
    returned = give_back(balancer, verdict, now=1.0)
    assert isinstance(returned, ToEndpoint)
    assert (sent(verdict).datagram[76], returned.packet[8]) == (50, 49)


def test_a_half_open_flow_is_forgotten_when_the_switch_says_so() -> None:
    balancer = node(emulation={"half_open_timeout_seconds": 30})
    balancer.receive_packet(VPCE_A, syn(), now=0.0)
    verdict = balancer.receive_packet(VPCE_A, syn(40001), now=0.0)
    balancer.receive_packet(VPCE_A, syn(), now=29.0)  # a retransmission does not buy time
    give_back(balancer, verdict, now=29.0)
    assert [(flow.source_port, flow.expires_at) for flow in balancer.flows(now=30.0)] == [(40001, 379.0)]


def test_a_2_tuple_flow_that_carries_tcp_lives_as_long_as_tcp() -> None:
    balancer = node(group={"stickiness.enabled": "true"})
    balancer.receive_packet(VPCE_A, query(), now=0.0)
    assert [flow.expires_at for flow in balancer.flows(now=0.0)] == [120.0]
    balancer.receive_packet(VPCE_A, syn(), now=1.0)
    assert [flow.expires_at for flow in balancer.flows(now=1.0)] == [351.0]


def test_nothing_that_passes_is_counted_as_a_drop() -> None:
    assert drops(connected()) == {}


def test_flows_can_be_listed_from_the_newest_over_all_endpoints() -> None:
    balancer = node()
    for port, (endpoint, now) in enumerate([(VPCE_A, 1.0), (VPCE_B, 2.0), (VPCE_A, 3.0), (VPCE_B, 4.0)], start=1):
        balancer.receive_packet(endpoint, query(port), now=now)
    balancer.receive_packet(VPCE_A, query(1), now=5.0)  # a packet does not make a flow new
    assert [flow.placed_at for flow in balancer.flows(now=5.0, newest_first=True)] == [4.0, 3.0, 2.0, 1.0]


def udp_from(port: int) -> bytes:
    return build_udp(CLIENT, SERVER, port, 53, b"x")


def closed_port(packet: bytes) -> bytes:
    """What the server answers to a packet for a port that nobody listens at."""
    error = build_icmp_error(packet, 3, 3, SERVER)
    assert error is not None
    return error


def test_a_flow_beyond_the_maximum_is_dropped_and_counted_by_name_and_the_others_go_on() -> None:
    balancer = node(1, emulation={"max_flows": 3})
    for port in (1, 2, 3):
        assert isinstance(balancer.receive_packet(VPCE_A, udp_from(port), now=0.0), ToTarget)
    assert balancer.receive_packet(VPCE_B, udp_from(4), now=1.0) == Drop(Reason.TABLE_FULL)
    assert balancer.receive_packet(VPCE_A, build_tcp(CLIENT, SERVER, 1, 2, flags=SYN), now=1.0) == Drop(
        Reason.TABLE_FULL
    )
    for port in (1, 2, 3):
        assert isinstance(balancer.receive_packet(VPCE_A, udp_from(port), now=1.0), ToTarget)
    metrics = balancer.metrics(now=1.0)
    assert (metrics["ActiveFlowCount"], metrics["Dropped_FlowTableFull"]) == (3, 2)
    assert (metrics["RejectedFlowCount"], metrics["RejectedFlowCount_TCP"]) == (2, 1)
    assert metrics["verdicts"] == metrics["packets_received"]


def test_flows_whose_time_is_over_make_room_in_a_full_table_before_any_sweep() -> None:
    balancer = node(1, emulation={"max_flows": 100})
    for port in range(100):
        balancer.receive_packet(VPCE_A, udp_from(port), now=0.0)
    for port in range(100, 200):
        assert isinstance(balancer.receive_packet(VPCE_A, udp_from(port), now=122.0), ToTarget)
    assert balancer.metrics(now=122.0)["ActiveFlowCount"] <= 100


@pytest.mark.contract("FL-11")
def test_a_flow_of_icmp_errors_alone_is_short_until_another_packet_belongs_to_it() -> None:
    error = closed_port(udp_from(1))
    balancer = node(1, track_changes=True)
    balancer.receive_packet(VPCE_A, error, now=0.0)
    assert balancer.take_flow_changes() == [], "the fast path would not see that it is no longer errors alone"
    balancer.receive_packet(VPCE_A, error, now=9.0)
    (flow,) = balancer.flows(now=9.0)
    assert flow.expires_at == 19.0
    assert list(balancer.flows(now=19.0)) == []
    balancer.receive_packet(VPCE_A, error, now=30.0)
    balancer.receive_packet(VPCE_A, echo(1), now=31.0)
    balancer.receive_packet(VPCE_A, error, now=32.0)
    (flow,) = balancer.flows(now=32.0)
    assert flow.expires_at == 152.0
    assert [change.kind.value for change in balancer.take_flow_changes()][-1] == "placed"  # type: ignore[union-attr]


def test_many_closed_ports_leave_no_second_crowd_of_flows() -> None:
    balancer = node(1)
    for host in range(200):
        client = bytes([10, 1, 22, host])
        query = build_udp(client, SERVER, 1, 53, b"x")
        balancer.receive_packet(VPCE_A, query, now=0.0)
        balancer.receive_packet(VPCE_A, closed_port(query), now=0.0)
    balancer.expire(now=12.0)
    assert balancer.metrics(now=12.0)["ActiveFlowCount"] == 200
