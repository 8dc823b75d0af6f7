"""The short way to a key, and back from it: what the hot paths look flows up by."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gwlbemu.core.elb.gateway_attributes import FIVE_TUPLE, THREE_TUPLE, TWO_TUPLE
from gwlbemu.core.gateway.key import ends_of_key, flow_key, key_of_ends, key_parts, key_protocol
from gwlbemu.wire.build import build_ip
from gwlbemu.wire.ip import decode_ip
from gwlbemu.wire.tcp import build_tcp
from gwlbemu.wire.udp import build_udp
from tests.core.gateway.core_lab import CLIENT, CLIENT6, SERVER, SERVER6

ADDRESSES, PORTS = st.binary(min_size=4, max_size=4), st.integers(0, 65535)


@given(st.sampled_from([build_tcp, build_udp]), ADDRESSES, ADDRESSES, PORTS, PORTS)
def test_both_ways_of_a_packet_lead_to_its_key_and_the_key_to_both(
    build: Callable[..., bytes], source: bytes, destination: bytes, port: int, other_port: int
) -> None:
    there, back = build(source, destination, port, other_port), build(destination, source, other_port, port)
    key, _ = flow_key(decode_ip(there), FIVE_TUPLE)
    assert key_of_ends(there[9], there[12:24]) == key_of_ends(back[9], back[12:24]) == key
    known = ends_of_key(key)
    assert known is not None
    assert (known[0], {*known[1:]}) == (there[9], {there[12:24], back[12:24]})


@pytest.mark.parametrize(
    ("packet", "stickiness"),
    [
        pytest.param(build_udp(CLIENT, SERVER, 1, 2, b""), THREE_TUPLE, id="3-tuple"),
        pytest.param(build_udp(CLIENT, SERVER, 1, 2, b""), TWO_TUPLE, id="2-tuple"),
        pytest.param(build_ip(CLIENT, SERVER, 47, b""), FIVE_TUPLE, id="without ports"),
        pytest.param(build_udp(CLIENT6, SERVER6, 1, 2, b""), FIVE_TUPLE, id="IPv6"),
    ],
)
def test_another_key_has_no_such_ends(packet: bytes, stickiness: str) -> None:
    assert ends_of_key(flow_key(decode_ip(packet), stickiness)[0]) is None


@pytest.mark.parametrize(
    ("stickiness", "protocol"), [(FIVE_TUPLE, 17), (THREE_TUPLE, 17), (TWO_TUPLE, 0)], ids=["5", "3", "2"]
)
@pytest.mark.parametrize("ends", [(CLIENT, SERVER), (CLIENT6, SERVER6)], ids=["IPv4", "IPv6"])
def test_a_key_tells_its_protocol_unless_flows_go_by_addresses_alone(
    ends: tuple[bytes, bytes], stickiness: str, protocol: int
) -> None:
    key, _ = flow_key(decode_ip(build_udp(*ends, 1, 2, b"")), stickiness)
    assert key_protocol(key) == key_parts(key).protocol == protocol
