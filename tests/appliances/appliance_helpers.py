"""Frames as the load balancer sends them, built by scapy: the other end of the tunnel must not share our codec."""

from __future__ import annotations

from scapy.contrib.geneve import GENEVE, GeneveOptions
from scapy.layers.inet import IP, UDP
from scapy.layers.l2 import Ether
from scapy.packet import Packet

NODE, APPLIANCE = "10.254.11.60", "10.254.11.101"
NODE_MAC, APPLIANCE_MAC = "02:00:00:00:00:01", "02:00:00:00:00:02"
ENDPOINT, COOKIE = 0x2356DE92D389839C, 0x98EF1B00
CLIENT, SERVER = "10.1.21.101", "198.51.100.7"
# GENEVE header of a public capture, and the whole golden packet computed from it.
GOLDEN_HEADER = bytes.fromhex("0800080000000000010801022356de92d389839c0108020200000000000000000108030198ef1b00")
GOLDEN_INNER = bytes.fromhex("45000020123440003f11dff80a011565c63364079c400035000c31e674657374")
GOLDEN_OUTER = bytes.fromhex("4500006400000000ff118eec0afe0b3c0afe0b65ea6117c10050f430")
GOLDEN_FRAME = bytes.fromhex("0200000000020200000000010800") + GOLDEN_OUTER + GOLDEN_HEADER + GOLDEN_INNER


def options(endpoint: int = ENDPOINT, cookie: int = COOKIE) -> list[Packet]:
    return [
        GeneveOptions(classid=0x108, type=1, data=endpoint.to_bytes(8, "big")),
        GeneveOptions(classid=0x108, type=2, data=bytes(8)),
        GeneveOptions(classid=0x108, type=3, data=cookie.to_bytes(4, "big")),
    ]


def tunnelled(inner: Packet | bytes, *, endpoint: int = ENDPOINT, cookie: int = COOKIE, port: int = 60001) -> bytes:
    """The frame that carries `inner` from the node to the appliance."""
    packet = bytes(inner)
    outer = IP(src=NODE, dst=APPLIANCE, ttl=255, id=0, flags=0) / UDP(sport=port, dport=6081)
    geneve = GENEVE(proto=0x0800 if packet[0] >> 4 == 4 else 0x86DD, vni=0, options=options(endpoint, cookie))
    return bytes(Ether(src=NODE_MAC, dst=APPLIANCE_MAC) / outer / geneve / packet)


def inner_of(frame: bytes) -> bytes:
    """The inner packet of a frame with the usual 40-byte header."""
    return frame[14 + 20 + 8 + 40 :]
