"""A node that is only as much as these tests need: core, fast path, two packet sockets. Run inside its namespace:
node.py CACHE [offload] [python]

Prints `ready`; answers each line on stdin with one of JSON: `stats`, `flows`, `expire SECONDS`, `deregister`, `quit`.
"""

from __future__ import annotations

import json
import select
import socket
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from gwlbemu.core.elb.target import Target
from gwlbemu.core.gateway.balancer import Balancer
from gwlbemu.core.gateway.settings import Endpoint, Settings
from gwlbemu.core.gateway.verdict import Drop, ToTarget
from gwlbemu.fastpath.fastpath import EndpointDevice, FastPath, FastPathSettings
from tests.fastpath import fastpath_lab as lab
from tests.fastpath.fastpath_lab import mac

NODE, TARGET = socket.inet_aton(lab.NODE_ADDRESS), socket.inet_aton(lab.TARGET_ADDRESS)
TO_TARGET = mac(lab.TARGET_MAC) + mac(lab.ENI_MAC) + b"\x08\x00"
TO_ROUTER = mac(lab.ROUTER_MAC) + mac(lab.ENDPOINT_MAC)


class Sender:
    """A packet socket with protocol 0: it sends and is never handed a frame."""

    def __init__(self, device: str) -> None:
        self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
        self._socket.bind((device, 0))

    def send(self, frames: list[bytes]) -> None:
        for frame in frames:
            self._socket.send(frame)


class Node:
    def __init__(self, cache: Path, offload: bool, max_flows: int) -> None:
        self.balancer = Balancer(
            Settings(
                load_balancer="lb",
                zone="a",
                node_address=NODE,
                endpoints=(Endpoint(lab.ENDPOINT, "e"),),
                targets=(Target("t", TARGET, "a"),),
                track_changes=True,
            ),
            now=time.monotonic(),
        )
        self.fast = FastPath(
            FastPathSettings(
                cache=cache,
                node_address=NODE,
                eni=lab.ENI_DEVICE,
                gateway_mac=mac(lab.TARGET_MAC),
                super_packets=offload,
                endpoints=(EndpointDevice(lab.ENDPOINT, lab.ENDPOINT_DEVICE, mac(lab.ROUTER_MAC)),),
                max_flows4=max_flows,
                max_flows6=max_flows,
            )
        )
        self.eni, self.endpoint = Sender(lab.ENI_DEVICE), Sender(lab.ENDPOINT_DEVICE)
        self.up, self.back = self.fast.taps[lab.ENDPOINT_DEVICE], self.fast.taps[lab.ENI_DEVICE]
        self.drops: dict[str, int] = {}
        self.read = 0

    def turn(self) -> None:
        now = time.monotonic()
        out, back = [], []
        for frames, outward in ((self.up.recv(), True), (self.back.recv(), False)):
            self.read += len(frames)
            for frame in frames:
                packet = frame[14:]
                if outward:
                    verdict = self.balancer.receive_packet(lab.ENDPOINT, packet, now=now)
                else:
                    verdict = self.balancer.receive_return(packet[12:16], packet, now=now)
                if isinstance(verdict, ToTarget):
                    out.append(TO_TARGET + verdict.datagram)
                elif isinstance(verdict, Drop):
                    self.drops[verdict.reason.value] = self.drops.get(verdict.reason.value, 0) + 1
                else:
                    back.append(
                        TO_ROUTER + (b"\x08\x00" if verdict.packet[0] >> 4 == 4 else b"\x86\xdd") + verdict.packet
                    )
        if out:
            self.eni.send(out)
        if back:
            self.endpoint.send(back)
        self.apply()

    def apply(self) -> None:
        changes = self.balancer.take_flow_changes()
        if changes:
            self.fast.apply(changes, now_ns=time.monotonic_ns())

    def answer(self, verb: str, *arguments: str) -> object:
        if verb == "stats":
            return self.fast.stats() | {"read": self.read, "drops": self.drops}
        if verb == "flows":
            return [list(flow[2:]) for flow in self.fast.read_all()]
        if verb == "expire":
            now = time.monotonic() + float(arguments[0])
            self.balancer.expire(now=now)
        elif verb == "deregister":
            self.balancer.deregister("t", now=time.monotonic())
        self.apply()
        return {}

    def run(self) -> None:
        watch = select.epoll()
        for source in (self.up, self.back, sys.stdin):
            watch.register(source.fileno(), select.EPOLLIN)
        print("ready", flush=True)
        while True:
            for number, _ in watch.poll():
                if number == sys.stdin.fileno():
                    words = sys.stdin.readline().split()
                    if not words or words[0] == "quit":
                        return
                    print(json.dumps(self.answer(*words)), flush=True)
                else:
                    self.turn()


if __name__ == "__main__":
    Node(
        Path(sys.argv[1]),
        "offload" in sys.argv,
        int(next((word[6:] for word in sys.argv if word.startswith("flows=")), 65536)),
    ).run()
