"""The way through a network load balancer: who sees which address, how answers find back, with nothing in targets."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager

import pytest
from scapy.layers.inet import IP, TCP, UDP
from scapy.layers.l2 import Ether
from scapy.packet import Packet

from gwlbemu import Lab
from gwlbemu.lab.shortcuts import installed
from gwlbemu.net.inside import inside
from gwlbemu.net.namespaces import path_of
from gwlbemu.topology import names
from gwlbemu.views.port_drops import read_port_drops
from tests.lab.fronts import (
    ADDRESSES,
    BOTH,
    ECHO,
    NOBODY,
    ONLY_A,
    ONLY_B,
    PRIVATE,
    PUBLIC,
    ask,
    connect,
    echoing,
    front,
    say,
    serving,
)
from tests.lab.oracles import sniffed
from tests.lab.talkers import idle
from tests.waiting import PATIENCE, wait_until

pytestmark = pytest.mark.namespace
SILENCE, REFUSED = 28, 7  # curl's exit codes


@contextmanager
def balanced(text: str) -> Iterator[Lab]:
    with Lab(text, wait=PATIENCE) as lab:
        yield lab


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with balanced(front()) as lab:
        yield lab


@pytest.mark.contract("NL-01", "NL-03")
@pytest.mark.parametrize("zone", ["a", "b"])
@pytest.mark.parametrize(("port", "target"), [(ONLY_A, "web-a"), (ONLY_B, "web-b")])
def test_each_zone_has_its_address_and_a_target_sees_the_clients_own(
    lab: Lab, zone: str, port: int, target: str
) -> None:
    for client, addresses in (("client", PUBLIC), ("near", PRIVATE)):
        answer = ask(lab, client, addresses[zone], port)
        assert isinstance(answer, dict), answer
        assert (answer["name"], answer["peer_address"]) == (target, ADDRESSES[client])


@pytest.mark.contract("NL-03")
def test_answers_go_back_through_the_node_that_the_client_asked(lab: Lab) -> None:
    with (
        sniffed(lab, "front-node-a", device="fabric", matching=f"src {ADDRESSES['web-b']}") as there,
        sniffed(lab, "front-node-b", device="fabric", matching="ip") as elsewhere,
    ):
        assert isinstance(ask(lab, "client", PUBLIC["a"], ONLY_B), dict)
    assert {IP(frame[14:]).dst for frame in there.frames} == {ADDRESSES["client"]}
    assert elsewhere.frames == []


@pytest.mark.contract("NL-03")
def test_datagrams_keep_the_clients_address_and_answers_come_from_where_it_asked(lab: Lab) -> None:
    with echoing(lab):
        for client, addresses in (("client", PUBLIC), ("near", PRIVATE)):
            said = say(lab, client, *addresses.values())
            assert said == [[address, address, ADDRESSES[client], "10"] for address in addresses.values()]


def test_a_client_may_ask_a_target_itself_from_the_port_from_which_it_asked_the_load_balancer(lab: Lab) -> None:
    itself, places = ADDRESSES["web-a"], [f"{PRIVATE['a']}:{ONLY_A}", f"{PRIVATE['b']}:{ONLY_A}"]
    turns = [places[0], f"{itself}:80", places[1], f"{itself}:80", places[0]]
    assert connect(lab, "near", 40_000, *turns) == [f"peer: {ADDRESSES['near']} port 40000"] * len(turns)
    with echoing(lab):
        turns = [PRIVATE["a"], itself, PRIVATE["b"], itself, PRIVATE["a"]]
        assert [each[1] for each in say(lab, "near", *turns, source_port=40_000)] == turns


def _kept(lab: Lab, source_port: int) -> list[int]:
    """For how many seconds the ports of targets will still know each connection from a client's port."""
    words, found = ["nft", "-j", "list", "map", "netdev", "returns", "tcp_flows"], []
    for subnet in ("app-a", "app-b"):
        with inside(path_of(names.namespace(lab.name, subnet))):
            told = json.loads(subprocess.run(words, check=True, capture_output=True, text=True).stdout)
        found += [element["elem"] for each in told["nftables"] for element, _ in each.get("map", {}).get("elem", [])]
    return [each["expires"] for each in found if each["val"]["concat"][2] == source_port]


def test_a_port_knows_a_connection_for_longer_than_it_may_be_idle_and_not_long_after_both_ends_have_ended_it(
    lab: Lab,
) -> None:
    assert connect(lab, "near", 41_000, f"{PRIVATE['a']}:{ONLY_B}") == [f"peer: {ADDRESSES['near']} port 41000"]
    wait_until(lambda: [each <= 60 for each in _kept(lab, 41_000)] == [True], lambda: str(_kept(lab, 41_000)))
    with idle(lab, PUBLIC["a"]) as source_port:
        wait_until(lambda: [each > 6000 for each in _kept(lab, source_port)] == [True])


def test_datagrams_in_fragments_go_both_ways(lab: Lab) -> None:
    with echoing(lab):
        address = PRIVATE["a"]
        assert say(lab, "near", address, length=30_000) == [[address, address, ADDRESSES["near"], "30000"]]


@pytest.mark.contract("NL-17")
def test_a_target_that_is_its_own_client_waits_in_vain_and_is_served_by_the_other_one(lab: Lab) -> None:
    other = ask(lab, "web-a", PRIVATE["a"], ONLY_B)
    assert isinstance(other, dict)
    assert (other["name"], other["peer_address"]) == ("web-b", ADDRESSES["web-a"])
    assert ask(lab, "web-a", PRIVATE["a"], ONLY_A, seconds=1) == SILENCE
    assert ask(lab, "web-a", PRIVATE["b"], ONLY_A, seconds=1) == SILENCE


def test_that_nobody_listens_at_a_target_is_told_by_the_address_that_was_asked(lab: Lab) -> None:
    with sniffed(lab, "client", matching=f"-Q in tcp src port {NOBODY}") as heard:
        assert ask(lab, "client", PUBLIC["b"], NOBODY) == REFUSED
    assert {(IP(frame[14:]).src, str(IP(frame[14:])[TCP].flags)) for frame in heard.frames} == {(PUBLIC["b"], "RA")}


@pytest.mark.contract("NL-03")
def test_a_target_sees_the_nodes_address_where_the_clients_is_not_kept_and_may_be_its_own_client() -> None:
    groups = {"only-a": {"preserve_client_ip.enabled": False}}
    with (
        balanced(front(lab="translated", groups=groups)) as lab,
        sniffed(lab, "front-node-b", device="fabric", matching="ip") as fabric,
    ):
        for client, address in (("client", PUBLIC["b"]), ("near", PRIVATE["b"]), ("web-a", PRIVATE["b"])):
            answer = ask(lab, client, address, ONLY_A)
            assert isinstance(answer, dict), answer
            assert (answer["name"], answer["peer_address"]) == ("web-a", PRIVATE["b"])
    assert fabric.frames == []


@pytest.mark.contract("NL-03")
def test_an_instance_that_is_registered_later_answers_by_the_node_without_a_change_of_the_machine() -> None:
    with balanced(front(lab="later")) as lab, serving(lab, "near"):
        lab.register("only-b", "near")
        lab.deregister("only-b", "web-b")
        lab.wait_for_state("near", "healthy", timeout=PATIENCE)
        answer = ask(lab, "client", PUBLIC["a"], ONLY_B)
        assert isinstance(answer, dict), answer
        assert (answer["name"], answer["peer_address"]) == ("near", ADDRESSES["client"])


# -- shortcuts


_SEND = """
import socket, sys
with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as sock:
    sock.bind(("eth0", 0))
    for line in sys.stdin:
        sock.send(bytes.fromhex(line))
"""
_TAPS = [("client", "eth0"), ("near", "eth0"), ("web-a", "eth0"), ("front-node-a", "eni"), ("front-node-a", "fabric")]


def _without_id(frame: bytes) -> bytes:
    """A frame without the identification of its IPv4 header, which hosts choose at random, and without the checksum."""
    return frame[:18] + frame[20:24] + frame[26:]


def _at_every_tap(lab: Lab, frames: Sequence[tuple[str, Packet]]) -> dict[tuple[str, str], list[bytes]]:
    """All frames that cross each tap when the frames are sent, each by its instance."""
    with ExitStack() as taps:
        matching = f"udp port {ECHO} or tcp port {NOBODY} or tcp port 9"
        seen = {tap: taps.enter_context(sniffed(lab, tap[0], device=tap[1], matching=matching)) for tap in _TAPS}
        for who, frame in frames:
            lab.exec(who, [sys.executable, "-c", _SEND], stdin=bytes(frame).hex())
    return {tap: sorted(map(_without_id, one.frames)) for tap, one in seen.items()}


def test_with_shortcuts_and_without_the_same_frames_cross_every_tap() -> None:
    """A port where nobody listens answers with a reset: the same each time, as an echo is."""
    ways = [
        ("client", names.mac("internet", "internet"), PUBLIC["a"]),
        ("near", names.mac("app-a", "subnet"), PRIVATE["a"]),
    ]
    uppers = [
        UDP(sport=1000, dport=ECHO) / b"hello",
        TCP(sport=1000, dport=NOBODY, flags="S", seq=1),
        UDP(sport=1000, dport=ECHO) / bytes(1400),
    ]
    frames = [
        (who, Ether(src=names.mac(who, "eth0"), dst=router) / IP(src=ADDRESSES[who], dst=address) / upper)
        for who, router, address in ways
        for upper in uppers
    ]
    seen = []
    for shortcuts in (True, False):
        with balanced(front(lab="cut" if shortcuts else "walk", shortcuts=shortcuts)) as lab, echoing(lab):
            assert bool(installed(lab.running.state).namespaces) == shortcuts
            seen.append(_at_every_tap(lab, frames))
    assert seen[0] == seen[1]
    # Three there and three back for each client; target and node see both clients'.
    counts = {tap: len(found) for tap, found in seen[0].items()}
    assert counts == dict(zip(_TAPS, (6, 6, 12, 12, 12), strict=True))


# -- security groups


@pytest.mark.contract("NL-11")
def test_a_load_balancers_group_is_asked_about_clients_and_is_a_source_for_its_targets() -> None:
    groups = (
        {"name": "lb", "ingress": [{"protocol": "tcp", "ports": ONLY_A, "source": "198.51.100.0/24"}]},
        {"name": "web", "ingress": [{"protocol": "tcp", "ports": 80, "source": "lb"}]},
    )
    members = {"front": ["lb"], "web-a": ["web"]}
    with balanced(front(lab="grouped", security_groups=groups, members=members)) as lab:
        answer = ask(lab, "client", PUBLIC["a"], ONLY_A)
        assert isinstance(answer, dict), answer
        assert answer["peer_address"] == ADDRESSES["client"]
        assert ask(lab, "client", PUBLIC["a"], BOTH, seconds=1) == SILENCE
        assert ask(lab, "near", PRIVATE["a"], ONLY_A, seconds=1) == SILENCE
        assert ask(lab, "client", "203.0.113.10", 80, seconds=1) == SILENCE  # web-a itself
        drops = {(each.instance, each.reason) for each in read_port_drops(lab.running)}
        assert {("front-node-a", "group"), ("web-a", "group")} <= drops
        lab.inject(icmp=True, source="client", destination=PUBLIC["a"])
        lab.inject(udp=ECHO, source="client", destination=PUBLIC["b"])
        blocked = {
            (each.node, name.removeprefix("SecurityGroupBlockedFlowCount_")): count
            for each in lab.metrics()
            for name, count in each.values.items()
            if name.startswith("SecurityGroupBlockedFlowCount_") and count
        }
        assert blocked.pop(("front-node-a", "Inbound_TCP")) >= 2  # a SYN that is sent again is counted again
        assert blocked == {("front-node-a", "Inbound_ICMP"): 1, ("front-node-b", "Inbound_UDP"): 1}
