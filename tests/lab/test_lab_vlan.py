"""A frame with a VLAN tag never leaves the port of whoever sends it, and is counted there; shortcuts change nothing."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from functools import partial

import pytest
from scapy.layers.inet import IP, UDP
from scapy.layers.l2 import Dot1AD, Dot1Q, Ether

from gwlbemu import Lab
from gwlbemu.topology import names
from tests.lab.oracles import sniffed
from tests.paths import TOPOLOGIES
from tests.waiting import wait_until

pytestmark = pytest.mark.namespace
SEND = """
import socket, sys
with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as sock:
    sock.bind(("eth0", 0))
    for line in sys.stdin:
        sock.send(bytes.fromhex(line))
"""
TAGS = {"802.1Q": Dot1Q(vlan=5), "priority": Dot1Q(vlan=0, prio=5), "QinQ": Dot1AD(vlan=7) / Dot1Q(vlan=5)}
CLIENT, WEB = "198.51.100.10", "203.0.113.10"


@pytest.fixture(params=["true", "false"], ids=["shortcuts", "no shortcuts"])
def lab(request: pytest.FixtureRequest) -> Iterator[Lab]:
    if request.param == "true":
        request.getfixturevalue("fast_path")
    text = (TOPOLOGIES / "minimal.yaml").read_text()
    with Lab(f"shortcuts: {request.param}\ncapture: {{enabled: false}}\n" + text) as lab:
        yield lab


def dropped(lab: Lab, sender: str) -> int:
    """Frames of `sender` that were dropped at its port for what they are: tagged ones, and the kernel's own chatter."""
    mine = [each for each in lab.status().port_drops if (each.instance, each.direction) == (sender, "sent")]
    return sum(each.packets for each in mine if each.reason == "frame")


def has_dropped(lab: Lab, sender: str, at_least: int) -> bool:
    return dropped(lab, sender) >= at_least


def test_a_tagged_frame_ends_at_the_port_of_who_sends_it(lab: Lab) -> None:
    ways = [
        ("client", names.mac("internet", "internet"), IP(src=CLIENT, dst=WEB)),
        ("web", names.mac("servers", "subnet"), IP(src="10.0.1.10", dst=CLIENT)),
        ("fw", names.mac("appliances", "subnet"), IP(src="10.254.1.11", dst="10.254.1.4")),
    ]
    for sender, mac, ip in ways:
        ethernet = Ether(src=names.mac(sender, "eth0"), dst=mac)
        frames = [ethernet / tag / ip / UDP(sport=1000, dport=6081 if sender == "fw" else 53) for tag in TAGS.values()]
        lines = "\n".join(bytes(each).hex() for each in frames)
        before = dropped(lab, sender)
        assert lab.exec(sender, [sys.executable, "-c", SEND], stdin=lines).code == 0
        after = before + len(TAGS)
        wait_until(partial(has_dropped, lab, sender, after), f"the tagged frames of {sender} to be counted")
    (node,) = lab.status().nodes
    assert [port.tagged for port in node.ports] == [0, 0]
    assert node.faults == {}


def test_what_has_no_tag_is_untouched(lab: Lab) -> None:
    with sniffed(lab, "web", matching="udp port 53") as seen:
        lines = bytes(
            Ether(src=names.mac("client", "eth0"), dst=names.mac("internet", "internet"))
            / IP(src=CLIENT, dst=WEB)
            / UDP(sport=1000, dport=53)
        ).hex()
        assert lab.exec("client", [sys.executable, "-c", SEND], stdin=lines).code == 0
    assert len(seen.frames) == 1
