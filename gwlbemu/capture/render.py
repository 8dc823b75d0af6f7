"""One line, or one dictionary, per captured packet."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

from gwlbemu.capture.dissect import Dissection, Layer, TunnelLayer, dissect
from gwlbemu.capture.flowfilter import FlowFilter
from gwlbemu.capture.link import ethertype_name
from gwlbemu.capture.packet import CapturedPacket
from gwlbemu.capture.reader import CaptureReader
from gwlbemu.capture.text import address_text, ends_text, packet_text, tcp_head
from gwlbemu.errors import plain
from gwlbemu.wire.aws import OPTION_CLASS, format_endpoint
from gwlbemu.wire.geneve import PROTOCOL_IPV4, PROTOCOL_IPV6, Option
from gwlbemu.wire.protocols import name
from gwlbemu.wire.tcp import flags_text


def selected(reader: CaptureReader, flow: FlowFilter | None) -> Iterator[tuple[CapturedPacket, Dissection | None]]:
    """Yield every packet, with its dissection where `flow` matches (no filter matches all)."""
    for captured in reader:
        dissection = dissect(captured)
        yield captured, dissection if flow is None or flow.matches(dissection) else None


def count_text(shown: int, total: int) -> str:
    """Return how many packets there were, and how many of them were shown."""
    packets = f"{total} packet{'' if total == 1 else 's'}"
    return packets if shown == total else f"{shown} of {packets}"


def losses(reader: CaptureReader) -> Iterator[str]:
    """Yield what is not in a file that has been read: where a broken one ends and why, and what the taps lost."""
    if not reader.ending.complete:
        yield plain(f"the file cannot be read beyond byte {reader.ending.offset}: {reader.ending.reason}")
    for interface, counts in reader.statistics.items():
        if counts.dropped:
            yield f"{plain(interface)}: {counts.dropped} packets were lost before the capture could write them"


def line(captured: CapturedPacket, dissection: Dissection) -> str:
    """Return a packet in one line: number, time (UTC), interface, direction, outer, options, inner, comments."""
    place = f"{captured.interface.name} {captured.direction}".strip()
    parts = (
        [f"{captured.number:>5}", time_text(captured.at_ns)]
        + ([place] if place else [])
        + [_content(captured, dissection)]
    )
    if dissection.trouble:
        parts.append(f"({dissection.trouble})")
    if captured.is_cut:
        parts.append(f"(cut to {len(captured.data)} of {captured.original_length} bytes)")
    if captured.comments:
        parts.append("# " + " # ".join(" ".join(comment.split()) for comment in captured.comments))
    return plain("  ".join(parts))


def time_text(at_ns: int) -> str:
    """Return the time of day, UTC, with nanoseconds."""
    seconds, nanoseconds = divmod(at_ns, 1_000_000_000)
    return f"{datetime.fromtimestamp(seconds % 86400, UTC):%H:%M:%S}.{nanoseconds:09d}"


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
    }


def _content(captured: CapturedPacket, dissection: Dissection) -> str:
    if dissection.tunnel and dissection.outer:
        outer = f"{ends_text(dissection.outer.ip)} {tunnel_text(dissection.tunnel)}"
        return f"{outer} | {packet_text(dissection.inner)}" if dissection.inner else outer
    if dissection.outer:
        return packet_text(dissection.outer)
    return f"{ethertype_name(dissection.ethertype)} len {captured.original_length}"


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
        "source_port": ip.source_port,
        "destination_port": ip.destination_port,
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
    }
