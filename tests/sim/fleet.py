"""A fleet of connections through one node while its targets fail by a schedule; pure, the time is a number.

Every connection is a client that sends one packet every 20 seconds, from the moment it has connected until the end. A
dead target takes packets and returns none; a live one returns each. Who gets a RST connects again with its next packet,
from the same port. `python tests/sim/fleet.py MODE` prints the table of a mode, which is how the checked-in ones were
made; read one before you believe it.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, field

from gwlbemu.core.elb.gateway_attributes import GatewayAttributes
from gwlbemu.core.elb.target import Target
from gwlbemu.core.gateway.balancer import Balancer
from gwlbemu.core.gateway.settings import Endpoint, Settings
from gwlbemu.core.gateway.verdict import Drop, Reset, ToEndpoint, ToTarget
from gwlbemu.wire.tcp import ACK, SYN, build_tcp

VPCE = 0x2356DE92D389839C
SERVER = bytes([198, 51, 100, 7])
CONNECTIONS, END, PAUSE, PROBE = 3000, 600, 20, 10
REBALANCE = {"target_failover.on_deregistration": "rebalance", "target_failover.on_unhealthy": "rebalance"}
RESET = {"send_tcp_reset.on_deregistration.enabled": "true", "send_tcp_reset.on_unhealthy.enabled": "true"}
MODES = {"no_rebalance": {}, "rebalance": REBALANCE, "reset": RESET}
# Probes are at 0, 10, 20 ...: fw-1 is unhealthy from 110 on and healthy again from 250 on; fw-2 drains from 300 to 360.
SCHEDULE = [
    (95, "dies", "fw-1"),
    (205, "lives", "fw-1"),
    (300, "leaves", "fw-2"),
    (360, "dies", "fw-2"),
    (400, "joins", "fw-5"),
]


def target(number: int) -> Target:
    return Target(f"fw-{number}", bytes([10, 254, 11, 100 + number]), "a")


@dataclass
class Connection:
    number: int
    connected: bool = False
    first: str = ""
    targets: list[str] = field(default_factory=list)  # in order, each change once
    resets: int = 0
    unanswered: int = 0
    silent: bool = False  # its last packet was not answered

    def packet(self) -> bytes:
        source = bytes([10, 1, self.number >> 8, self.number & 255])
        return build_tcp(
            source, SERVER, 40000, 80, flags=ACK if self.connected else SYN, sequence=1, acknowledgement=self.connected
        )


def run(mode: str) -> list[Connection]:
    """Return what became of every connection."""
    group = MODES[mode] | {"deregistration_delay.timeout_seconds": "60"}
    fleet = tuple(target(number) for number in range(1, 5))
    balancer = Balancer(
        Settings(
            "sim",
            "a",
            bytes([10, 254, 11, 60]),
            (Endpoint(VPCE, "vpce"),),
            fleet,
            attributes=GatewayAttributes.from_text(target_group=group),
            seed=7,
        ),
        now=-60.0,
    )
    for second in range(-60, 0, PROBE):
        probe(balancer, set(), float(second))
    connections, dead, events = [Connection(number) for number in range(CONNECTIONS)], set[str](), list(SCHEDULE)
    for second in range(END):
        now = float(second)
        while events and events[0][0] == second:
            _, what, name = events.pop(0)
            happen(balancer, dead, what, name, now)
        if second % PROBE == 0:
            probe(balancer, dead, now)
        balancer.expire(now=now)
        for connection in connections[second % PAUSE :: PAUSE]:
            send(balancer, connection, dead, now)
    return connections


def happen(balancer: Balancer, dead: set[str], what: str, name: str, now: float) -> None:
    if what == "dies":
        dead.add(name)
    elif what == "lives":
        dead.remove(name)
    elif what == "leaves":
        balancer.deregister(name, now=now)
    else:
        balancer.register(target(int(name[-1])), now=now)


def probe(balancer: Balancer, dead: set[str], now: float) -> None:
    for each in balancer.probe_targets(now=now):
        balancer.receive_probe_result(each.id, each.id not in dead, now=now)


def send(balancer: Balancer, connection: Connection, dead: set[str], now: float) -> None:
    verdict = balancer.receive_packet(VPCE, connection.packet(), now=now)
    connection.silent = True
    if isinstance(verdict, ToTarget):
        connection.first = connection.first or verdict.target
        if connection.targets[-1:] != [verdict.target]:
            connection.targets.append(verdict.target)
        if verdict.target not in dead:
            back = verdict.datagram[:12] + verdict.datagram[16:20] + verdict.datagram[12:16] + verdict.datagram[20:]
            assert isinstance(balancer.receive_return(back[12:16], back, now=now), ToEndpoint)
            connection.connected, connection.silent = True, False
    elif isinstance(verdict, Reset):
        connection.resets += 1
        connection.connected = False
    else:
        assert isinstance(verdict, Drop)
        raise AssertionError(f"{verdict} at {now}")
    connection.unanswered += connection.silent


def table(connections: list[Connection]) -> str:
    """One row per target that a connection was first placed on."""
    lines = ["placed on   flows   kept  moved  reset  silent at the end  unanswered packets"]
    for name in sorted({connection.first for connection in connections}):
        mine = [connection for connection in connections if connection.first == name]
        moved = sum(len(each.targets) > 1 and not each.resets for each in mine)
        reset = sum(each.resets > 0 for each in mine)
        silent, unanswered = sum(each.silent for each in mine), sum(each.unanswered for each in mine)
        lines.append(f"{name:10}{len(mine):7}{len(mine) - moved - reset:7}{moved:7}{reset:7}{silent:19}{unanswered:20}")
    ends: dict[str, int] = {}
    for connection in connections:
        ends[connection.targets[-1]] = ends.get(connection.targets[-1], 0) + 1
    lines.append("at the end on " + ", ".join(f"{name}: {count}" for name, count in sorted(ends.items())))
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    print(table(run(sys.argv[1])), end="")
