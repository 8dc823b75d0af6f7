"""Judges that are not ours: tcpdump inside namespaces, scapy and tshark on what it wrote, sockets of plain programs."""

from __future__ import annotations

import signal
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from scapy.contrib.geneve import GENEVE
from scapy.layers.inet import IP, TCP, UDP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import Ether
from scapy.packet import Packet
from scapy.utils import PcapReader

from gwlbemu.public import Lab
from tests.waiting import wait_until, wait_until_quiet


@dataclass
class Sniffed:
    """What tcpdump saw on one interface; complete when its block has ended."""

    frames: list[bytes] = field(default_factory=list)
    text: str = ""  # tcpdump's own reading, one line per packet

    def tunnelled(self) -> list[Tunnelled]:
        return [Tunnelled.of(frame) for frame in self.frames]


@dataclass(frozen=True)
class Tunnelled:
    """A frame of UDP 6081 in scapy's words; `inner` is the packet inside."""

    outer: IP
    header: bytes
    inner: Packet

    @classmethod
    def of(cls, frame: bytes) -> Tunnelled:
        ip = Ether(frame)[IP]
        payload = bytes(ip[UDP].payload)
        length = 8 + (payload[0] & 0x3F) * 4
        inner = payload[length:]
        return cls(ip, payload[:length], IPv6(inner) if inner[:1] and inner[0] >> 4 == 6 else IP(inner))

    @property
    def geneve(self) -> GENEVE:
        return GENEVE(self.header)

    @property
    def cookie(self) -> bytes:
        return self.header[36:40]


@contextmanager
def sniffed(lab: Lab, name: str, *, device: str = "eth0", matching: str = "udp port 6081") -> Iterator[Sniffed]:
    """Run tcpdump in a namespace of the lab for as long as the block runs."""
    found = Sniffed()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "seen.pcap"
        command = ["tcpdump", "-Z", "root", "-n", "-s", "0", "-U", "--immediate-mode", "-i", device, "-w", str(path)]
        tcpdump = lab.spawn(name, [*command, *matching.split()])
        wait_until(lambda: "listening on" in tcpdump.errors(), what="tcpdump")
        try:
            yield found
            wait_until_quiet(path)
        finally:
            tcpdump.kill(signal.SIGINT)
        with PcapReader(str(path)) as reader:
            found.frames += [bytes(packet) for packet in reader]
        found.text = subprocess.run(
            ["tcpdump", "-n", "-v", "-r", str(path)], check=True, capture_output=True, text=True
        ).stdout


def tshark(frames: Sequence[bytes], *fields: str) -> list[list[str]]:
    """tshark's reading of the frames: the values of `fields`, a row per frame."""
    from scapy.utils import wrpcap

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "seen.pcap"
        wrpcap(str(path), [Ether(frame) for frame in frames])
        options = ["-o", "udp.check_checksum:TRUE", "-o", "ip.check_checksum:TRUE"]
        words = [word for name in fields for word in ("-e", name)]
        out = subprocess.run(
            ["tshark", "-r", str(path), "-T", "fields", "-E", "occurrence=a", *options, *words],
            check=True, capture_output=True, text=True,
        ).stdout  # fmt: skip
    return [line.split("\t") for line in out.splitlines()]


def curl(lab: Lab, url: str = "http://203.0.113.10/", *, client: str = "client", seconds: float = 25.0) -> int:
    """curl's exit code: 0 answered, 7 refused, 28 timed out, 56 reset."""
    return lab.exec(client, ["curl", "-s", "-m", str(seconds), url]).code


def flow_key(packet: Packet) -> tuple[object, ...]:
    """The two ends of an inner packet, whichever way it goes."""
    transport = packet.getlayer(TCP) or packet.getlayer(UDP)
    ports = (transport.sport, transport.dport) if transport else (0, 0)
    ends = sorted(((packet.src, ports[0]), (packet.dst, ports[1])))
    return (packet.nh if IPv6 in packet else packet.proto, *ends)
