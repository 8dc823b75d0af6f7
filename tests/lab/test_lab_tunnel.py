"""What a load balancer node puts in front of an inner packet, read by tcpdump, tshark and scapy at the appliance."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from scapy.layers.inet import IP, UDP

from gwlbemu import Lab
from tests.lab.oracles import Sniffed, flow_key, sniffed, tshark
from tests.lab.worlds import world

pytestmark = pytest.mark.namespace

NODE, APPLIANCE = "10.254.1.254", "10.254.1.11"


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with Lab(world(ipv6=True), capture=False) as lab:
        yield lab


@pytest.fixture(scope="module")
def seen(lab: Lab) -> Sniffed:
    """The tunnel frames of TCP connections, a ping and IPv6, as the appliance's interface had them."""
    with sniffed(lab, "fw") as seen:
        for _ in range(12):
            assert lab.exec("client", ["curl", "-s", "-m", "30", "http://203.0.113.10/"]).code == 0
        assert lab.exec("client", ["curl", "-s", "-m", "30", "http://[2001:db8:1:1::10]/"]).code == 0
        assert lab.exec("client", ["ping", "-c", "1", "-W", "30", "203.0.113.10"]).code == 0
    return seen


def sent(seen: Sniffed) -> list[bytes]:
    """The frames from the node, without what the appliance returned."""
    return [frame for frame in seen.frames if frame[26:30] == bytes(map(int, NODE.split(".")))]


@pytest.mark.contract("GV-01")
def test_68_bytes_of_ipv4_udp_and_geneve_stand_in_front_of_inner_ipv4_and_ipv6_alike(seen: Sniffed) -> None:
    rows = tshark(sent(seen), "frame.len", "ip.len", "ipv6.plen", "frame.protocols")
    kinds = set()
    for frame_length, lengths, six_length, protocols in rows:
        outer, *inner = map(int, lengths.split(","))
        kinds.add(protocols.split(":geneve:")[1].split(":")[0])
        assert protocols.startswith("eth:ethertype:ip:udp:geneve:")
        assert int(frame_length) == 14 + outer
        assert outer - 68 == (inner[0] if inner else int(six_length) + 40)
    assert kinds == {"ip", "ipv6"}


@pytest.mark.contract("GV-02")
def test_the_outer_ipv4_header_has_tos_0_id_0_no_df_ttl_255_and_leads_from_node_to_target(seen: Sniffed) -> None:
    fields = ("ip.dsfield", "ip.id", "ip.flags.df", "ip.ttl", "ip.src", "ip.dst", "ip.hdr_len", "ip.checksum.status")
    for row in tshark(sent(seen), *fields):
        tos, identification, df, ttl, source, destination, length, checksum = (value.split(",")[0] for value in row)
        assert (int(tos, 16), int(identification, 16), df in ("0", "False")) == (0, 0, True)
        assert (ttl, source, destination, length, checksum) == ("255", NODE, APPLIANCE, "20", "1")


@pytest.mark.contract("GV-03")
def test_udp_6081_has_a_right_checksum_and_one_source_port_per_flow_and_both_directions(seen: Sniffed) -> None:
    rows = tshark(sent(seen), "udp.dstport", "udp.checksum", "udp.checksum.status")
    assert {row[0] for row in rows} == {"6081"}
    assert all(row[1] != "0x0000" and row[2] == "1" for row in rows)
    ports: dict[object, set[int]] = {}
    for each in seen.tunnelled():
        if each.outer.src == NODE:
            ports.setdefault(flow_key(each.inner), set()).add(each.outer[UDP].sport)
    assert len(ports) == 14
    assert all(len(found) == 1 for found in ports.values())


@pytest.mark.contract("GV-04")
def test_by_default_the_source_port_is_60000_or_60001(seen: Sniffed) -> None:
    assert {each.outer[UDP].sport for each in seen.tunnelled() if each.outer.src == NODE} == {60000, 60001}


@pytest.mark.contract("GV-05", "GV-06", "GV-07", "GV-21")
def test_the_geneve_header_is_byte_for_byte_what_captures_of_aws_show(lab: Lab, seen: Sniffed) -> None:
    endpoint_id = lab.plan.endpoints[0].endpoint_id
    assert endpoint_id.startswith("vpce-0")
    for each in seen.tunnelled():
        protocol = "86dd" if each.inner.version == 6 else "0800"
        assert each.header.hex() == (
            f"0800{protocol}00000000"
            + "01080102"
            + endpoint_id[6:]
            + "01080202"
            + 16 * "0"
            + "01080301"
            + each.cookie.hex()
        )


@pytest.mark.contract("GV-05", "GV-06")
def test_tshark_reads_the_same_header_and_finds_nothing_to_complain_about(seen: Sniffed) -> None:
    base = ("geneve.version", "geneve.flags", "geneve.vni", "geneve.proto_type")
    fields = (*base, "geneve.option.class", "geneve.option.type", "geneve.option.length", "_ws.malformed")
    for version, flags, vni, protocol, classes, types, lengths, malformed in tshark(seen.frames, *fields):
        assert (version, int(flags, 16), int(vni, 16)) == ("0", 0, 0)
        assert protocol in ("0x0800", "0x86dd")
        assert (classes, types) == ("0x0108,0x0108,0x0108", "0x01,0x02,0x03")
        assert (lengths.removeprefix("32,"), malformed) == ("12,12,8", "")  # 32: of all options together


@pytest.mark.contract("GV-08")
def test_both_directions_of_a_flow_carry_one_cookie_and_40_identical_bytes(seen: Sniffed) -> None:
    headers: dict[object, dict[str, set[bytes]]] = {}
    for each in seen.tunnelled():
        headers.setdefault(flow_key(each.inner), {}).setdefault(each.inner.src, set()).add(each.header)
    assert len(headers) == 14
    for directions in headers.values():
        one, other = directions.values()
        assert len(one) == 1
        assert one == other
    assert len({next(iter(next(iter(flow.values())))) for flow in headers.values()}) == 14


def test_the_inner_packet_at_the_appliance_is_the_clients_but_for_ttl(lab: Lab) -> None:
    packet = IP(dst="203.0.113.10", tos=0x48, ttl=60, id=4711) / UDP(sport=4000, dport=4001) / b"as it was"
    with sniffed(lab, "fw") as seen, sniffed(lab, "server-a", matching="udp port 4001") as at_server:
        lab.inject(packet)
    inner = seen.tunnelled()[0].inner
    assert (inner.tos, inner.id, inner[UDP].sport, bytes(inner[UDP].payload)) == (0x48, 4711, 4000, b"as it was")
    (frame,) = at_server.frames
    assert IP(frame[14:]).tos == 0x48
