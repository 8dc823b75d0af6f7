"""IP protocol numbers (IANA, Assigned Internet Protocol Numbers) that the emulator tells apart."""

from __future__ import annotations

ICMP, TCP, UDP, GRE, ESP, AH, ICMPV6, SCTP = 1, 6, 17, 47, 50, 51, 58, 132
HOP_BY_HOP, ROUTING, FRAGMENT, NO_NEXT, DESTINATION_OPTIONS, MOBILITY, HIP, SHIM6 = 0, 43, 44, 59, 60, 135, 139, 140

NAMES = {ICMP: "icmp", TCP: "tcp", UDP: "udp", GRE: "gre", ESP: "esp", AH: "ah", ICMPV6: "icmpv6", SCTP: "sctp"}


def name(protocol: int) -> str:
    """Return the lower-case name, or the number as text."""
    return NAMES.get(protocol, str(protocol))
