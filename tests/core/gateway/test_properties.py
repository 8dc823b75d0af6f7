"""Whatever the bytes: one verdict, one count, no exception; and keys that do not know directions."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gwlbemu.core.elb.gateway_attributes import FIVE_TUPLE, THREE_TUPLE, TWO_TUPLE
from gwlbemu.core.gateway.key import flow_key, from_key_bytes, key_bytes, key_parts
from gwlbemu.core.gateway.verdict import Drop, Reset, ToEndpoint, ToTarget
from gwlbemu.wire.ip import decode_ip
from gwlbemu.wire.udp import build_udp
from tests.core.gateway.core_lab import VPCE_A, VPCE_B, data, hairpin, node, query, reply, sent, syn

MODES = st.sampled_from(
    [
        {},
        {"emulation": {"midstream": "new", "icmp_errors": "parent", "ttl_decrement": 1, "mss_clamp": True}},
        {
            "emulation": {"half_open_timeout_seconds": 5, "ttl_decrement": 0},
            "listener": {"send_tcp_reset.on_idle_timeout.enabled": "true"},
        },
        {"group": {"stickiness.enabled": "true"}},
        {"group": {"stickiness.enabled": "true", "stickiness.type": "source_ip_dest_ip_proto"}},
    ]
)
GOOD = st.sampled_from(
    [query(), syn(), data(), reply(), syn(options=b"\x02\x04\xff\xff\x01\x03\x03\x07"), query(payload=bytes(900))]
)
NOISE = st.lists(st.tuples(st.integers(0, 120), st.integers(0, 255)), max_size=4)
PACKETS = st.one_of(st.binary(max_size=90), GOOD, st.tuples(GOOD, NOISE, st.integers(0, 120)))


def bytes_of(drawn: bytes | tuple[bytes, list[tuple[int, int]], int]) -> bytes:
    """A good packet with some bytes changed and perhaps cut short, or any bytes."""
    if isinstance(drawn, bytes):
        return drawn
    raw, noise, cut = bytearray(drawn[0]), drawn[1], drawn[2]
    for at, value in noise:
        if at < len(raw):
            raw[at] = value
    return bytes(raw[: len(raw) - cut] if cut < len(raw) else raw)


@pytest.mark.contract("GV-14")
@settings(max_examples=150, deadline=None)
@given(MODES, st.lists(st.tuples(PACKETS, NOISE, st.booleans(), st.booleans(), st.floats(0, 200)), max_size=12))
def test_packets_in_are_verdicts_out_for_any_bytes_on_both_sides(mode: dict[str, Any], steps: list[Any]) -> None:
    balancer = node(2, **mode)
    count, now, seen = 0, 0.0, hairpin(sent(balancer.receive_packet(VPCE_A, query(), now=0.0)).datagram)
    for drawn, noise, other, raw, wait in steps:
        now += wait
        packet = bytes_of(drawn)
        verdict = balancer.receive_packet(VPCE_B if other else VPCE_A, packet, now=now)
        assert isinstance(verdict, (ToTarget, ToEndpoint, Reset, Drop))
        if isinstance(verdict, ToTarget):
            seen = hairpin(verdict.datagram)
        datagram = packet if raw else bytes_of((seen, noise, 0))
        returned = balancer.receive_return(datagram[12:16], datagram, now=now)
        assert isinstance(returned, (ToEndpoint, Drop))
        balancer.expire(now=now)
        count += 2
    metrics = balancer.metrics(now=now)
    assert metrics["packets_received"] == metrics["verdicts"] == count + 1


ADDRESSES = st.one_of(
    st.tuples(st.binary(min_size=4, max_size=4), st.binary(min_size=4, max_size=4)),
    st.tuples(st.binary(min_size=16, max_size=16), st.binary(min_size=16, max_size=16)),
)
PORTS = st.integers(0, 65535)


@pytest.mark.contract("FL-03", "FL-04")
@settings(max_examples=200, deadline=None)
@given(ADDRESSES, PORTS, PORTS, st.sampled_from([FIVE_TUPLE, THREE_TUPLE, TWO_TUPLE]))
def test_a_key_is_the_same_in_both_directions_and_says_what_it_was_made_of(
    ends: tuple[bytes, bytes], port: int, other_port: int, stickiness: str
) -> None:
    source, destination = ends
    there = flow_key(decode_ip(build_udp(source, destination, port, other_port)), stickiness)
    back = flow_key(decode_ip(build_udp(destination, source, other_port, port)), stickiness)
    assert there[0] == back[0]
    parts = key_parts(there[0])
    size = {FIVE_TUPLE: 5, THREE_TUPLE: 3, TWO_TUPLE: 2}[stickiness]
    assert (parts.tuple_size, parts.protocol) == (size, 17 if size > 2 else 0)
    made_of = sorted([(source, port), (destination, other_port)] if size == 5 else [(source, 0), (destination, 0)])
    assert [(parts.low, parts.low_port), (parts.high, parts.high_port)] == made_of
    assert from_key_bytes(key_bytes(VPCE_A, there[0])) == (VPCE_A, there[0])
