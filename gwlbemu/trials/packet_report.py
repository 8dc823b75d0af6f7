"""What became of an injected packet and of its answer, in values and sentences.

A report is put together from what was seen: the nodes' verdicts (endpoint, target, cookie), the packets at the
sender's and the receiver's eth0, the states of processes, what ports dropped. What the path model expected stands
apart, in `expected`, and nothing that it says is told as seen.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from gwlbemu.wire.mismatch import Mismatch

CLOUDWATCH = "PacketsDroppedCount_"
RULED = " dropped it: "  # in a sentence that has an appliance's own reason


@dataclass(frozen=True, slots=True)
class NodeVerdict:
    """One verdict of one node about the packet.

    `reason` is why it was dropped, the name of a counter; `wrong` which field of a returned packet did not fit, or a
    checksum that is wrong in a packet that went on.
    """

    at: float  # seconds of the kernel's monotonic clock
    node: str
    endpoint: str
    verdict: str  # to-target | to-endpoint | reset | drop
    target: str
    cookie: str  # the flow cookie, as 0x and eight digits
    reason: str
    returned: bool = False  # the packet came from the target, not from the endpoint
    wrong: Mismatch | None = None

    @property
    def is_refusal(self) -> bool:
        """Whether a target returned the packet and the node refused it."""
        return self.returned and self.verdict == "drop"

    @property
    def why(self) -> str:
        """Of a drop: the field that did not fit and the counter, for a person."""
        short = self.reason.removeprefix(CLOUDWATCH)
        return f"{self.wrong} ({short})" if self.wrong else short


@dataclass(frozen=True, slots=True)
class NodeConnection:
    """A connection as a network load balancer's node has it: its listener (TCP:80), its target, the kernel's state.

    Packets are those that came to the node meanwhile, and that came back to it from the target, of all that were sent
    with the same ports.
    """

    node: str
    listener: str
    target_group: str
    target: str
    target_address: str
    target_port: int
    state: str
    packets_to: int = 0
    packets_from: int = 0

    @property
    def where(self) -> str:
        """The target and how it is reached, for a person."""
        return f"{self.target} ({self.target_address} port {self.target_port})"


def seen_last(hops: Sequence[NodeVerdict]) -> str:
    """Say of a packet where it was seen last, and of one that goes in circles how often."""
    last = hops[-1]
    times = sum((hop.endpoint, hop.verdict) == (last.endpoint, last.verdict) for hop in hops)
    seen = f"came to {last.endpoint} {times} times" if times > 2 else f"left {last.endpoint}"
    return f"{seen} and was not seen again"


@dataclass(frozen=True, slots=True)
class Answer:
    """What the receiver sent in answer to a packet, in scapy's words, and what became of it.

    `after` is when it arrived, seconds after the packet was sent; None when the sender did not get it.
    """

    summary: str
    sent_by: str
    sent_to: str  # the sender of the packet that it answers
    hops: tuple[NodeVerdict, ...] = ()
    after: float | None = None
    is_error: bool = False  # an ICMP error, which is a flow of its own and may meet other targets

    @property
    def met(self) -> tuple[str, ...]:
        """The endpoints that it crossed, each with the target that returned it: "vpce-a (fw-a1)"."""
        crossed = (hop for hop in self.hops if hop.verdict == "to-endpoint")
        return tuple(dict.fromkeys(f"{hop.endpoint} ({hop.target})" for hop in crossed))

    @property
    def why_lost(self) -> str:
        """Where it was seen last, for a person: what follows "its answer"."""
        if not self.hops:
            return "was seen by no node"
        last = self.hops[-1]
        if last.is_refusal:
            return f"was returned by {last.target} and refused by {last.node}: {last.why}"
        if last.verdict == "drop":
            return f"died at {last.endpoint} ({last.why})"
        if last.verdict == "to-target":
            return f"was not returned by {last.target}"
        if last.verdict == "reset":
            return f"was answered by {last.node} with a TCP reset at {last.endpoint}"
        broken = f", which {last.target} had returned with {last.wrong}" if last.wrong else ""
        return f"{seen_last(self.hops)}{broken}"


@dataclass(frozen=True, slots=True)
class Expected:
    """What the path model says about the packet and its answer, from the lab's states as the packet was sent.

    `agrees` tells whether what was seen is a way that the model allows; then `ends` are its reasons for the way's, or
    the answer's, early end, and `parting` says where the two directions part. Else `expected` and `seen` are the two.
    """

    agrees: bool
    ends: tuple[str, ...] = ()
    parting: tuple[str, ...] = ()
    expected: str = ""
    seen: str = ""


@dataclass(frozen=True, slots=True)
class PacketReport:
    """What became of one injected packet, number 1 being the first. `hops` are the nodes' verdicts in order of time."""

    number: int
    summary: str
    hops: tuple[NodeVerdict, ...] = ()
    delivered_to: str = ""
    delivered_after: float = 0.0  # seconds; 0 when only its answer shows that it was
    replies: tuple[str, ...] = ()
    silent: tuple[str, ...] = ()  # a sentence per node that could not be asked
    said: str = ""  # of a packet that its target did not return: what the target's log and state say about it
    broken: tuple[str, ...] = ()  # what `fail` broke, such as "zone a"
    fragments: int = 0  # in which it arrived; 0: whole
    is_changed: bool = False  # nobody saw it arrive as it was sent, but its receiver answered
    wrong: Mismatch | None = None  # a checksum that was wrong when it was sent
    arrived_with: Mismatch | None = None  # a checksum that was wrong when it arrived
    answer: Answer | None = None  # None: the receiver sent none, or it did not get the packet
    replied_after: float | None = None  # seconds until the first of `replies`
    connections: tuple[NodeConnection, ...] = ()  # that nodes of network load balancers have of it
    port_drops: tuple[str, ...] = ()  # a sentence per reason for which ports of ends and targets dropped packets
    expected: Expected | None = None  # None: the path model was not asked, or cannot tell
    came_to: str = ""  # the load balancer's node at whose interface it was seen, of a packet that was not delivered

    @property
    def outcome(self) -> str:
        """In one word: delivered, rejected (answered by somebody on the way), dropped (by a node), not-returned (by the
        target that had it last) or lost.
        """
        if self.delivered_to:
            return "delivered"
        if self.replies:
            return "rejected"
        if self.hops and self.hops[-1].verdict == "drop":
            return "dropped"
        if self.hops and self.hops[-1].verdict == "to-target":
            return "not-returned"
        return "lost"

    @property
    def is_well(self) -> bool:
        """Whether the packet was delivered and no answer was lost."""
        return self.outcome == "delivered" and not self.is_answer_lost

    @property
    def is_said(self) -> bool:
        """Whether an appliance's log has said why it did not return the packet."""
        return RULED in self.said

    @property
    def is_answer_lost(self) -> bool:
        """Whether the receiver answered and the sender did not get it."""
        return self.answer is not None and self.answer.after is None

    @property
    def inspected(self) -> tuple[bool, bool] | None:
        """Whether a target returned the packet, and its answer if any; None where a node could not be asked."""
        if self.silent:
            return None
        there, back = (
            any(hop.verdict == "to-endpoint" for hop in hops)
            for hops in (self.hops, self.answer.hops if self.answer else ())
        )
        return there, back

    @property
    def why(self) -> str:
        """One sentence for a person."""
        last = self.hops[-1] if self.hops else None
        if self.outcome == "delivered":
            return f"{self._delivery()}{self._inspection()}{self._answered()}"
        if self.outcome == "rejected":
            said = f"; {self.said}" if self.said else ""
            if last and last.verdict == "reset":
                said = f"; {last.node} sent it at {last.endpoint}"
            return f"answered instead of delivered: {self.replies[0]}{said}"
        if self.outcome == "dropped" and last and last.is_refusal:
            return f"{last.target} returned it and {last.node} refused it: {last.why}"
        if self.outcome == "dropped" and last:
            return f"dropped by {last.node} at {last.endpoint}: {last.why}"
        if self.outcome == "not-returned" and last:
            return f"{self.said or f'{last.target} did not return it'}{'' if self.is_said else self._ports()}"
        return f"{self._lost(last)}{self._ports()}{self._purpose()}"

    def _delivery(self) -> str:
        if self.is_changed:
            after = f" after {self.replied_after * 1000:.1f} ms" if self.replied_after is not None else ""
            return f"answered{after} by {self.delivered_to}, where it was not seen to arrive as it was sent"
        pieces = f" in {self.fragments} fragments" if self.fragments else ""
        spoilt = f" with {self.arrived_with}" if self.arrived_with else ""
        return f"delivered to {self.delivered_to}{pieces}{spoilt} after {self.delivered_after * 1000:.1f} ms"

    def _inspection(self) -> str:
        return ", not inspected" if self.inspected == (False, False) and not self.hops else ""

    def _answered(self) -> str:
        answer = self.answer
        if self.is_changed:
            return ""
        if answer is None:
            return f"{', answered' if self.replies else ', no answer sent'}"
        if answer.after is None:
            lost = answer.why_lost
            if not answer.hops and self.connections:
                lost = " and ".join(_on_its_way_back(each) for each in self.connections)
            elif self.silent:
                last = f"left {answer.hops[-1].endpoint} and " if answer.hops else ""
                lost = f"{last}was seen by no node that answers; {'; '.join(self.silent)}"
            return f", no answer seen: {answer.sent_by}'s answer {lost}{self._apart()}{self._ports()}{self._purpose()}"
        times = f", answered after {answer.after * 1000:.1f} ms"
        if self.inspected in ((True, False), (False, True)):
            return times + f"; only {'the packet' if self.hops else 'the answer'} was inspected"
        return times + (f"; {self._others()}" if self._others() else "")

    def _others(self) -> str:
        """Whether the answer met other targets than the packet did."""
        answer = self.answer.hops if self.answer else ()
        there, back = (
            {hop.target: None for hop in hops if hop.verdict == "to-endpoint"} for hops in (self.hops, answer)
        )
        if not there or there.keys() == back.keys() or (self.answer and self.answer.is_error):
            return ""
        return f"the answer met {', '.join(back)}, the packet {', '.join(there)}"

    def _apart(self) -> str:
        """Of a lost answer: by which endpoints the packet came, when the answer came to others."""
        answer = self.answer.hops if self.answer else ()
        there, back = ({hop.endpoint: None for hop in hops} for hops in (self.hops, answer))
        if not self.hops or not back.keys() - there.keys():
            return ""
        return f"; the packet came by {' and '.join(there)}"

    def _lost(self, last: NodeVerdict | None) -> str:
        if self.came_to and not self.connections:
            left = f"left {last.endpoint} and " if last and last.verdict == "to-endpoint" else ""
            spoilt = f"; it was sent with {self.wrong}" if self.wrong else ""
            silent = "".join(f"; {sentence}" for sentence in self.silent)
            return f"{left}arrived at {self.came_to}'s interface; nothing there was seen to take it{spoilt}{silent}"
        if self.silent:
            left = f"left {last.endpoint}; " if last else ""
            return f"{left}no node that answers saw it; {'; '.join(self.silent)}"
        if last is None and self.connections:
            return "; ".join(_not_arrived(each) for each in self.connections)
        if last is None:
            return f"no node saw it and it did not arrive{f': it was sent with {self.wrong}' if self.wrong else ''}"
        if last.verdict == "reset":
            return f"{last.node} answered it with a TCP reset at {last.endpoint}, which did not arrive"
        if last.wrong and not self.wrong:
            return f"{last.target} returned it with {last.wrong}; it {seen_last(self.hops)}"
        return seen_last(self.hops)

    def _ports(self) -> str:
        return "".join(f"; {sentence}" for sentence in self.port_drops)

    def _purpose(self) -> str:
        return f"; broken on purpose: {', '.join(self.broken)}" if self.broken else ""


def _not_arrived(each: NodeConnection) -> str:
    if each.packets_from:
        return f"{each.node} gave it to {each.where}, which answered; the answer did not arrive"
    return f"{each.node} gave it to {each.where}, where it was not seen to arrive"


def _on_its_way_back(each: NodeConnection) -> str:
    if each.packets_from:
        return f"came back to {each.node} from {each.target} and was not seen again"
    return f"did not come back to {each.node}"
