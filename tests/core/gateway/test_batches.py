"""Batches of frames: the same verdicts, bytes and counts as one packet at a time the careful way."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gwlbemu.core.gateway import lookup, tunnel
from gwlbemu.core.gateway.balancer import Balancer
from gwlbemu.core.gateway.judged import Judged, one_by_one
from gwlbemu.core.gateway.settings import Links
from gwlbemu.core.gateway.verdict import Reason, Verdict
from gwlbemu.wire.build import build_ip
from gwlbemu.wire.tcp import ACK, FIN, RST, build_tcp
from gwlbemu.wire.udp import build_udp
from tests.core.gateway.core_lab import (
    CLIENT,
    CLIENT6,
    NODE,
    SERVER,
    SERVER6,
    VPCE_A,
    VPCE_B,
    data,
    hairpin,
    node,
    pass_probes,
    query,
    reply,
    syn,
    target,
)
from tests.core.gateway.core_lab import settings as node_settings
from tests.core.gateway.test_properties import MODES, NOISE, bytes_of

ENDPOINTS = {VPCE_A: (b"A--4", b"A--6"), VPCE_B: (b"B--4", b"B--6")}
TARGETS = {target(1).address: b"-t1-", target(2).address: b"-t2-"}
LINKS = Links(ENDPOINTS, TARGETS, 4)
GOOD = (
    query(),
    query(41000),
    query(payload=b"odd"),
    query(payload=bytes(900)),
    data(),
    data(payload=b""),
    reply(),
    syn(),
)


def balancer(targets: int = 2, **changes: Any) -> Balancer:
    made = Balancer(node_settings(targets, links=LINKS, **changes), now=0.0)
    for each in made.probe_targets(now=0.0):
        pass_probes(made, each.id)
    return made


def frames(packets: list[bytes]) -> list[bytes]:
    """Packets with another link header each: what comes in front does not matter."""
    return [b"in%02d" % (number % 100) + packet for number, packet in enumerate(packets)]


def carefully(one: Balancer, endpoint: int | None, packets: list[bytes], now: float) -> Judged:
    def judge(packet: bytes) -> Verdict:
        if endpoint is None:
            return one.receive_return(packet[12:16], packet, now=now)
        return one.receive_packet(endpoint, packet, now=now)

    return one_by_one(LINKS, frames(packets), judge)


def parts(judged: Judged) -> tuple[object, ...]:
    return judged.to_targets, judged.to_endpoints, judged.dropped


def has_broken_head(packet: bytes) -> bool:
    """Whether TCP's or UDP's head cannot be: what the two ways see differently."""
    if packet[9:10] == b"\x11":
        return len(packet) < 28
    return packet[9:10] == b"\x06" and (len(packet) < 40 or not 20 <= packet[32] >> 4 << 2 <= len(packet) - 20)


@settings(max_examples=150, deadline=None)
@given(
    MODES,
    st.lists(
        st.tuples(
            st.lists(st.one_of(st.sampled_from(GOOD), st.tuples(st.sampled_from(GOOD), NOISE, st.integers(0, 40)))),
            st.lists(NOISE, max_size=4),
            st.booleans(),
            st.integers(0, 200),
        ),
        max_size=6,
    ),
)
def test_batches_and_single_packets_have_the_same_end_for_any_bytes(mode: dict[str, Any], steps: list[Any]) -> None:
    batch, single = balancer(**mode), balancer(**mode)
    now = 0.0
    for drawn, noises, other, wait in steps:
        now += wait
        packets, endpoint = [bytes_of(each) for each in drawn], VPCE_B if other else VPCE_A
        packets = [packet for packet in packets if not has_broken_head(packet)]
        there = batch.receive_frames(endpoint, frames(packets), now=now)
        assert parts(there) == parts(carefully(single, endpoint, packets, now))
        assert len(there) == len(packets)
        back = [hairpin(frame[4:]) for frame in there.to_targets]
        back += [bytes_of((datagram, noise, 0)) for datagram, noise in zip(back, noises, strict=False)]
        back = [datagram for datagram in back if not has_broken_head(datagram[68:])]
        returned = batch.receive_returned_frames(frames(back), now=now)
        assert parts(returned) == parts(carefully(single, None, back, now))
        assert len(returned) == len(back)
        for each in (batch, single):
            each.expire(now=now)
    assert batch.metrics(now=now) == single.metrics(now=now)
    assert list(batch.flows(now=now)) == list(single.flows(now=now))


@pytest.mark.parametrize(
    "packet",
    [
        pytest.param(data()[:32] + b"\x40" + data()[33:], id="TCP header of 16 bytes"),
        pytest.param(data()[:32] + b"\xf0" + data()[33:], id="TCP header past the end"),
        pytest.param(build_ip(CLIENT, SERVER, 17, query()[20:27]), id="UDP header cut off"),
    ],
)
def test_a_broken_head_goes_on_in_a_live_flow_and_begins_none(packet: bytes) -> None:
    one = balancer(1, emulation={"midstream": "new"})
    assert carefully(one, VPCE_A, [packet], 1.0).dropped == [(b"in00" + packet, Reason.MALFORMED)]
    judged = one.receive_frames(VPCE_A, frames([data(), query(), packet]), now=1.0)
    assert judged.to_targets[2][4 + 68 + 12 :] == packet[12:]


def test_a_batch_keeps_the_order_of_what_goes_the_hot_way_and_the_careful_one() -> None:
    packets = [query(payload=b"0"), query(payload=b"1"), data(), syn(), data(payload=b"4"), query(payload=b"5")]
    judged = balancer(1).receive_frames(VPCE_A, frames(packets), now=1.0)
    assert [frame[4 + 68 + 20 :] for frame in judged.to_targets] == [packets[n][20:] for n in (0, 1, 3, 4, 5)]
    assert judged.dropped == [(b"in02" + data(), Reason.MIDSTREAM)]


def test_a_reset_ends_a_flow_for_the_packets_behind_it_in_the_batch() -> None:
    one = balancer(1)
    there = one.receive_frames(VPCE_A, frames([syn(), data(payload=b"1")]), now=1.0)
    header = hairpin(there.to_targets[0][4:])[:68]
    back = []
    for flags in (ACK, ACK, RST | ACK, ACK):
        packet = reply(flags=flags)
        back.append(
            header[:2] + (68 + len(packet)).to_bytes(2, "big") + header[4:24] + (48 + len(packet)).to_bytes(2, "big")
            + header[26:] + packet
        )  # fmt: skip
    judged = one.receive_returned_frames(frames(back), now=1.0)
    assert len(judged.to_endpoints[VPCE_A]) == 3
    assert judged.dropped == [(b"in03" + back[3], Reason.MISSING_FLOW_ENTRY)]


@pytest.mark.parametrize(
    ("packet", "link"),
    [(query(), b"A--4"), (build_udp(CLIENT6, SERVER6, 1, 2, b"six"), b"A--6")],
    ids=["4", "6"],
)
def test_what_leaves_has_the_link_header_of_its_target_or_endpoint_and_version(packet: bytes, link: bytes) -> None:
    one = balancer(2)
    for now in (1.0, 2.0):
        (frame,) = one.receive_frames(VPCE_A, [b"link" + packet], now=now).to_targets
        assert frame[:4] == TARGETS[frame[20:24]]
        assert frame[16:20] == NODE
        judged = one.receive_returned_frames([b"link" + hairpin(frame[4:])], now=now)
        ((returned,), nothing) = judged.to_endpoints[VPCE_A], judged.to_endpoints[VPCE_B]
        assert (returned[:4], len(returned), nothing) == (link, 4 + len(packet), [])


@pytest.mark.parametrize("ends", [(b"\x0a\0\0\1", SERVER), (SERVER, b"\x0a\0\0\1")], ids=["upwards", "downwards"])
def test_a_flow_that_ended_is_not_found_in_either_direction(ends: tuple[bytes, bytes]) -> None:
    one = balancer(2, emulation={"midstream": "drop"})
    there, back = build_tcp(*ends, 7, 80, flags=ACK), build_tcp(*ends[::-1], 80, 7, flags=ACK)
    opening, finish = build_tcp(*ends, 7, 80, flags=2), build_tcp(*ends[::-1], 80, 7, flags=FIN | RST)
    seen = one.receive_frames(VPCE_A, frames([opening, there, back, there, back, finish]), now=1.0)
    assert len(seen.to_targets) == 6
    one.receive_returned_frames([b"link" + hairpin(seen.to_targets[-1][4:])], now=1.0)
    judged = one.receive_frames(VPCE_A, frames([there, back]), now=1.0)
    assert [reason for _, reason in judged.dropped] == [Reason.MIDSTREAM] * 2


def test_more_lengths_than_are_remembered_of_a_target_are_all_written_right(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tunnel, "LENGTHS_CAPACITY", 4)
    packets = [query(payload=bytes(size)) for size in range(12)]
    one = Balancer(node_settings(1, links=LINKS), now=0.0)
    for now in (1.0, 2.0):
        assert parts(one.receive_frames(VPCE_A, frames(packets), now=now)) == parts(
            carefully(one, VPCE_A, packets, now)
        )
    (flow,) = one._placement.table.by_endpoint[VPCE_A].values()
    assert 0 < len(flow.target.outer_headers) <= 4


def test_more_flows_than_are_remembered_are_all_carried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lookup, "CAPACITY", 10)
    packets = [query(port) for port in range(1, 36)]
    one = node(2, links=LINKS)
    for now in (1.0, 2.0, 3.0):
        judged = one.receive_frames(VPCE_A, frames(packets), now=now)
        assert [frame[-12:-10] for frame in judged.to_targets] == [packet[20:22] for packet in packets]
    known = one._placement.table.lookups[VPCE_A]
    assert 0 < len(known[17]) <= 10
    assert {flow.packets for flow in one.flows(now=3.0)} == {3}
