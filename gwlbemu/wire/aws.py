"""AWS's three GENEVE options: class 0x0108, types 1, 2, 3, not critical, in this order.

Byte layout from public captures; the names of types 1 and 3 from the CloudWatch metrics page of the Gateway Load
Balancer guide.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

from gwlbemu.errors import WireError
from gwlbemu.wire import geneve

OPTION_CLASS = 0x0108
ENDPOINT_ID, ATTACHMENT_ID, FLOW_COOKIE = 1, 2, 3
HEADER_LENGTH = 40
_SIZES = {ENDPOINT_ID: 8, ATTACHMENT_ID: 8, FLOW_COOKIE: 4}
_USUAL = struct.Struct(">4s4s4sQ4sQ4sI")
_BASE_V4, _BASE_V6, _ZERO = b"\x08\x00\x08\x00", b"\x08\x00\x86\xdd", b"\0\0\0\0"
_HEADS = (b"\x01\x08\x01\x02", b"\x01\x08\x02\x02", b"\x01\x08\x03\x01")
_VPCE = "vpce-0"


class AwsOptions(NamedTuple):
    """What a header says in AWS's terms; None for an option that is not there."""

    endpoint_id: int | None = None
    attachment_id: int | None = None
    flow_cookie: int | None = None


def encode_header(protocol_type: int, endpoint_id: int, flow_cookie: int, attachment_id: int = 0) -> bytes:
    """Return the exact 40 bytes between UDP and the inner packet; the same bytes serve both directions of a flow."""
    base = protocol_type.to_bytes(2, "big")
    try:
        return _USUAL.pack(
            b"\x08\x00" + base, _ZERO, _HEADS[0], endpoint_id, _HEADS[1], attachment_id, _HEADS[2], flow_cookie
        )
    except struct.error as error:
        raise WireError(
            f"endpoint id {endpoint_id:#x}, attachment id {attachment_id:#x} or cookie {flow_cookie:#x} is too long"
        ) from error


def parse(header: geneve.Header) -> AwsOptions:
    """Pick AWS's options out of a decoded header, in any order, the first of each type.

    Other options are passed over. Raises WireError when one of ours has the wrong length.
    """
    found: dict[int, int] = {}
    for option in header.options:
        if option.option_class == OPTION_CLASS and option.type in _SIZES:
            if len(option.data) != _SIZES[option.type]:
                raise WireError(
                    f"AWS option type {option.type} has {len(option.data)} bytes, expected {_SIZES[option.type]}"
                )
            found.setdefault(option.type, int.from_bytes(option.data, "big"))
    return AwsOptions(found.get(ENDPOINT_ID), found.get(ATTACHMENT_ID), found.get(FLOW_COOKIE))


def parse_usual(header: bytes) -> AwsOptions | None:
    """Read a header that is laid out exactly as `encode_header` does, ten times faster than decode and parse.

    None for any other layout, which may still be a good one: then decode it.
    """
    if len(header) != HEADER_LENGTH:
        return None
    base, vni, head1, endpoint_id, head2, attachment_id, head3, flow_cookie = _USUAL.unpack(header)
    if vni == _ZERO and (head1, head2, head3) == _HEADS and base in (_BASE_V4, _BASE_V6):
        return AwsOptions(endpoint_id, attachment_id, flow_cookie)
    return None


def unknown_critical(header: geneve.Header) -> geneve.Option | None:
    """Return the first critical option outside AWS's set: the packet MUST be dropped (RFC 8926 section 3.5)."""
    for option in header.options:
        if option.critical and not (option.option_class == OPTION_CLASS and option.type in _SIZES):
            return option
    return None


def format_endpoint(endpoint_id: int) -> str:
    """Return the VPC endpoint id that a 64-bit option value stands for: `vpce-0` and 16 hex digits."""
    return f"{_VPCE}{endpoint_id:016x}"


def parse_endpoint(text: str) -> int:
    """Return the 64-bit option value of a VPC endpoint id.

    Raises WireError unless it is `vpce-0` and 16 lower-case hex digits.
    """
    digits = text.removeprefix(_VPCE)
    if not text.startswith(_VPCE) or len(digits) != 16 or not set(digits) <= set("0123456789abcdef"):
        raise WireError(f"{text!r} is not an endpoint id: expected vpce-0 and 16 hex digits")
    return int(digits, 16)
