"""A node with literal addresses, and the other end of its tunnel, for the tests of the pure core."""

from __future__ import annotations

from typing import Any

from gwlbemu.core.elb.gateway_attributes import GatewayAttributes
from gwlbemu.core.elb.target import Target
from gwlbemu.core.emulation import Emulation
from gwlbemu.core.gateway.balancer import Balancer
from gwlbemu.core.gateway.judged import Judged
from gwlbemu.core.gateway.settings import Endpoint, Settings
from gwlbemu.core.gateway.verdict import Drop, Reset, ToEndpoint, ToTarget, Verdict
from gwlbemu.wire.tcp import ACK, SYN, build_tcp
from gwlbemu.wire.udp import build_udp

NODE = bytes([10, 254, 11, 60])
VPCE_A, VPCE_B = 0x2356DE92D389839C, 0x31E129CDC0CD8633
CLIENT, SERVER = bytes([10, 1, 21, 101]), bytes([198, 51, 100, 7])
CLIENT6, SERVER6 = bytes.fromhex("20010db8000100000000000000000010"), bytes.fromhex("20010db8000200000000000000000020")


def target(number: int, zone: str = "a") -> Target:
    return Target(f"fw-{zone}{number}", bytes([10, 254, 11 if zone == "a" else 12, 100 + number]), zone)


def settings(
    targets: int | tuple[Target, ...] = 2,
    *,
    emulation: dict[str, Any] | None = None,
    group: dict[str, str] | None = None,
    listener: dict[str, str] | None = None,
    load_balancer: dict[str, str] | None = None,
    **others: Any,
) -> Settings:
    members = tuple(target(number) for number in range(1, targets + 1)) if isinstance(targets, int) else targets
    return Settings(
        load_balancer="firewall",
        zone="a",
        node_address=NODE,
        endpoints=(Endpoint(VPCE_A, "vpce-a"), Endpoint(VPCE_B, "vpce-b")),
        targets=members,
        zones=("a", "b"),
        attributes=GatewayAttributes.from_text(load_balancer, listener, group),
        emulation=Emulation.from_values(emulation or {}),
        **others,
    )


def pass_probes(balancer: Balancer, target_id: str, *, now: float = 0.0, count: int = 5) -> None:
    for _ in range(count):
        balancer.receive_probe_result(target_id, True, now=now)


def fail_probes(balancer: Balancer, target_id: str, *, now: float = 0.0, count: int = 2) -> None:
    for _ in range(count):
        balancer.receive_probe_result(target_id, False, now=now)


class HotBalancer(Balancer):
    """Judges each packet as a batch of one, as a node process does: the hot way where there is one.

    A frame does not say the target's name: that of a ToTarget is looked up here, a plain Balancer says its own.
    """

    _resets = 0

    def receive_packet(self, endpoint: int, packet: bytes, *, now: float) -> Verdict:
        return self._verdict(self.receive_frames(endpoint, [packet], now=now))

    def receive_return(self, source: bytes, datagram: bytes, *, now: float) -> Verdict:
        if source != datagram[12:16]:  # frames cannot say that
            return super().receive_return(source, datagram, now=now)
        return self._verdict(self.receive_returned_frames([datagram], now=now))

    def _verdict(self, judged: Judged) -> Verdict:
        assert len(judged) == 1
        before, self._resets = self._resets, self._counters.resets
        if judged.dropped:
            return Drop(judged.dropped[0][1])
        for datagram in judged.to_targets:
            return ToTarget(self._group.by_address[datagram[16:20]].id, datagram)
        ((endpoint, packets),) = ((key, packets) for key, packets in judged.to_endpoints.items() if packets)
        return Reset(endpoint, *packets) if self._resets > before else ToEndpoint(endpoint, *packets)


Node: type[Balancer] = HotBalancer  # what `node` makes; some tests have both


def node(targets: int | tuple[Target, ...] = 2, *, now: float = 0.0, **changes: Any) -> Balancer:
    """Return a balancer all of whose targets are healthy."""
    balancer = Node(settings(targets, **changes), now=now)
    for each in balancer.probe_targets(now=now):
        pass_probes(balancer, each.id, now=now)
    return balancer


def syn(port: int = 40000, **fields: Any) -> bytes:
    return build_tcp(CLIENT, SERVER, port, 80, flags=SYN, **fields)


def data(port: int = 40000, payload: bytes = b"GET /", **fields: Any) -> bytes:
    return build_tcp(CLIENT, SERVER, port, 80, flags=fields.pop("flags", ACK), payload=payload, **fields)


def reply(port: int = 40000, flags: int = ACK, payload: bytes = b"200 OK", **fields: Any) -> bytes:
    return build_tcp(SERVER, CLIENT, 80, port, flags=flags, payload=payload, **fields)


def query(port: int = 40000, payload: bytes = b"test", **fields: Any) -> bytes:
    return build_udp(CLIENT, SERVER, port, 53, payload, **fields)


def sent(verdict: Verdict) -> ToTarget:
    assert isinstance(verdict, ToTarget), verdict
    return verdict


def hairpin(datagram: bytes) -> bytes:
    """Do what an appliance does at the least: swap the outer addresses, take a hop off the outer TTL."""
    return datagram[:8] + b"\xfe" + datagram[9:12] + datagram[16:20] + datagram[12:16] + datagram[20:]


def give_back(balancer: Balancer, verdict: Verdict, *, now: float, packet: bytes | None = None) -> Verdict:
    """Return what `verdict` sent, or `packet` in its header."""
    datagram = hairpin(sent(verdict).datagram)
    if packet is not None:
        datagram = rewrap(datagram, packet)
    return balancer.receive_return(datagram[12:16], datagram, now=now)


def rewrap(datagram: bytes, packet: bytes, header: bytes | None = None) -> bytes:
    """Put another inner packet (and another GENEVE header) into an outer datagram, lengths put right, checksums left
    wrong.
    """
    header = datagram[28:68] if header is None else header
    size = len(header) + len(packet)
    return (
        datagram[:2]
        + (28 + size).to_bytes(2, "big")
        + datagram[4:24]
        + (8 + size).to_bytes(2, "big")
        + b"\x12\x34"
        + header
        + packet
    )


def target_of(balancer: Balancer, packet: bytes, *, now: float, endpoint: int = VPCE_A) -> str:
    return sent(balancer.receive_packet(endpoint, packet, now=now)).target


def drops(balancer: Balancer, *, now: float = 0.0) -> dict[str, int]:
    """Return the drop counters that are not zero."""
    return {
        name: count
        for name, count in balancer.metrics(now=now).items()
        if name.startswith(("PacketsDropped", "Dropped_")) and count
    }
