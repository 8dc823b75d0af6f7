"""One load each: packets, a TCP stream, echoes. All inside one lab, each bounded in count and time."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from gwlbemu.bench import machine, tools
from gwlbemu.bench.plans import APPLIANCE, CLIENT, COUNTED, SERVER
from gwlbemu.errors import NetError
from gwlbemu.net.inside import inside
from gwlbemu.net.namespaces import path_of

FRAME = 64  # bytes with the Ethernet header
LONGEST = 5.0  # seconds of any one load
# TCP payload bytes, on every path: of packets of 8500 bytes, the longest that a load balancer carries, and of 1500
SEGMENT, INTERNET_SEGMENT = 8448, 1448
ECHO_PORT, DRAIN_SECONDS = 7000, 0.1


@dataclass(frozen=True, slots=True)
class Ends:
    """Where a load begins and ends: two namespaces of a lab, the MAC of the client's router, the address it goes to."""

    client: str
    server: str
    router_mac: str
    destination: str = SERVER


@dataclass(frozen=True, slots=True)
class Flows:
    """UDP flows by number (see blast.c)."""

    count: int
    first: int = 0


@dataclass(frozen=True, slots=True)
class Delivered:
    """What a packet load came to."""

    offered: int
    delivered: int
    seconds: float

    @property
    def rate(self) -> float:
        """Packets a second that arrived."""
        return self.delivered / self.seconds

    @property
    def loss(self) -> float:
        """The part of what was sent that did not arrive, from 0 to 1."""
        return max(0.0, 1 - self.delivered / self.offered) if self.offered else 0.0


def packets(
    ends: Ends, sender: Sequence[str], flows: Flows, *, seconds: float, rate: float = 0, count: int = 0,
    source: str = CLIENT,
) -> Delivered:  # fmt: skip
    """Send 64-byte packets over `flows` in turn, `rate` a second (0: all that a core can), and count what arrives."""
    core, _ = machine.cores()
    before = delivered(ends.server)
    words = [
        "eth0", ends.router_mac, source, ends.destination, str(FRAME), str(flows.first), str(flows.count),
        str(min(seconds, LONGEST)), f"{rate:.0f}", str(count),
    ]  # fmt: skip
    offered, took = tools.output(ends.client, [*sender, *words], core=core).split()
    time.sleep(DRAIN_SECONDS)
    return Delivered(int(offered), delivered(ends.server) - before, float(took))


def delivered(server: str) -> int:
    """Return the number of packets that the server's counter has seen so far."""
    answer = json.loads(tools.output(server, ["nft", "-j", "list", "counters"]))
    for entry in answer["nftables"]:
        if entry.get("counter", {}).get("name") == COUNTED:
            return int(entry["counter"]["packets"])
    raise NetError(f"no counter {COUNTED} in {server}")


def stream(ends: Ends, *, seconds: float, segment: int = SEGMENT) -> float:
    """Send one TCP stream with iperf3 and return the Gbit/s received; the first fifth of the time is not counted."""
    sending, receiving = machine.cores()
    with tools.running(ends.server, ["iperf3", "-s", "-1", "--forceflush"], core=receiving) as server:
        assert server.stdout is not None
        while "listening" not in server.stdout.readline():
            if server.poll() is not None:
                raise NetError("iperf3 does not start as a server")
        words = [
            "iperf3",
            "-c",
            ends.destination,
            "-t",
            f"{max(1, round(seconds))}",
            "-O",
            "0.3",
            "-M",
            str(segment),
            "-J",
        ]
        answer = tools.output(ends.client, [*words, "--connect-timeout", "1000"], core=sending, timeout=2 * LONGEST)
    return throughput(answer)


def received(server: str) -> tuple[int, int]:
    """Return how many packets and bytes the server's interface has received so far."""
    (link,) = json.loads(tools.output(server, ["ip", "-s", "-j", "link", "show", "dev", "eth0"]))
    return int(link["stats64"]["rx"]["packets"]), int(link["stats64"]["rx"]["bytes"])


def throughput(answer: str) -> float:
    """Return the Gbit/s that iperf3's JSON tells."""
    data = json.loads(answer)
    if "error" in data:
        raise NetError(f"iperf3: {data['error']}")
    return float(data["end"]["sum_received"]["bits_per_second"]) / 1e9


def round_trip(ends: Ends, *, count: int) -> float:
    """Measure `count` UDP echoes and return the median, in microseconds.

    Both sockets are this process's: a kernel path is run through within the send call, and nobody has to wake up but
    a node process that takes part.
    """
    with (
        _socket(ends.server, SERVER, ECHO_PORT) as server,
        _socket(ends.client, CLIENT, ECHO_PORT) as client,
    ):
        client.connect((SERVER, ECHO_PORT))
        server.connect((CLIENT, ECHO_PORT))
        taken = []
        give_up_at = time.perf_counter() + LONGEST
        for number in range(count + 20):
            start = time.perf_counter_ns()
            client.send(b"echo")
            server.send(server.recv(64))
            client.recv(64)
            end = time.perf_counter_ns()
            if number >= 20:
                taken.append((end - start) / 1000)
            if end / 1e9 > give_up_at:
                break
    return median(taken)


def _socket(namespace: str, address: str, port: int) -> socket.socket:
    with inside(path_of(namespace)):
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.settimeout(1)
    sock.bind((address, port))
    return sock


def scapy_packets(*, seconds: float) -> float:
    """Return the packets/s of scapy doing a node's work for one packet at a time.

    It reads the 64-byte packet, builds it into its GENEVE head, and takes it out again when it comes back.
    """
    from scapy.contrib.geneve import GENEVE, GeneveOptions
    from scapy.layers.inet import IP, UDP

    inner = bytes(IP(src=CLIENT, dst=SERVER) / UDP(sport=10000, dport=20000) / bytes(FRAME - 42))
    done = 0
    start = time.perf_counter()
    while time.perf_counter() - start < seconds:
        options = [
            GeneveOptions(classid=0x0108, type=kind, length=words, data=bytes(4 * words))
            for kind, words in ((1, 2), (2, 2), (3, 1))
        ]
        head = GENEVE(optionlen=8, proto=0x0800, options=options)
        way = IP(src="10.254.1.4", dst=APPLIANCE, ttl=255) / UDP(sport=40000, dport=6081)
        returned = IP(bytes(way / head / IP(inner)))
        assert bytes(returned[GENEVE].payload) == inner
        done += 1
    return done / (time.perf_counter() - start)
