"""GENEVE header, RFC 8926 section 3.4 and 3.5, for any option class.

What this file knows: the shape. Whether an unknown critical option or the O bit means "drop" is the caller's decision
(section 3.4). Reserved bits are ignored on receipt and sent as zero, so decode followed by encode clears them.
"""

from __future__ import annotations

from typing import NamedTuple

from gwlbemu.errors import WireError
from gwlbemu.wire.reader import Reader

PORT = 6081
BASE_LENGTH = 8
LONGEST_OPTION_DATA = 31 * 4
LONGEST_OPTIONS = 63 * 4
PROTOCOL_IPV4, PROTOCOL_IPV6, PROTOCOL_ETHERNET = 0x0800, 0x86DD, 0x6558


class Option(NamedTuple):
    """One option.

    `type` is the low seven bits; `critical` the high one; `data` is a multiple of 4 bytes, at most 124.
    """

    option_class: int
    type: int
    data: bytes = b""
    critical: bool = False


class Header(NamedTuple):
    """Base header and options. `protocol_type` is an ethertype, `control` the O bit, `critical` the C bit.

    The C bit is as it stands in the base header, whatever the options say.
    """

    protocol_type: int
    vni: int = 0
    options: tuple[Option, ...] = ()
    control: bool = False
    critical: bool = False

    @property
    def length(self) -> int:
        """How many bytes the header takes on the wire."""
        return BASE_LENGTH + sum(4 + len(option.data) for option in self.options)


def decode(data: bytes) -> tuple[Header, int]:
    """Return the header at the start of `data` and the offset of what follows it.

    Raises WireError for a version other than 0 (section 3.4) and for lengths that do not add up (section 3.5).
    """
    reader = Reader(data)
    first, flags = reader.number(1), reader.number(1)
    if first >> 6 != 0:
        raise WireError.of("GENEVE version", first >> 6, 0)
    protocol_type, vni = reader.number(2), reader.number(3)
    reader.take(1)
    options = []
    with reader.limit((first & 0x3F) * 4):
        while reader.left:
            options.append(_decode_option(reader))
    return Header(protocol_type, vni, tuple(options), bool(flags & 0x80), bool(flags & 0x40)), reader.position


def _decode_option(reader: Reader) -> Option:
    option_class, kind, length = reader.number(2), reader.number(1), reader.number(1) & 0x1F
    return Option(option_class, kind & 0x7F, reader.take(length * 4), bool(kind & 0x80))


def encode(header: Header) -> bytes:
    """Return the bytes of `header`; decode's inverse. Raises WireError for a value that its field cannot carry."""
    options = b"".join(_encode_option(option) for option in header.options)
    if len(options) > LONGEST_OPTIONS:
        raise WireError(f"{len(options)} bytes of options, at most {LONGEST_OPTIONS}")
    flags = header.control << 7 | header.critical << 6
    try:
        return (
            bytes((len(options) // 4, flags))
            + header.protocol_type.to_bytes(2, "big")
            + header.vni.to_bytes(3, "big")
            + b"\0"
            + options
        )
    except OverflowError as error:
        raise WireError(
            f"GENEVE protocol type {header.protocol_type} or VNI {header.vni} does not fit its field"
        ) from error


def _encode_option(option: Option) -> bytes:
    if len(option.data) % 4 or len(option.data) > LONGEST_OPTION_DATA:
        raise WireError(
            f"{len(option.data)} bytes of option data, expected a multiple of 4 up to {LONGEST_OPTION_DATA}"
        )
    if not (0 <= option.option_class <= 0xFFFF and 0 <= option.type <= 0x7F):
        raise WireError(f"option class {option.option_class} or type {option.type} does not fit its field")
    kind = option.type | option.critical << 7
    return option.option_class.to_bytes(2, "big") + bytes((kind, len(option.data) // 4)) + option.data
