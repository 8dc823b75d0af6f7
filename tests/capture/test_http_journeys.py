"""Requests joined across an application load balancer: only where what is in the packets leaves no doubt."""

from __future__ import annotations

import pytest

from gwlbemu.capture.dissect import dissect
from gwlbemu.capture.http_journeys import HttpJourneys, Message, message_of
from gwlbemu.capture.journey import Journey, Sighting, follow, journey_lines, sighting
from gwlbemu.capture.packet import CapturedPacket, Interface
from gwlbemu.wire.tcp import ACK, PSH, build_tcp
from tests.capture.capture_helpers import CLIENT, PUBLIC, ethernet

NODE, TARGET = bytes((10, 0, 101, 254)), bytes((10, 0, 1, 10))
ROOT = "1-67ed8000-0123456789abcdef01234567"
MS = 1_000_000


class Wire:
    """Packets as they are captured, in order."""

    def __init__(self) -> None:
        self.frames: list[CapturedPacket] = []
        self._identification = 0

    def send(
        self, at_ms: int, text: str, hops: list[tuple[str, bytes, bytes]], source_port: int, port: int = 80
    ) -> None:
        """Let a packet be seen at each of `hops` (tap, source, destination)."""
        self._identification += 1
        for number, (tap, source, destination) in enumerate(hops):
            packet = build_tcp(
                source, destination, source_port, port, sequence=1, flags=ACK | PSH, ttl=64 - number,
                identification=self._identification, payload=text.encode(),
            )  # fmt: skip
            frame = ethernet(packet, hop=number)
            at = at_ms * MS + number * 1000
            self.frames.append(CapturedPacket(len(self.frames), at, Interface(tap, "", 1), frame, len(frame), ""))

    def request(self, at_ms: int, port: int, target: str = "/", *, root: str = "") -> None:
        """A client's request, as far as the load balancer."""
        trace = f"X-Amzn-Trace-Id: Root={root}\r\n" if root else ""
        head = f"GET {target} HTTP/1.1\r\nHost: web\r\n{trace}\r\n"
        self.send(at_ms, head, [("client/eth0", CLIENT, PUBLIC), ("web-node-a/eni", CLIENT, NODE)], port)

    def forwarded(self, at_ms: int, port: int, target: str = "/", *, root: str = ROOT, **fields: str) -> None:
        """What the load balancer makes of it."""
        told = {"X-Forwarded-For": "198.51.100.10", "X-Forwarded-Proto": "http"}
        told |= {name.replace("_", "-"): value for name, value in fields.items()}
        lines = "".join(f"{name}: {value}\r\n" for name, value in told.items() if value)
        head = f"GET {target} HTTP/1.1\r\nHost: web\r\n{lines}X-Amzn-Trace-Id: Root={root}\r\n\r\n"
        self.send(at_ms, head, [("web-node-a/eni", NODE, TARGET), ("web-a/eth0", NODE, TARGET)], port)

    def answer(self, at_ms: int, port: int) -> None:
        hops = [("web-a/eth0", TARGET, NODE), ("web-node-a/eni", TARGET, NODE)]
        self.send(at_ms, "HTTP/1.1 200 OK\r\n\r\nhello", hops, 80, port)

    def handed_on(self, at_ms: int, port: int) -> None:
        hops = [("web-node-a/eni", NODE, CLIENT), ("client/eth0", PUBLIC, CLIENT)]
        self.send(at_ms, "HTTP/1.1 200 OK\r\nServer: x\r\n\r\nhello", hops, 80, port)

    def joined(self) -> tuple[list[Journey], HttpJourneys]:
        found = HttpJourneys()

        def seen() -> list[Sighting]:
            sightings = []
            for captured in self.frames:
                one = sighting(captured, dissect(captured))
                assert one is not None
                found.see(captured, one)
                sightings.append(one)
            return sightings

        return list(found.joined(follow(seen()))), found


WHOLE = ("client/eth0", "web-node-a/eni", "web-a/eth0")


def test_a_request_and_its_answer_are_one_journey_each() -> None:
    wire = Wire()
    wire.request(0, 40000)
    wire.forwarded(1, 50000)
    wire.answer(2, 50000)
    wire.handed_on(3, 40000)
    (there, back), found = wire.joined()
    assert (there.taps, back.taps) == (WHOLE, WHOLE[::-1])
    assert len(there.sightings) == len(back.sightings) == 4
    lines = journey_lines(there)
    assert any(line.endswith(f"(forwarded as GET /, Root={ROOT})") for line in lines)
    assert any(
        "source 198.51.100.10:40000 -> 10.0.101.254:50000  destination 10.0.101.254 -> 10.0.1.10" in line
        for line in lines
    )
    assert found.remark == ""


def test_the_trace_id_that_a_client_has_sent_decides() -> None:
    """Two clients' ports, one path: without trace ids it could not be told which is which."""
    wire = Wire()
    other = ROOT.replace("f", "0")
    wire.request(0, 40000, root=ROOT)
    wire.request(1, 40001, root=other)
    wire.forwarded(2, 50001, "/rewritten", root=other, X_Forwarded_For="")
    wire.forwarded(3, 50000, root=ROOT)
    (first, second), found = wire.joined()
    assert [len(each.sightings) for each in (first, second)] == [4, 4]
    assert "40000" in first.summary
    assert first.sightings[2].look.ports == (50000, 80)
    assert second.sightings[2].look.ports == (50001, 80)
    assert found.remark == ""


def test_where_two_connections_fit_none_is_chosen() -> None:
    wire = Wire()
    wire.request(0, 40000)
    wire.request(1, 40001)
    wire.forwarded(2, 50000)
    journeys, found = wire.joined()
    assert [len(each.sightings) for each in journeys] == [2, 2, 2]
    assert "1 fit none or several of their clients' packets" in found.remark


def test_the_clients_port_in_x_forwarded_for_decides_between_connections() -> None:
    wire = Wire()
    wire.request(0, 40000)
    wire.request(1, 40001)
    wire.forwarded(2, 50000, X_Forwarded_For="10.9.9.9, 198.51.100.10:40001")
    journeys, _ = wire.joined()
    assert [len(each.sightings) for each in journeys] == [2, 4]


def test_requests_of_one_connection_are_forwarded_in_their_order() -> None:
    wire = Wire()
    for number in range(3):
        wire.request(4 * number, 40000)
        wire.forwarded(4 * number + 1, 50000)
        wire.answer(4 * number + 2, 50000)
        wire.handed_on(4 * number + 3, 40000)
    journeys, found = wire.joined()
    assert [len(each.sightings) for each in journeys] == [4] * 6
    assert found.remark == ""


@pytest.mark.parametrize(
    "fields", [{"X_Forwarded_For": "198.51.100.11"}, {"X_Forwarded_For": ""}, {"target": "/other"}], ids=str
)
def test_what_is_another_clients_or_another_request_is_not_joined(fields: dict[str, str]) -> None:
    wire = Wire()
    wire.request(0, 40000)
    wire.forwarded(1, 50000, **fields)
    journeys, found = wire.joined()
    assert [len(each.sightings) for each in journeys] == [2, 2]
    assert found.unclear == 1


def test_what_went_to_another_address_than_the_nodes_is_not_joined() -> None:
    """As a health check beside the one that goes to the load balancer."""
    wire = Wire()
    other = bytes((10, 0, 1, 11))
    wire.send(0, "GET / HTTP/1.1\r\n\r\n", [("client/eth0", CLIENT, other), ("web-b/eth0", CLIENT, other)], 40000)
    wire.request(1, 40001)
    wire.forwarded(2, 50000)
    journeys, found = wire.joined()
    assert [len(each.sightings) for each in journeys] == [2, 4]
    assert found.remark == ""


def test_a_request_that_came_over_tls_is_said_not_to_be_joined() -> None:
    wire = Wire()
    wire.send(0, "\x16\x03\x01", [("client/eth0", CLIENT, PUBLIC)], 40000, 443)
    wire.forwarded(1, 50000, X_Forwarded_Proto="https")
    journeys, found = wire.joined()
    assert len(journeys) == 2
    assert found.remark.endswith("1 came over TLS, which hides whose they are")


def test_a_request_too_long_ago_is_not_joined_and_order_is_kept() -> None:
    wire = Wire()
    wire.request(0, 40000)
    wire.send(10, "not http", [("client/eth0", CLIENT, PUBLIC)], 41000)
    wire.forwarded(5000, 50000)
    journeys, _ = wire.joined()
    assert [each.sightings[0].at_ns // MS for each in journeys] == [0, 10, 5000]
    assert [len(each.sightings) for each in journeys] == [2, 1, 2]


def test_what_is_between_waits_for_its_turn() -> None:
    wire = Wire()
    wire.request(0, 40000)
    wire.send(10, "not http", [("client/eth0", CLIENT, PUBLIC)], 41000)
    wire.forwarded(20, 50000)
    journeys, _ = wire.joined()
    assert [len(each.sightings) for each in journeys] == [4, 1]


@pytest.mark.parametrize(
    ("payload", "message"),
    [
        (b"GET /a?b HTTP/1.1\r\nHost: x\r\n\r\n", Message("GET", "/a?b")),
        (b"HTTP/1.0 404 Not Found\r\n", Message(status=404)),
        (b"HTTP/1.1 100 Continue\r\n\r\n", None),
        (b"not HTTP/1.1 at all", None),
        (b"", None),
        (
            b"POST / HTTP/1.1\r\nX-Forwarded-For: 1.2.3.4, [2001:db8::1]:77\r\nX-Forwarded-Proto: https\r\n"
            b"X-Amzn-Trace-Id: Self=1-2-3;Root=1-a-b;CalledFrom=x\r\n\r\n",
            Message("POST", "/", "1-a-b", "2001:db8::1", 77, "https"),
        ),
        (b"GET / HTTP/1.1\r\nX-Forwarded-For: 2001:db8::1\r\n\r\n", Message("GET", "/", client="2001:db8::1")),
    ],
)
def test_the_head_of_a_message_is_read(payload: bytes, message: Message | None) -> None:
    assert message_of(payload) == message
