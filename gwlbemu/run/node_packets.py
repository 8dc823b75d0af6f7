"""A node's packets: frames in, one verdict each, frames out, a batch at a time. The hot path of the node process."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from gwlbemu.core.verdict import Drop, Reset, ToEndpoint, ToTarget, Verdict
from gwlbemu.ports.loop import Clock
from gwlbemu.ports.port import Port
from gwlbemu.run.discards import Discards
from gwlbemu.run.trace import PacketJudge, ReturnJudge

IPV4, IPV6 = b"\x08\x00", b"\x86\xdd"


@dataclass(slots=True)
class Side:
    """A port with what the node knows of it; `head` is the Ethernet header up to the ethertype of what it sends."""

    name: str
    port: Port
    head: bytes = b""
    frames_in: int = 0
    verdicts: int = 0
    frames_out: int = 0
    waiting: list[bytes] = field(default_factory=list)

    def flush(self) -> None:
        """Send what is waiting."""
        if self.waiting:
            self.frames_out += self.port.send(self.waiting)
            self.waiting.clear()


class NextHops(dict[bytes, bytes]):
    """Target address -> Ethernet header of a frame to it: its own MAC if it is a neighbour, else the gateway's."""

    def __init__(self, mac: bytes, gateway_mac: bytes, neighbours: dict[bytes, bytes]) -> None:
        super().__init__({address: each + mac + IPV4 for address, each in neighbours.items()})
        self._gateway = gateway_mac + mac + IPV4

    def __missing__(self, address: bytes) -> bytes:
        self[address] = self._gateway
        return self._gateway


class Packets:
    """Moves packets between the endpoints and the ENI as the core says.

    `receive_packet` and `receive_return` are the core's; a trace puts itself there for a while. `after_turn` is called
    at the end of every turn.
    """

    def __init__(
        self,
        endpoints: dict[int, Side],
        eni: Side,
        next_hops: NextHops,
        clock: Clock,
        discards: Discards,
        *,
        receive_packet: PacketJudge,
        receive_return: ReturnJudge,
        after_turn: Callable[[], None],
    ) -> None:
        self.endpoints, self.eni = endpoints, eni
        self.receive_packet, self.receive_return = receive_packet, receive_return
        self._next_hops, self._clock, self._discards, self._after_turn = next_hops, clock, discards, after_turn

    def endpoint_turn(self, endpoint: int) -> Callable[[], None]:
        """Return the reader of one endpoint's port: one batch per call."""
        side, eni, next_hops = self.endpoints[endpoint], self.eni, self._next_hops
        recv, waiting = side.port.recv, eni.waiting

        def turn() -> None:
            frames = recv()
            side.frames_in += len(frames)
            now, receive, append = self._clock.now, self.receive_packet, waiting.append
            for frame in frames:
                verdict = receive(endpoint, frame[14:], now=now)
                if type(verdict) is ToTarget:
                    datagram = verdict[1]
                    append(next_hops[datagram[16:20]] + datagram)
                else:
                    self._other(verdict, frame, side)
            side.verdicts += len(frames)
            eni.flush()
            side.flush()
            self._after_turn()

        return turn

    def eni_turn(self) -> None:
        """Read one batch of what came back from the targets."""
        eni, endpoints = self.eni, self.endpoints
        frames = eni.port.recv()
        eni.frames_in += len(frames)
        now, receive = self._clock.now, self.receive_return
        for frame in frames:
            verdict = receive(frame[26:30], frame[14:], now=now)
            if type(verdict) is ToEndpoint:
                side = endpoints[verdict[0]]
                packet = verdict[1]
                side.waiting.append(side.head + (IPV4 if packet[0] < 0x60 else IPV6) + packet)
            else:
                self._other(verdict, frame, eni)
        eni.verdicts += len(frames)
        for side in endpoints.values():
            side.flush()
        self._after_turn()

    def _other(self, verdict: Verdict, frame: bytes, came_from: Side) -> None:
        if isinstance(verdict, Drop):
            self._discards.tell(frame, f"dropped at {came_from.name}: {verdict.reason.value}")
        elif isinstance(verdict, Reset | ToEndpoint):
            side = self.endpoints[verdict.endpoint]
            side.waiting.append(side.head + (IPV4 if verdict.packet[0] < 0x60 else IPV6) + verdict.packet)
        else:
            self.eni.waiting.append(self._next_hops[verdict.datagram[16:20]] + verdict.datagram)
