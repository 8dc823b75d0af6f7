"""Whatever arrives, an appliance lives, and every frame is counted once."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.inet6 import IPv6, IPv6ExtHdrFragment

from appliances.action import Action
from appliances.broken.__main__ import Broken
from appliances.broken.modes import MODES
from appliances.firewall import rules as firewall_rules
from appliances.firewall.judge import Decision, Judge
from appliances.firewall.log import line
from appliances.frames import FrameLoop
from appliances.ids import rules as ids_rules
from appliances.ids.__main__ import Ids
from appliances.ids.detect import Detector
from appliances.passthrough import Reflector
from appliances.process import Mover
from appliances.tunnel import Received
from gwlbemu.ports.faults import Faults
from gwlbemu.ports.memory import pair
from gwlbemu.ports.port import Port
from tests.appliances.appliance_helpers import CLIENT, GOLDEN_FRAME, SERVER, tunnelled
from tests.hostile import SHORT_FRAGMENT, Hostile

GOOD = [
    GOLDEN_FRAME,
    tunnelled(IP(src=CLIENT, dst=SERVER) / TCP(sport=40000, dport=80, flags="S")),
    tunnelled(IP(src=CLIENT, dst=SERVER) / TCP(sport=40000, dport=22, flags="S")),
    tunnelled(IP(src=CLIENT, dst=SERVER) / TCP(sport=40000, dport=80, flags="PA") / b"GET /etc/passwd HTTP/1.1"),
    tunnelled(IP(src=CLIENT, dst=SERVER, flags="MF", id=7) / UDP(sport=1, dport=53) / bytes(24)),
    tunnelled(IP(src=CLIENT, dst=SERVER, frag=4, id=7) / bytes(24)),
    tunnelled(IP(src=CLIENT, dst=SERVER) / ICMP(type=8) / b"ping"),
    tunnelled(IP(src=CLIENT, dst=SERVER) / ICMP(type=3, code=3) / IP(src=SERVER, dst=CLIENT) / UDP(sport=53, dport=9)),
    tunnelled(IPv6(src="2001:db8::1", dst="2001:db8::2") / UDP(sport=1000, dport=53) / b"query"),
    tunnelled(
        IPv6(src="2001:db8::1", dst="2001:db8::2")
        / IPv6ExtHdrFragment(offset=0, m=1, id=9)
        / UDP(sport=1000, dport=53)
        / bytes(8)
    ),
]
POLICY = """
default: {default}
rules:
  - {{name: web, action: allow, protocol: tcp, ports: 80}}
  - {{name: no-ssh, action: reject, protocol: tcp, ports: 22}}
"""
RULES = """
alert tcp any any -> any 80 (msg:"passwd"; content:"/etc/passwd"; sid:1;)
drop udp any any -> any 53 (msg:"dns"; content:"query"; sid:2;)
alert ip any any -> any any (msg:"anything"; sid:3;)
"""
Make = Callable[[Port, Faults, Path], Mover]


def never(at: float, call: Callable[[], None]) -> None:
    """A timer that is never due."""


def firewall(default: str) -> Make:
    def make(port: Port, faults: Faults, folder: Path) -> Mover:
        rules = folder / "rules.yaml"
        rules.write_text(POLICY.format(default=default))

        def report(decision: Decision) -> None:
            line(decision, 0.0)

        judge = Judge(firewall_rules.load(rules), midstream_allowed=False, report=report)
        return FrameLoop(port, judge.decide, never, faults=faults, more=judge.counters)

    return make


def ids(port: Port, faults: Faults, folder: Path) -> Mover:
    rules = folder / "ids.rules"
    rules.write_text(RULES)
    detector = Detector(ids_rules.load(rules), ips=True)
    thinks = Ids(detector, lambda text: None, lambda: 0.0)
    return FrameLoop(port, thinks.decide, never, faults=faults, more=detector.counters)


def broken(mode: str) -> Make:
    return lambda port, faults, folder: FrameLoop(port, Broken(mode, 1.0).decide, never, faults=faults)


APPLIANCES: dict[str, Make] = {
    "passthrough": lambda port, faults, folder: Reflector(port, faults),
    "firewall-deny": firewall("deny"),
    "firewall-reject": firewall("reject"),
    "firewall-allow": firewall("allow"),
    "ids": ids,
    **{f"broken-{mode}": broken(mode) for mode in MODES},
}


class Wire:
    """The load balancer's end of a wire to a new appliance of each kind of `makes`."""

    def __init__(self, folder: Path, make: Make) -> None:
        self.faults = Faults()
        self.near, self.far = pair()
        self.mover = make(self.far, self.faults, folder)

    def throw(self, frames: list[bytes]) -> dict[str, int]:
        """Give the appliance all of the frames; return what it has counted."""
        for start in range(0, len(frames), 64):
            self.near.send(frames[start : start + 64])
            self.mover.move(float(start))
            while self.near.recv():
                pass
        return self.mover.status()

    def close(self) -> None:
        self.near.close()
        self.far.close()


@pytest.fixture
def wires(tmp_path: Path) -> Iterator[Callable[[Make], Wire]]:
    made: list[Wire] = []

    def make(appliance: Make) -> Wire:
        made.append(Wire(tmp_path, appliance))
        return made[-1]

    yield make
    for wire in made:
        wire.close()


def accounted(counters: dict[str, int]) -> int:
    return sum(counters.get(name, 0) for name in ("undecodable", "returned", "answered", "discarded", "replaced"))


@pytest.mark.parametrize("name", APPLIANCES)
def test_no_frame_makes_an_appliance_raise_and_each_is_counted_once(wires: Callable[[Make], Wire], name: str) -> None:
    wire, sent = wires(APPLIANCES[name]), 0
    for seed in range(10):
        frames = [*GOOD, SHORT_FRAGMENT, *Hostile(seed, GOOD).frames(300)]
        fitting = [frame for frame in frames if len(frame) <= 9015 and frame[12:14] not in (b"\x81\x00", b"\x88\xa8")]
        sent += len(fitting)
        counters = wire.throw(fitting)
        assert wire.faults.counts == {}, f"seed {seed}"
        assert counters["received"] == sent == accounted(counters)
    assert 0 < counters["undecodable"] < sent


@settings(max_examples=100)
@given(frames=st.lists(st.binary(max_size=120), max_size=20))
def test_bytes_without_sense_are_undecodable(tmp_path_factory: pytest.TempPathFactory, frames: list[bytes]) -> None:
    for name in ("passthrough", "firewall-deny", "ids"):
        wire = Wire(tmp_path_factory.getbasetemp(), APPLIANCES[name])
        try:
            counters = wire.throw(frames)
            assert wire.faults.counts == {}
            assert counters.get("received", 0) == accounted(counters)
        finally:
            wire.close()


def test_a_later_fragment_shorter_than_its_own_heads_ends_nothing(wires: Callable[[Make], Wire]) -> None:
    counters = wires(APPLIANCES["passthrough"]).throw([SHORT_FRAGMENT, GOLDEN_FRAME])
    assert (counters["received"], counters["returned"], counters["undecodable"]) == (2, 1, 1)


def test_a_frame_that_makes_the_judge_raise_is_counted_and_logged_once(
    wires: Callable[[Make], Wire], caplog: pytest.LogCaptureFixture
) -> None:
    def decide(received: Received, *, now: float) -> Action:
        raise OverflowError("can't convert negative int to unsigned")

    wire = wires(lambda port, faults, folder: FrameLoop(port, decide, never, faults=faults))
    with caplog.at_level(logging.ERROR):
        counters = wire.throw([GOLDEN_FRAME] * 3)
    assert (counters["received"], counters["undecodable"]) == (3, 3)
    assert wire.faults.total == 3
    assert len(caplog.records) == 1
