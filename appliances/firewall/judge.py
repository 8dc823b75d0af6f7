"""The firewall's decision about one packet: state first, then the rules.

Rules of this file:
* The first packet of a flow decides; both directions of an allowed flow pass until it has been idle for its timeout.
* A TCP packet without a flow that is not a SYN is mid-stream. It is denied, because a firewall that has not seen the
  start cannot know who opened the connection; with `midstream_allowed` it passes when a rule allows it as it is or as a
  reply. That is what a firewall needs which takes over flows after a rebalance.
* An ICMP error about an allowed flow passes; so do the later fragments of a datagram whose first fragment passed.
* A rejected packet is answered inside its own flow: TCP by a RST, UDP by a port unreachable, all else by
  "administratively prohibited". Where no answer may be sent (RFC 1122 3.2.2), reject is deny.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import NamedTuple

from appliances.action import RETURN, Action, Answer, Discard
from appliances.firewall.rules import Policy, Rule
from appliances.flows import IdleTable
from appliances.inner import Inner, flow_key, ports, read
from appliances.tunnel import Received
from gwlbemu.errors import WireError
from gwlbemu.wire import icmp
from gwlbemu.wire.ip import IpPacket
from gwlbemu.wire.protocols import TCP, UDP
from gwlbemu.wire.tcp import ACK, FIN, RST, SYN, build_reset

CLOSING_TIMEOUT = 10.0  # seconds a TCP flow is remembered after a RST or both FINs, for the last acknowledgements
FRAGMENT_TIMEOUT = 30.0  # seconds; Linux waits as long for the rest of a datagram
MIDSTREAM = Rule("midstream", "deny")
PORT_UNREACHABLE, V6_PORT_UNREACHABLE = (icmp.UNREACHABLE, 3), (icmp.V6_UNREACHABLE, 4)


class Decision(NamedTuple):
    """One line of the log: `action` is what was done (a reject that could not answer is a deny)."""

    rule: str
    action: str
    endpoint: int
    cookie: int
    ip: IpPacket


@dataclass(slots=True)
class DecidedFlow:
    """An allowed flow; `finished` holds the addresses that have sent a FIN."""

    finished: frozenset[tuple[bytes, int]] = frozenset()
    closing: bool = False


class Judge:
    """The whole state of one firewall; `report` gets every decision about a first packet, and every denied packet."""

    def __init__(self, policy: Policy, *, midstream_allowed: bool, report: Callable[[Decision], None]) -> None:
        self.policy = policy
        self.flows: IdleTable[Hashable, DecidedFlow] = IdleTable()
        self._fragments: IdleTable[Hashable, bool] = IdleTable()
        self._midstream_allowed = midstream_allowed
        self._report = report

    def counters(self) -> dict[str, int]:
        """Return how many flows and datagrams in fragments are remembered, and how many had to make way for others."""
        return {
            "flows": len(self.flows),
            "flows that made way": self.flows.displaced,
            "fragmented datagrams": len(self._fragments),
            "fragmented datagrams that made way": self._fragments.displaced,
        }

    def decide(self, received: Received, *, now: float) -> Action:
        """Give the one action for a packet from the load balancer; `now` in seconds."""
        try:
            inner = read(received.packet)
        except WireError:
            return Discard("malformed inner packet")
        if inner.ip.is_fragment:
            return self._fragment(received, inner, now)
        return self._whole(received, inner, now)

    def _whole(self, received: Received, inner: Inner, now: float) -> Action:
        if inner.icmp is not None and inner.icmp.quoted is not None:
            quoted = flow_key(received.endpoint, inner.icmp.quoted)
            if self.flows.find(quoted, now=now) is not None:
                return RETURN
        key = flow_key(received.endpoint, inner.ip)
        flow = self.flows.find(key, now=now)
        opens = inner.tcp is not None and inner.tcp.flags & (SYN | ACK | RST) == SYN
        if flow is None or (flow.closing and opens):
            rule = self._rule(received, inner, now, opens)
            if rule.action != "allow":
                return self._refuse(received, inner, rule)
            self._log(received, inner, rule.name, "allow")
            flow = DecidedFlow()
        self._follow(flow, inner)
        self.flows.put(key, flow, timeout=self._timeout(flow, inner.ip.protocol), now=now)
        return RETURN

    def _rule(self, received: Received, inner: Inner, now: float, opens: bool) -> Rule:
        ip = inner.ip
        rule = self.policy.first(received.endpoint, ip.protocol, ip.source, ip.destination, ports(ip))
        if inner.tcp is None or opens:
            return rule
        if not self._midstream_allowed:
            return MIDSTREAM
        if rule.action == "allow":
            return rule
        turned = (ip.destination_port, ip.source_port)
        reply = self.policy.first(received.endpoint, ip.protocol, ip.destination, ip.source, turned)
        return reply if reply.action == "allow" else rule

    def _fragment(self, received: Received, inner: Inner, now: float) -> Action:
        ip = inner.ip
        datagram = (received.endpoint, ip.protocol, ip.source, ip.destination, ip.identification)
        if ip.fragment_offset and self._fragments.find(datagram, now=now):
            return RETURN
        key = flow_key(received.endpoint, ip)
        flow = None if ip.fragment_offset else self.flows.find(key, now=now)
        if flow is None:
            rule = self.policy.first(received.endpoint, ip.protocol, ip.source, ip.destination, ports(ip))
            if rule.action != "allow":
                return self._refuse(received, inner, rule)
            self._log(received, inner, rule.name, "allow")
            flow = DecidedFlow()
        if not ip.fragment_offset:
            self.flows.put(key, flow, timeout=self._timeout(flow, ip.protocol), now=now)
        self._fragments.put(datagram, True, timeout=FRAGMENT_TIMEOUT, now=now)
        return RETURN

    def _refuse(self, received: Received, inner: Inner, rule: Rule) -> Action:
        answer = rejection(inner) if rule.action == "reject" else None
        self._log(received, inner, rule.name, "deny" if answer is None else "reject")
        return Discard("denied") if answer is None else Answer(answer)

    def _log(self, received: Received, inner: Inner, rule: str, action: str) -> None:
        self._report(Decision(rule, action, received.endpoint, received.cookie, inner.ip))

    def _timeout(self, flow: DecidedFlow, protocol: int) -> float:
        if protocol == TCP:
            return CLOSING_TIMEOUT if flow.closing else self.policy.timeouts.tcp
        return self.policy.timeouts.udp if protocol == UDP else self.policy.timeouts.other

    @staticmethod
    def _follow(flow: DecidedFlow, inner: Inner) -> None:
        if inner.tcp is None:
            return
        if inner.tcp.flags & FIN:
            flow.finished |= {(inner.ip.source, inner.ip.source_port)}
        flow.closing = flow.closing or bool(inner.tcp.flags & RST) or len(flow.finished) == 2


def rejection(inner: Inner) -> bytes | None:
    """Return the inner packet that refuses `inner` towards its sender, None where none may be sent.

    It comes from the address the packet was sent to: the firewall has none of its own inside the flow.
    """
    ip = inner.ip
    if inner.tcp is not None:
        return build_reset(inner.packet)
    if ip.version == 4:
        kind, code = PORT_UNREACHABLE if ip.protocol == UDP else icmp.PROHIBITED
    else:
        kind, code = V6_PORT_UNREACHABLE if ip.protocol == UDP else icmp.V6_PROHIBITED
    return icmp.build_icmp_error(inner.packet, kind, code, ip.destination)
