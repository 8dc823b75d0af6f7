"""The ways of being broken: each turns a received packet into an action, with no state but a count.

What the load balancer does about each is in the contract (GV-09 to GV-17, GV-21): some of it must be accepted.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from appliances.action import RETURN, Action, Discard, Send
from appliances.inner import read
from appliances.tunnel import ADDRESSES_END, CHECKSUM_AT, ETHERNET, FRESH_TTL, SOURCE_AT, TTL_AT, UDP_AT, Received, swap
from gwlbemu.errors import WireError
from gwlbemu.wire import geneve
from gwlbemu.wire.build import build_ipv4
from gwlbemu.wire.checksum import internet
from gwlbemu.wire.protocols import UDP
from gwlbemu.wire.tcp import SYN, build_tcp
from gwlbemu.wire.udp import build_udp

AWS_CLASS, ENDPOINT_ID, FLOW_COOKIE = 0x0108, 1, 3
EXPERIMENT_CLASS = 0xFF01  # RFC 8926, 7: 0xFF00 to 0xFFFE are for experiments
ORIGINATED_PORT = 40999


@dataclass(frozen=True, slots=True)
class Situation:
    """What a mode may know besides the packet: how many came before it, and the delay of `slow` in seconds."""

    number: int
    delay: float


Mode = Callable[[Received, Situation], Action]


def no_return(received: Received, situation: Situation) -> Action:
    """Keep every packet."""
    return Discard("not returned")


def half(received: Received, situation: Situation) -> Action:
    """Return every second packet."""
    return RETURN if situation.number % 2 == 0 else Discard("not returned")


def slow(received: Received, situation: Situation) -> Action:
    """Return every packet after a delay."""
    return Send((swap(received.frame),), situation.delay)


def no_swap(received: Received, situation: Situation) -> Action:
    """Return with the outer IP addresses as they came (only the MACs are swapped)."""
    frame = received.frame
    return Send((frame[6:12] + frame[:6] + frame[12:],))


def wrong_cookie(received: Received, situation: Situation) -> Action:
    """Return with another flow cookie."""
    return _with_options(received, lambda option: _changed(option) if _is(option, FLOW_COOKIE) else option)


def no_endpoint_option(received: Received, situation: Situation) -> Action:
    """Return without option 1."""
    return _with_options(received, lambda option: None if _is(option, ENDPOINT_ID) else option)


def wrong_endpoint(received: Received, situation: Situation) -> Action:
    """Return with another endpoint id."""
    return _with_options(received, lambda option: _changed(option) if _is(option, ENDPOINT_ID) else option)


def no_cookie_option(received: Received, situation: Situation) -> Action:
    """Return without option 3."""
    return _with_options(received, lambda option: None if _is(option, FLOW_COOKIE) else option)


def changed_options(received: Received, situation: Situation) -> Action:
    """Return with the options in reverse order; their contents are right."""
    header, _ = geneve.decode(received.outer.header)
    return _with_header(received, geneve.encode(header._replace(options=header.options[::-1])))


def no_options(received: Received, situation: Situation) -> Action:
    """Return with an empty options area."""
    return _with_options(received, lambda option: None)


def extra_option(received: Received, situation: Situation) -> Action:
    """Return with a fourth, unknown, non-critical option."""
    return _with_added(received, geneve.Option(EXPERIMENT_CLASS, 1, b"more"))


def critical_option(received: Received, situation: Situation) -> Action:
    """Return with a fourth, unknown, critical option."""
    return _with_added(received, geneve.Option(EXPERIMENT_CLASS, 1, b"more", critical=True))


def oam(received: Received, situation: Situation) -> Action:
    """Return with the O bit set, which makes the payload a control message."""
    header = received.outer.header
    return _with_header(received, header[:1] + bytes((header[1] | 0x80,)) + header[2:])


def version_1(received: Received, situation: Situation) -> Action:
    """Return with GENEVE version 1."""
    header = received.outer.header
    return _with_header(received, bytes((header[0] | 0x40,)) + header[1:])


def wrong_ethertype(received: Received, situation: Situation) -> Action:
    """Return with an Ethernet frame announced as the payload."""
    header = received.outer.header
    return _with_header(received, header[:2] + geneve.PROTOCOL_ETHERNET.to_bytes(2, "big") + header[4:])


def truncated(received: Received, situation: Situation) -> Action:
    """Return a datagram that ends in the middle of the options, with outer lengths that fit."""
    return _datagram(received, received.outer.header[:20])


def option_overrun(received: Received, situation: Situation) -> Action:
    """Return with a last option that claims more bytes than the options area has."""
    header = received.outer.header
    return _with_header(received, header[:35] + b"\x1f" + header[36:])


def wrong_port(received: Received, situation: Situation) -> Action:
    """Return to UDP port 6082."""
    return _datagram(received, received.outer.header + received.packet, destination_port=geneve.PORT + 1)


def source_6081(received: Received, situation: Situation) -> Action:
    """Return from UDP port 6081 instead of the port received."""
    return _datagram(received, received.outer.header + received.packet, source_port=geneve.PORT)


def bad_checksum(received: Received, situation: Situation) -> Action:
    """Return with a wrong outer UDP checksum."""
    frame = swap(received.frame)
    wrong = (int.from_bytes(frame[UDP_AT + 6 : UDP_AT + 8], "big") ^ 0x5555) or 1
    return Send((frame[: UDP_AT + 6] + wrong.to_bytes(2, "big") + frame[UDP_AT + 8 :],))


def no_checksum(received: Received, situation: Situation) -> Action:
    """Return with outer UDP checksum 0, as AWS's own tunnel handler may."""
    frame = swap(received.frame)
    return Send((frame[: UDP_AT + 6] + b"\0\0" + frame[UDP_AT + 8 :],))


def ttl_2(received: Received, situation: Situation) -> Action:
    """Return with outer TTL 2, as AWS's own tunnel handler does."""
    frame = bytearray(swap(received.frame))
    frame[TTL_AT], frame[CHECKSUM_AT : CHECKSUM_AT + 2] = 2, b"\0\0"
    frame[CHECKSUM_AT : CHECKSUM_AT + 2] = internet(bytes(frame[ETHERNET:ADDRESSES_END])).to_bytes(2, "big")
    return Send((bytes(frame),))


def wrong_source(received: Received, situation: Situation) -> Action:
    """Return from an address that is no registered target (the last bit of the address flipped)."""
    frame = bytearray(swap(received.frame))
    frame[SOURCE_AT + 3] ^= 1
    frame[CHECKSUM_AT : CHECKSUM_AT + 2] = b"\0\0"
    frame[CHECKSUM_AT : CHECKSUM_AT + 2] = internet(bytes(frame[ETHERNET:ADDRESSES_END])).to_bytes(2, "big")
    frame[UDP_AT + 6 : UDP_AT + 8] = b"\0\0"
    return Send((bytes(frame),))


def twice(received: Received, situation: Situation) -> Action:
    """Return every packet two times."""
    frame = swap(received.frame)
    return Send((frame, frame))


def originate(received: Received, situation: Situation) -> Action:
    """Return the packet, and with the same header a packet of a flow that the load balancer has never seen."""
    try:
        ip = read(received.packet).ip
    except WireError:
        return RETURN
    if ip.protocol == UDP:
        packet = build_udp(ip.source, ip.destination, ORIGINATED_PORT, ip.destination_port, b"hello")
    else:
        packet = build_tcp(ip.source, ip.destination, ORIGINATED_PORT, ip.destination_port or 80, flags=SYN)
    action = _datagram(received, received.outer.header + packet)
    return Send((swap(received.frame), *action.frames))


def healthy(received: Received, situation: Situation) -> Action:
    """Return every packet as a good appliance does."""
    return RETURN


MODES: dict[str, Mode] = {
    function.__name__.replace("_", "-"): function
    for function in (
        healthy, no_return, half, slow, twice, no_swap, wrong_source, wrong_cookie, wrong_endpoint, no_endpoint_option,
        no_cookie_option, no_options, changed_options, extra_option, critical_option, oam, version_1, wrong_ethertype,
        truncated, option_overrun, wrong_port, source_6081, bad_checksum, no_checksum, ttl_2, originate,
    )
}  # fmt: skip


def _is(option: geneve.Option, kind: int) -> bool:
    return (option.option_class, option.type) == (AWS_CLASS, kind)


def _changed(option: geneve.Option) -> geneve.Option:
    return option._replace(data=bytes(byte ^ 0xFF for byte in option.data))


def _with_options(received: Received, change: Callable[[geneve.Option], geneve.Option | None]) -> Send:
    header, _ = geneve.decode(received.outer.header)
    options = tuple(new for option in header.options if (new := change(option)) is not None)
    return _with_header(received, geneve.encode(header._replace(options=options)))


def _with_added(received: Received, option: geneve.Option) -> Send:
    header, _ = geneve.decode(received.outer.header)
    return _with_header(
        received, geneve.encode(header._replace(options=(*header.options, option), critical=option.critical))
    )


def _with_header(received: Received, header: bytes) -> Send:
    return _datagram(received, header + received.packet)


def _datagram(
    received: Received, payload: bytes, *, source_port: int | None = None, destination_port: int = geneve.PORT
) -> Send:
    """Return a frame to the load balancer with this UDP payload; outer lengths and checksums are right."""
    outer = received.outer
    port = outer.source_port if source_port is None else source_port
    segment = build_udp(outer.destination, outer.source, port, destination_port, payload)[20:]
    datagram = build_ipv4(outer.destination, outer.source, UDP, segment, ttl=FRESH_TTL, dont_fragment=False)
    return Send((received.frame[6:12] + received.frame[:6] + received.frame[12:14] + datagram,))
