"""nftables rules that its language has no words for: an address in a quoted packet, with the quoted header's checksum.

The kernel's payload expression mends any Internet checksum it is told of (linux/netfilter/nf_tables.h,
NFTA_PAYLOAD_CSUM_OFFSET); `nft` can name only that of the header a field belongs to. So these rules are put together
here, an `immediate` and a `payload` expression each.
"""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Sequence

from gwlbemu.errors import NetError
from gwlbemu.topology.plan.machine_half import AddressRewrite

NETLINK_NETFILTER, NFNL_SUBSYS_NFTABLES, NFT_MSG_NEWRULE = 12, 10, 6
NFNL_MSG_BATCH_BEGIN, NFNL_MSG_BATCH_END = 0x10, 0x11
REQUEST, ACK, CREATE, APPEND = 0x1, 0x4, 0x400, 0x800
NESTED = 0x8000
NFPROTO_IPV4 = 2
RULE_TABLE, RULE_CHAIN, RULE_EXPRESSIONS = 1, 2, 4
LIST_ELEMENT, EXPRESSION_NAME, EXPRESSION_DATA = 1, 1, 2
IMMEDIATE_REGISTER, IMMEDIATE_DATA, DATA_VALUE = 1, 2, 1
PAYLOAD_BASE, PAYLOAD_OFFSET, PAYLOAD_LENGTH, PAYLOAD_REGISTER = 2, 3, 4, 5
PAYLOAD_CHECKSUM, PAYLOAD_CHECKSUM_OFFSET = 6, 7
REGISTER_1, TRANSPORT_HEADER, INTERNET_CHECKSUM = 1, 2, 1


def append(rewrites: Sequence[AddressRewrite]) -> None:
    """Append the rules to their chains in the network namespace of the calling thread; all of them or none.

    Raises NetError when the kernel refuses one.
    """
    if not rewrites:
        return
    last = len(rewrites) - 1
    messages = [_message(NFNL_MSG_BATCH_BEGIN, REQUEST, NFNL_SUBSYS_NFTABLES)]
    for number, rewrite in enumerate(rewrites):
        flags = REQUEST | CREATE | APPEND | (ACK if number == last else 0)
        messages.append(_message(NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_NEWRULE, flags, 0, _rule(rewrite)))
    messages.append(_message(NFNL_MSG_BATCH_END, REQUEST, NFNL_SUBSYS_NFTABLES))
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, NETLINK_NETFILTER) as netlink:
        netlink.bind((0, 0))
        netlink.send(b"".join(messages))
        # An error comes for whichever message caused it, before the answer to the last one.
        error = -struct.unpack_from("=i", netlink.recv(4096), 16)[0]
    if error:
        raise NetError(f"nftables refused to rewrite quoted addresses: {os.strerror(error)}")


def _rule(rewrite: AddressRewrite) -> bytes:
    value = socket.inet_aton(rewrite.address)
    return b"".join(
        (
            _attribute(RULE_TABLE, rewrite.table.encode() + b"\0"),
            _attribute(RULE_CHAIN, rewrite.chain.encode() + b"\0"),
            _nest(
                RULE_EXPRESSIONS,
                _expression(
                    "immediate",
                    _number(IMMEDIATE_REGISTER, REGISTER_1),
                    _nest(IMMEDIATE_DATA, _attribute(DATA_VALUE, value)),
                ),
                _expression(
                    "payload",
                    _number(PAYLOAD_REGISTER, REGISTER_1),
                    _number(PAYLOAD_BASE, TRANSPORT_HEADER),
                    _number(PAYLOAD_OFFSET, rewrite.offset),
                    _number(PAYLOAD_LENGTH, len(value)),
                    _number(PAYLOAD_CHECKSUM, INTERNET_CHECKSUM),
                    _number(PAYLOAD_CHECKSUM_OFFSET, rewrite.checksum_offset),
                ),
            ),
        )
    )


def _message(kind: int, flags: int, resource: int, attributes: bytes = b"") -> bytes:
    family = struct.pack("!BBH", 0 if resource else NFPROTO_IPV4, 0, resource)
    return struct.pack("=IHHII", 20 + len(attributes), kind, flags, 0, 0) + family + attributes


def _attribute(kind: int, data: bytes) -> bytes:
    return struct.pack("=HH", 4 + len(data), kind) + data + bytes(-len(data) % 4)


def _nest(kind: int, *parts: bytes) -> bytes:
    return _attribute(kind | NESTED, b"".join(parts))


def _number(kind: int, value: int) -> bytes:
    return _attribute(kind, struct.pack("!I", value))


def _expression(name: str, *data: bytes) -> bytes:
    return _nest(LIST_ELEMENT, _attribute(EXPRESSION_NAME, name.encode() + b"\0"), _nest(EXPRESSION_DATA, *data))
