from __future__ import annotations

from collections.abc import Iterator

import pytest

from gwlbemu.capture.dissect import dissect
from gwlbemu.capture.journey import Sighting, TapFrame, follow, journey_lines, journeys, sighting
from gwlbemu.capture.packet import CapturedPacket, Interface
from gwlbemu.wire import icmp
from gwlbemu.wire.tcp import build_tcp
from gwlbemu.wire.udp import build_udp
from tests.capture.capture_helpers import CLIENT, NODE, PUBLIC, SERVER, TARGET, ethernet, syn, tunnelled


def path(identification: int = 7, start: int = 0) -> list[TapFrame]:
    """A SYN from the client through the internet gateway, a firewall and to the server, three milliseconds long."""
    out = syn(CLIENT, PUBLIC, identification=identification)
    inside = syn(CLIENT, SERVER, ttl=63, identification=identification)
    late = syn(CLIENT, SERVER, ttl=61, identification=identification)
    taps = [
        ("client/eth0", "out", out, 1),
        ("igw/fabric", "out", inside, 2),
        ("vpce-fw-a", "in", inside, 3),
        ("fw-a1/eth0", "in", tunnelled(syn(ttl=62, identification=identification)), 4),
        ("fw-a1/eth0", "out", tunnelled(syn(ttl=62, identification=identification), TARGET, NODE), 5),
        ("vpce-fw-a", "out", late, 6),
        ("web-a/eth0", "in", late, 7),
    ]
    return [
        TapFrame(tap, start + 500_000 * n, ethernet(packet, hop=hop), "in" if direction == "in" else "out")
        for n, (tap, direction, packet, hop) in enumerate(taps)
    ]


TAPS = ("client/eth0", "igw/fabric", "vpce-fw-a", "fw-a1/eth0", "vpce-fw-a", "web-a/eth0")


def test_one_packet_is_followed_through_translation_and_tunnel() -> None:
    (journey,) = journeys(path())
    assert journey.taps == TAPS
    assert len(journey.sightings) == 7


def test_records_in_any_order_are_put_in_the_order_of_time() -> None:
    assert journeys(reversed(path())) == journeys(path())


def test_packets_that_cross_together_are_told_apart() -> None:
    found = journeys(path(7) + path(8, start=100) + path(9, start=200))
    assert [journey.identity.identification for journey in found] == [7, 8, 9]
    assert [journey.taps for journey in found] == [TAPS] * 3


def test_an_identical_packet_sent_again_is_another_journey() -> None:
    found = journeys(path(0)[:3] + path(0, start=10_000_000))
    assert [journey.taps for journey in found] == [TAPS[:3], TAPS]


def test_sightings_too_far_apart_are_not_one_packet() -> None:
    records = path()
    late = records[-1]._replace(at_ns=5_000_000_000)
    assert [len(journey.sightings) for journey in journeys([*records[:-1], late])] == [6, 1]


@pytest.mark.parametrize(
    ("what", "other"),
    [
        ("ports", build_tcp(CLIENT, SERVER, 40001, 80, sequence=1000, identification=7)),
        ("sequence", build_tcp(CLIENT, SERVER, 40000, 80, sequence=1001, identification=7)),
        ("payload", build_tcp(CLIENT, SERVER, 40000, 80, sequence=1000, identification=7, payload=b"x")),
        ("protocol", build_udp(CLIENT, SERVER, 40000, 80, bytes(12), identification=7)),
    ],
)
def test_packets_that_differ_in_what_stays_are_different(what: str, other: bytes) -> None:
    records = [TapFrame("a", 0, ethernet(syn())), TapFrame("b", 1, ethernet(other))]
    assert [journey.taps for journey in journeys(records)] == [("a",), ("b",)]


VIP, NODE_ENI, WEB = bytes((203, 0, 113, 1)), bytes((10, 0, 1, 5)), bytes((10, 0, 11, 12))


def through_a_node(*ends: tuple[bytes, int, bytes, int], identification: int, udp: bool = False) -> list[TapFrame]:
    """A packet with these ends at one tap after the other."""
    return [
        TapFrame(
            f"tap{number}",
            number,
            ethernet(
                build_udp(*ends[number][::2], *ends[number][1::2], b"x", identification=identification)
                if udp
                else build_tcp(
                    *ends[number][::2], *ends[number][1::2], sequence=1000, identification=identification, payload=b"x"
                )
            ),
        )
        for number in range(len(ends))
    ]


@pytest.mark.parametrize("udp", [False, True])
def test_a_packet_whose_ends_a_load_balancer_changes_is_one(udp: bool) -> None:
    ends = [(CLIENT, 40000, VIP, 80), (CLIENT, 40000, NODE_ENI, 80), (NODE_ENI, 9999, WEB, 8080)]
    (journey,) = journeys(through_a_node(*ends, identification=7, udp=udp))
    assert journey.taps == ("tap0", "tap1", "tap2")
    assert "destination 203.0.113.1 -> 10.0.1.5" in journey_lines(journey)[2]
    changed = "source 198.51.100.10:40000 -> 10.0.1.5:9999  destination 10.0.1.5:80 -> 10.0.11.12:8080"
    assert changed in journey_lines(journey)[3]


def test_udp_of_which_only_the_bytes_are_the_same_is_not_joined_over_ports() -> None:
    ends = [(CLIENT, 40000, VIP, 80), (CLIENT, 40000, WEB, 8080)]
    assert len(journeys(through_a_node(*ends, identification=0, udp=True))) == 2
    assert len(journeys(through_a_node(*ends, identification=0))) == 1  # TCP's sequence numbers tell


def test_a_translated_icmp_error_is_one_packet() -> None:
    errors = [icmp.build_icmp_error(syn(CLIENT, address), 3, 13, address) for address in (SERVER, PUBLIC)]
    records = [TapFrame(f"tap{n}", n, ethernet(error)) for n, error in enumerate(errors) if error]
    assert [journey.taps for journey in journeys(records)] == [("tap0", "tap1")]


def test_udp_over_ipv6_without_an_ip_id_is_followed() -> None:
    a, b = bytes.fromhex("fd00") + bytes(14), bytes.fromhex("fd01") + bytes(14)
    packet = build_udp(a, b, 1, 2, b"x")
    records = [TapFrame("a", 0, ethernet(packet)), TapFrame("b", 1, ethernet(tunnelled(packet)))]
    assert [journey.taps for journey in journeys(records)] == [("a", "b")]


def test_the_padding_of_a_short_frame_does_not_make_another_packet() -> None:
    packet = build_udp(CLIENT, SERVER, 1, 2, b"x")
    records = [TapFrame("a", 0, ethernet(packet)), TapFrame("b", 1, ethernet(packet) + bytes(17))]
    assert [journey.taps for journey in journeys(records)] == [("a", "b")]


def test_what_is_not_ip_has_no_journey() -> None:
    assert journeys([TapFrame("a", 0, b"x"), TapFrame("a", 1, bytes(12) + b"\x08\x06" + bytes(28))]) == []


def test_a_journey_is_told_with_times_taps_tunnels_and_changes() -> None:
    (journey,) = journeys(path())
    assert journey_lines(journey) == [
        "tcp 198.51.100.10:40000 > 203.0.113.10:80 [S] seq 1000 len 0 ttl 64",
        "    +0.000 ms  client/eth0  out",
        "    +0.500 ms  igw/fabric   out  destination 203.0.113.10 -> 10.0.1.10  ttl 64 -> 63",
        "    +1.000 ms  vpce-fw-a    in",
        "    +1.500 ms  fw-a1/eth0   in   geneve vpce-02356de92d389839c cookie 0x98ef1b00  ttl 63 -> 62",
        "    +2.000 ms  fw-a1/eth0   out  geneve vpce-02356de92d389839c cookie 0x98ef1b00",
        "    +2.500 ms  vpce-fw-a    out  ttl 62 -> 61",
        "    +3.000 ms  web-a/eth0   in",
    ]


def test_a_syn_whose_mss_a_transit_gateway_has_lowered_is_the_same_packet() -> None:
    def offering(mss: int) -> bytes:
        options = b"\x01\x01\x02\x04" + mss.to_bytes(2, "big") + b"\x01\x01"
        return ethernet(build_tcp(CLIENT, SERVER, 40000, 80, sequence=1, flags=2, identification=7, options=options))

    (journey,) = journeys([TapFrame("tgw/left-a", 1, offering(8961)), TapFrame("tgw/hub-a", 2, offering(8460))])
    assert journey.taps == ("tgw/left-a", "tgw/hub-a")
    other = build_tcp(CLIENT, SERVER, 40000, 80, sequence=2, flags=2, identification=7, options=b"\x02\x04\x21\x0c")
    assert len(journeys([TapFrame("tgw/left-a", 1, offering(8460)), TapFrame("tgw/hub-a", 2, ethernet(other))])) == 2


def seen(packet: bytes, tap: str, at_ns: int, *, keep: int | None = None, comments: tuple[str, ...] = ()) -> Sighting:
    frame = ethernet(packet)
    captured = CapturedPacket(1, at_ns, Interface(tap, "", 1), frame[:keep], len(frame), "", comments)
    found = sighting(captured, dissect(captured))
    assert found
    return found


def test_the_reason_for_which_a_node_dropped_a_packet_is_told() -> None:
    comments = ("tcp a > b", "dropped at vpce-fw-a: MidstreamTcp")
    (journey,) = follow([seen(syn(), "client/eth0", 0), seen(syn(), "firewall-a", 1_000_000, comments=comments)])
    assert journey_lines(journey)[1:] == [
        "    +0.000 ms  client/eth0",
        "    +1.000 ms  firewall-a        dropped at vpce-fw-a: MidstreamTcp",
    ]


def test_what_is_wrong_with_a_packet_is_told_where_it_was_seen() -> None:
    bad = bytearray(syn())
    bad[36] ^= 1
    (journey,) = follow([seen(bytes(syn()), "a", 0), seen(bytes(bad), "b", 1)])
    first, second = journey_lines(journey)[1:]
    assert "checksum" not in first
    assert "(TCP checksum 0x" in second


def test_a_capture_that_kept_only_the_beginning_of_packets_still_joins_them() -> None:
    packet = build_tcp(CLIENT, SERVER, 1, 2, payload=bytes(range(200)), identification=7)
    kept = [seen(packet, "a", 0, keep=200), seen(tunnelled(packet), "b", 1, keep=200), seen(packet, "c", 2)]
    assert [journey.taps for journey in follow(kept)] == [("a", "b", "c")]


def test_journeys_are_told_while_packets_still_come() -> None:
    taken = []

    def packets() -> Iterator[Sighting]:
        for number in range(30_000):
            taken.append(number)
            yield seen(build_udp(CLIENT, SERVER, 1, 2, number.to_bytes(4, "big")), "a", number * 1_000_000)

    first = next(follow(packets()))
    assert first.sightings[0].at_ns == 0
    assert len(taken) < 20_000
    assert sum(len(journey.sightings) for journey in follow(packets())) == 30_000


def test_the_oldest_journey_ends_when_too_many_are_open() -> None:
    sightings = [seen(build_udp(CLIENT, SERVER, 1, 2, n.to_bytes(4, "big")), "a", n) for n in range(100)]
    again = [each._replace(tap="b", at_ns=1000 + n) for n, each in enumerate(sightings)]
    assert len(list(follow([*sightings, *again]))) == 100
    assert len(list(follow([*sightings, *again], most_open=50))) > 100
