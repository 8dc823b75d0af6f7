"""One line, or one dictionary, per captured packet."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from functools import lru_cache

from gwlbemu.capture.checks import Check, State, judge, wrong_lengths
from gwlbemu.capture.dissect import Carried, Dissection, Layer
from gwlbemu.capture.link import ethertype_name
from gwlbemu.capture.packet import CapturedPacket
from gwlbemu.capture.reader import CaptureReader
from gwlbemu.capture.text import address_text, ends_text, has_ports, packet_text, tail_text, tcp_head
from gwlbemu.capture.tunnels import TunnelLayer
from gwlbemu.errors import plain
from gwlbemu.wire.aws import OPTION_CLASS, format_endpoint
from gwlbemu.wire.geneve import PROTOCOL_IPV4, PROTOCOL_IPV6, Option
from gwlbemu.wire.protocols import name
from gwlbemu.wire.tcp import flags_text


def count_text(shown: int, total: int) -> str:
    """Return how many packets there were, and how many of them were shown."""
    packets = f"{total} packet{'' if total == 1 else 's'}"
    return packets if shown == total else f"{shown} of {packets}"


def losses(reader: CaptureReader, name: str) -> Iterator[str]:
    """Yield what is not in a file that has been read: where a broken one ends and why, and what the taps lost."""
    if not reader.ending.complete:
        yield plain(f"{name}: the file cannot be read beyond byte {reader.ending.offset}: {reader.ending.reason}")
    for interface, counts in reader.statistics.items():
        if counts.dropped:
            yield f"{plain(interface)}: {counts.dropped} packets were lost before the capture could write them"


def line(
    captured: CapturedPacket, dissection: Dissection, checks: Sequence[Check] | None = None, *, verbose: bool = False
) -> str:
    """Return a packet in one line: number, time (UTC), interface, direction, outer, options, inner, comments; what is
    wrong with it in parentheses.

    `checks` are `judge`'s, if they are there already. `verbose` adds TTL, DF, length and VLAN of the outer packet and
    what became of every checksum.
    """
    checks = judge(dissection) if checks is None else checks
    parts = [
        content(dissection, captured.original_length, verbose=verbose),
        *map("({})".format, remarks(dissection, checks)),
    ]
    if verbose and checks:
        parts.append("checksums: " + ", ".join(f"{check.layer} {check.state.value}" for check in checks))
    return framed(captured, "  ".join(parts))


def framed(captured: CapturedPacket, text: str) -> str:
    """Return the line of a packet whose content is `text`."""
    number, at_ns, interface, data, length, direction, comments = captured
    cut = f"  (cut to {len(data)} of {length} bytes)" if length > len(data) else ""
    place, said = _place_text(interface.name, direction), _comments_text(comments) if comments else ""
    seconds, nanoseconds = divmod(at_ns, 1_000_000_000)
    return f"{number:>5}  {_clock_text(seconds)}.{nanoseconds:09}{place}  {text}{cut}{said}"


@lru_cache
def _place_text(interface: str, direction: str) -> str:
    return plain(f"  {interface} {direction}".rstrip()) if interface or direction else ""


@lru_cache(1 << 13)
def _comments_text(comments: tuple[str, ...]) -> str:
    return plain("  # " + " # ".join(" ".join(comment.split()) for comment in comments))


def content(dissection: Dissection, length: int, *, verbose: bool = False) -> str:
    """Return what a frame of `length` bytes is: outer head, tunnel, inner packet, and what that carries in turn."""
    if dissection.outer is None:
        return f"{ethertype_name(dissection.ethertype)} len {length}" + _vlan_text(dissection, verbose)
    parts = []
    if dissection.tunnel:
        parts.append(outer_text(dissection, verbose=verbose) + tunnel_text(dissection.tunnel))
        if dissection.inner:
            parts.append(packet_text(dissection.inner, verbose=verbose))
    else:
        parts.append(packet_text(dissection.outer, verbose=verbose) + _vlan_text(dissection, verbose))
    for carried in dissection.carried:
        parts.append(tunnel_text(carried.tunnel) if carried.tunnel else carried.kind)
        if carried.layer:
            parts.append(packet_text(carried.layer, verbose=verbose))
    return " | ".join(parts)


def outer_text(dissection: Dissection, *, verbose: bool = False) -> str:
    """Return the ends of the outer packet, and a space."""
    assert dissection.outer
    ends = ends_text(dissection.outer.ip, ports=True)
    if not verbose:
        return f"{ends} "
    length = f" len {dissection.outer.ip.total_length}"
    return f"{ends}{length}{tail_text(dissection.outer, verbose=True)}{_vlan_text(dissection, verbose)} "


def remarks(dissection: Dissection, checks: Sequence[Check]) -> list[str]:
    """Return what is wrong with a packet, in words."""
    found = [dissection.trouble] if dissection.trouble else []
    found += [check.text for check in checks if check.state is State.WRONG]
    return found + wrong_lengths(dissection)


def _vlan_text(dissection: Dissection, verbose: bool) -> str:
    return "".join(f" vlan {vlan}" for vlan in dissection.vlans) if verbose else ""


@lru_cache
def _clock_text(seconds: int) -> str:
    return f"{datetime.fromtimestamp(seconds % 86400, UTC):%H:%M:%S}"


@lru_cache(1 << 12)
def tunnel_text(tunnel: TunnelLayer) -> str:
    """Return the GENEVE header: AWS's options by name, others by class, type and bytes, and every bit that is not
    usual.
    """
    header, options = tunnel.header, tunnel.options
    parts = ["geneve"]
    if header.vni:
        parts.append(f"vni {header.vni}")
    if options.endpoint_id is not None:
        parts.append(format_endpoint(options.endpoint_id))
    if options.flow_cookie is not None:
        parts.append(f"cookie 0x{options.flow_cookie:08x}")
    if options.attachment_id:
        parts.append(f"attachment 0x{options.attachment_id:016x}")
    parts += [_option_text(option) for option in _others(tunnel)]
    if header.control:
        parts.append("control")
    if tunnel.reserved:
        parts.append(f"reserved bits in {', '.join(tunnel.reserved)}")
    if header.protocol_type not in (PROTOCOL_IPV4, PROTOCOL_IPV6):
        parts.append(f"type 0x{header.protocol_type:04x}")
    return " ".join(parts)


def dictionary(captured: CapturedPacket, dissection: Dissection) -> dict[str, object]:
    """Return a packet as values that JSON can carry. Keys are stable; what a packet does not have is null."""
    tunnel = dissection.tunnel
    return {
        "number": captured.number,
        "time_ns": captured.at_ns,
        "interface": captured.interface.name,
        "direction": captured.direction or None,
        "length": captured.original_length,
        "captured_length": len(captured.data),
        "ethertype": dissection.ethertype,
        "outer": _layer_dictionary(dissection.outer) if tunnel else None,
        "geneve": _tunnel_dictionary(tunnel) if tunnel else None,
        "packet": _layer_dictionary(dissection.flow_layer),
        "comments": list(captured.comments),
        "trouble": dissection.trouble or None,
        "vlans": list(dissection.vlans),
        "checksums": [_check_dictionary(check) for check in judge(dissection)],
        "carried": [_carried_dictionary(carried) for carried in dissection.carried],
    }


def _others(tunnel: TunnelLayer) -> list[Option]:
    known = {kind for kind, value in enumerate(tunnel.options, 1) if value is not None}
    return [
        option for option in tunnel.header.options if not (option.option_class == OPTION_CLASS and option.type in known)
    ]


def _option_text(option: Option) -> str:
    critical = "!" if option.critical else ""
    return f"option{critical} {option.option_class:04x}/{option.type:02x}={option.data.hex() or 'empty'}"


def _layer_dictionary(layer: Layer | None) -> dict[str, object] | None:
    if layer is None:
        return None
    ip, tcp = layer.ip, tcp_head(layer)
    return {
        "version": ip.version,
        "protocol": name(ip.protocol),
        "source": address_text(ip.source),
        "destination": address_text(ip.destination),
        "source_port": ip.source_port if has_ports(layer) else None,
        "destination_port": ip.destination_port if has_ports(layer) else None,
        "ttl": ip.ttl,
        "dscp": ip.dscp,
        "length": ip.total_length,
        "identification": ip.identification,
        "fragment_offset": ip.fragment_offset,
        "more_fragments": ip.more_fragments,
        "tcp_flags": flags_text(tcp.flags) if tcp else None,
        "tcp_sequence": tcp.sequence if tcp else None,
        "tcp_acknowledgement": tcp.acknowledgement if tcp else None,
        "summary": packet_text(layer),
        "dont_fragment": layer.dont_fragment,
        "jumbo": layer.jumbo,
    }


def _check_dictionary(check: Check) -> dict[str, object]:
    return {
        "layer": check.layer,
        "state": check.state.value,
        "there": f"0x{check.there:04x}",
        "expected": None if check.expected is None else f"0x{check.expected:04x}",
    }


def _carried_dictionary(carried: Carried) -> dict[str, object]:
    return {
        "kind": carried.kind,
        "geneve": _tunnel_dictionary(carried.tunnel) if carried.tunnel else None,
        "packet": _layer_dictionary(carried.layer),
    }


def _tunnel_dictionary(tunnel: TunnelLayer) -> dict[str, object]:
    options = tunnel.options
    return {
        "protocol_type": tunnel.header.protocol_type,
        "vni": tunnel.header.vni,
        "control": tunnel.header.control,
        "critical": tunnel.header.critical,
        "endpoint": None if options.endpoint_id is None else format_endpoint(options.endpoint_id),
        "attachment_id": None if options.attachment_id is None else f"0x{options.attachment_id:016x}",
        "flow_cookie": None if options.flow_cookie is None else f"0x{options.flow_cookie:08x}",
        "options": [
            {"class": option.option_class, "type": option.type, "critical": option.critical, "data": option.data.hex()}
            for option in tunnel.header.options
        ],
        "reserved": list(tunnel.reserved),
    }
