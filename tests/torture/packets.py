"""Hostile frames: at nodes and appliances in memory, and from instances of labs on both datapaths."""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from scapy.contrib.geneve import GENEVE
from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import Ether
from scapy.packet import Packet

from appliances.broken.modes import MODES
from gwlbemu import Lab
from gwlbemu.errors import GwlbemuError
from gwlbemu.ports.port import Port
from gwlbemu.topology import names
from tests.appliances.appliance_helpers import options
from tests.appliances.test_hostile import APPLIANCES, GOOD, Wire, accounted
from tests.hostile import SHORT_FRAGMENT, Hostile
from tests.paths import ROOT
from tests.programs.gateway.gateway_node import MemoryNode, node_and_verbs
from tests.programs.gateway.test_hostile import GOOD as FOR_NODES
from tests.programs.gateway.test_hostile import returned, throw
from tests.torture.tally import Tally
from tests.torture.worlds import APPLIANCES as KINDS
from tests.torture.worlds import GOOD_PROGRAMS, PUBLIC, SERVER_6, datapaths, flat, settle, then, topology

BATCH = 500  # frames of a round for each process in memory
POOL, TIMES = 1500, 16  # frames of a round in a lab, and how often each is sent
SENDER = f"""
import json, socket, sys
sys.path.insert(0, {str(ROOT)!r})
from tests.hostile import Hostile
told = json.load(sys.stdin)
frames = Hostile(told["seed"], [bytes.fromhex(each) for each in told["good"]]).frames(told["pool"])
sent = refused = 0
with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as sock:
    sock.bind(("eth0", 0))
    for _ in range(told["times"]):
        for frame in frames:
            try:
                sock.send(frame)
                sent += 1
            except OSError:
                refused += 1
print(json.dumps([sent, refused]))
"""


@contextmanager
def frames(tally: Tally) -> Iterator[Callable[[int], None]]:
    """Give a round of hostile frames for a node and every appliance, in memory."""
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        wires = {name: Wire(Path(folder), make) for name, make in APPLIANCES.items()}
        for wire in wires.values():
            stack.callback(wire.close)
        sent = dict.fromkeys(wires, 0)
        node, _ = stack.enter_context(node_and_verbs(Path(folder)))
        node.packets.judge = node.balancer
        (endpoint,) = node.packets.endpoints.values()
        far_endpoint, far_eni = _far(endpoint.port), _far(node.packets.eni.port)
        throw(node, endpoint.port, FOR_NODES)
        back = [returned(frame) for frame in far_eni.recv()]

        def one_round(seed: int) -> None:
            fitting = [each for each in _hostile(seed, GOOD) if len(each) <= 9015 and not _tagged(each)]
            for name, wire in wires.items():
                sent[name] += len(fitting)
                counters = wire.throw(fitting)
                if wire.faults.counts or not counters["received"] == sent[name] == accounted(counters):
                    tally.problem("frames", seed, f"{name}: {wire.faults.counts}, {sent[name]} sent, {counters}")
                tally.counts["packets"] += len(fitting)
            for port, good in ((endpoint.port, FOR_NODES), (node.packets.eni.port, [*back, *FOR_NODES])):
                hostile = _hostile(seed, good)
                throw(node, port, hostile)
                tally.counts["packets"] += len(hostile)
                while far_eni.recv() or far_endpoint.recv():
                    pass
            _check(node, tally, seed)

        yield one_round


def _hostile(seed: int, good: list[bytes]) -> list[bytes]:
    return [SHORT_FRAGMENT, *Hostile(seed, good).frames(BATCH)]


def _tagged(frame: bytes) -> bool:
    return frame[12:14] in (b"\x81\x00", b"\x88\xa8")


def _far(port: Port) -> Port:
    return port._peer  # type: ignore[attr-defined,no-any-return]


def _check(node: MemoryNode, tally: Tally, seed: int) -> None:
    faults, metrics = node.balancer.take_faults(), node.balancer.metrics(now=node.loop.now)
    sides = [*node.packets.endpoints.values(), node.packets.eni]
    missing = abs(metrics["packets_received"] - metrics["verdicts"])
    missing += sum(abs(side.frames_in - side.verdicts) for side in sides)
    tally.counts["unexplained"] += missing
    if faults or missing:
        tally.problem("frames", seed, f"node: {faults}, {missing} frames without a verdict")


# ---- in labs ---------------------------------------------------------------------------------------------------------
@contextmanager
def packets(tally: Tally) -> Iterator[Callable[[int], None]]:
    """Give a round of hostile frames from a client and from an appliance, in a lab for each datapath."""
    broken = {f"broken-{mode}": {"broken": {"mode": mode, "delay": 0.01}} for mode in ("half", "slow", "truncated")}
    assert all(name.removeprefix("broken-") in MODES for name in broken)
    with ExitStack() as stack:
        labs = [
            stack.enter_context(
                Lab(topology({**GOOD_PROGRAMS, **broken}, lab=f"hostile-{each}", datapath=each), wait=60)
            )
            for each in datapaths()
        ]
        looks = []
        for lab in labs:
            _send(lab, 0, tally, times=1)
            looks.append(stack.enter_context(flat(lab, tally, "packets", more_memory=64 << 10)))  # the flow table grows

        def one_round(seed: int) -> None:
            for lab in labs:
                _send(lab, seed, tally)
                settle(lab, tally, "packets", seed)

        yield then(one_round, *looks)
        for lab in labs:
            _count_what_arrived(lab, tally)


def _count_what_arrived(lab: Lab, tally: Tally) -> None:
    """Note how far the packets came; a lab whose nodes or appliances got none has not been tortured."""
    at_nodes = lab.metric("packets_received")
    at_appliances = [
        lab.call(each.instance, "status")["counters"].get("received", 0)
        for each in lab.plan.programs
        if each.kind in KINDS
    ]
    at_ports = sum(each.packets for each in lab.status().port_drops)
    tally.counts[f"{lab.name}: at nodes"] = int(at_nodes)
    tally.counts[f"{lab.name}: at appliances"] = sum(at_appliances)
    tally.counts[f"{lab.name}: dropped by ports"] = at_ports
    if not (at_nodes and all(at_appliances) and at_ports):
        tally.problem("packets", 0, f"{lab.name}: nothing arrived: {at_nodes}, {at_appliances}, {at_ports}")


def _send(lab: Lab, seed: int, tally: Tally, *, times: int = TIMES) -> None:
    """Send from both ends of the tunnel; what the host's stack refuses to send is no packet."""
    for sender, good in (
        ("client", _client_frames()),
        ("pass", _appliance_frames(lab)),
        ("server-a", _server_frames()),
    ):
        told = {"seed": seed, "good": [frame.hex() for frame in good], "pool": POOL, "times": times}
        try:
            done = lab.exec(sender, [sys.executable, "-c", SENDER], stdin=json.dumps(told), timeout=300)
            sent, _ = json.loads(done.stdout or "[0, 0]")
        except GwlbemuError as error:
            tally.problem("packets", seed, f"sending from {sender}: {error}")
            continue
        if done.code != 0:
            tally.problem("packets", seed, f"sending from {sender}: {done.stderr[-300:]}")
        tally.counts["packets"] += sent
        tally.counts["packets in labs"] += sent


def _payloads(source: str, destination: str) -> list[Packet]:
    ip = IP(src=source, dst=destination)
    return [
        ip / TCP(sport=40000, dport=80, flags="S"),
        ip / TCP(sport=40000, dport=22, flags="S"),
        ip / TCP(sport=40000, dport=80, flags="PA", seq=7) / b"GET /etc/passwd HTTP/1.1",
        ip / UDP(sport=1000, dport=53) / b"query",
        IP(src=source, dst=destination, flags="MF", id=7) / UDP(sport=1, dport=53) / bytes(24),
        IP(src=source, dst=destination, frag=3, id=7) / bytes(24),
        ip / ICMP(type=8) / b"ping",
        ip / ICMP(type=3, code=3) / IP(src=destination, dst=source) / UDP(sport=53, dport=1000),
    ]


def _framed(sender: str, towards: str, payloads: list[Packet]) -> list[bytes]:
    head = Ether(src=names.mac(sender, "eth0"), dst=towards)
    return [bytes(head / each) for each in payloads]


def _client_frames() -> list[bytes]:
    six = IPv6(src="2001:db8:f::10", dst=SERVER_6) / UDP(sport=1000, dport=53) / b"query"
    return _framed("client", names.mac("internet", "internet"), [*_payloads("198.51.100.10", PUBLIC), six])


def _server_frames() -> list[bytes]:
    return _framed("server-a", names.mac("servers-a", "subnet"), _payloads("10.0.1.10", "198.51.100.10"))


def _appliance_frames(lab: Lab) -> list[bytes]:
    """Frames in the tunnel, as from an appliance, with marks that a node has not given, and some plain ones."""
    (node,), (endpoint,) = lab.plan.gateway_nodes, lab.plan.endpoints
    address = next(each.address for each in lab.plan.instances if each.name == "pass")
    number = int(endpoint.endpoint_id.removeprefix("vpce-0"), 16)
    outer = IP(src=address, dst=node.address) / UDP(sport=50000, dport=6081)
    inner = _payloads("198.51.100.10", "10.0.1.10")
    wrapped = [outer / GENEVE(proto=0x0800, options=options(number)) / each for each in inner]
    return _framed("pass", node.mac, [*wrapped, *_payloads(address, node.address)])
