"""DNS messages as a resolver and its client need them: one question, addresses or a code (RFC 1035 section 4).

EDNS (RFC 6891) is not spoken: what stands behind the question is not looked at, and every answer fits into 512 bytes.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import NamedTuple

from gwlbemu.errors import WireError

A, AAAA, ANY = 1, 28, 255  # QTYPE
IN = 1  # QCLASS
NOERROR, FORMERR, NXDOMAIN, NOTIMP, REFUSED = 0, 1, 3, 4, 5  # RCODE
PORT = 53
LONGEST = 512  # bytes of an answer by UDP (RFC 1035 section 2.3.4)
_HEAD, _END = struct.Struct("!HHHHHH"), struct.Struct("!HH")
_ANSWER, _OPCODE, _RECURSION_DESIRED, _RECURSION_AVAILABLE = 0x8000, 0x7800, 0x0100, 0x0080
_FIXED = struct.Struct("!HHIH")  # TYPE, CLASS, TTL, RDLENGTH, behind a record's name
_RECORD = struct.Struct("!HHHIH")  # a pointer to the name, TYPE, CLASS, TTL, RDLENGTH
_NAME_OF_THE_QUESTION = 0xC000 | _HEAD.size
_LONGEST_NAME = 255


class Question(NamedTuple):
    """What a client asks. `name` is in lower case, without the final dot; `code` is why it cannot be answered, or 0."""

    identity: int
    flags: int  # as they came
    name: str
    kind: int  # QTYPE
    code: int
    wire: bytes  # the question's section, as it came; b"" where it cannot be read


def decode_question(data: bytes) -> Question:
    """Return the question of a DNS message; WireError for what is to be answered with nothing at all.

    One that is not understood has the code FORMERR or NOTIMP.
    """
    if len(data) < _HEAD.size:
        raise WireError("a DNS message that is cut off")
    identity, flags, questions, *_ = _HEAD.unpack_from(data)
    if flags & _ANSWER:
        raise WireError("a DNS answer where a question was expected")
    if flags & _OPCODE:
        return Question(identity, flags, "", 0, NOTIMP, b"")
    try:
        if questions != 1:
            raise WireError(f"a DNS message with {questions} questions")
        name, end = _name(data, _HEAD.size)
        kind, kind_of_network = _END.unpack_from(data, end)
    except (WireError, struct.error):
        return Question(identity, flags, "", 0, FORMERR, b"")
    wire = data[_HEAD.size : end + _END.size]
    return Question(identity, flags, name, kind, NOERROR if kind_of_network == IN else REFUSED, wire)


def encode_answer(question: Question, code: int, addresses: Sequence[bytes] = (), ttl: int = 0) -> bytes:
    """Return the message that answers a question with a code and packed addresses, which live `ttl` seconds."""
    flags = _ANSWER | question.flags & (_OPCODE | _RECURSION_DESIRED) | _RECURSION_AVAILABLE | code
    head = _HEAD.pack(question.identity, flags, 1 if question.wire else 0, len(addresses), 0, 0)
    return head + question.wire + b"".join(_record(address, ttl) for address in addresses)


def encode_question(identity: int, name: str, kind: int) -> bytes:
    """Return the message that asks for the addresses of a name, A or AAAA. Raises WireError for what is no name."""
    labels = name.rstrip(".").encode("ascii", "replace").split(b".")
    if (
        not name.isascii()
        or not all(1 <= len(label) <= 63 for label in labels)
        or sum(map(len, labels)) + len(labels) >= _LONGEST_NAME
    ):
        raise WireError(f"{name[:100]!r} is no name")
    wire = b"".join(bytes((len(label),)) + label for label in labels) + b"\0"
    return _HEAD.pack(identity, _RECURSION_DESIRED, 1, 0, 0, 0) + wire + _END.pack(kind, IN)


def decode_addresses(data: bytes, identity: int) -> tuple[bytes, ...]:
    """Return the packed addresses of an answer to the question `identity`, none where there is no such name.

    Raises WireError for another message, one that cannot be read, and any code but NOERROR and NXDOMAIN.
    """
    if len(data) < _HEAD.size:
        raise WireError("a DNS message that is cut off")
    got, flags, questions, answers, *_ = _HEAD.unpack_from(data)
    code = flags & 0xF
    if got != identity or not flags & _ANSWER:
        raise WireError("no answer to the question")
    if code not in (NOERROR, NXDOMAIN):
        raise WireError(f"the resolver refuses, code {code}")
    at, found = _HEAD.size, []
    try:
        for _ in range(questions):
            at = _name(data, at)[1] + _END.size
        for _ in range(answers):
            at = at + 2 if data[at] & 0xC0 == 0xC0 else _name(data, at)[1]
            kind, _, _, length = _FIXED.unpack_from(data, at)
            at += _FIXED.size
            if kind in (A, AAAA):
                found.append(data[at : at + length])
            at += length
    except (struct.error, IndexError):
        raise WireError("a DNS answer that is cut off") from None
    return tuple(each for each in found if len(each) in (4, 16))


def _record(address: bytes, ttl: int) -> bytes:
    kind = A if len(address) == 4 else AAAA
    return _RECORD.pack(_NAME_OF_THE_QUESTION, kind, IN, ttl, len(address)) + address


def _name(data: bytes, start: int) -> tuple[str, int]:
    """Return the name at `start` and where it ends. A question has no name before it to point to."""
    labels, at = [], start
    while True:
        if at >= len(data):
            raise WireError("a name that is cut off")
        length = data[at]
        at += 1
        if length == 0:
            break
        if length > 63 or at + length > len(data) or at + length - start >= _LONGEST_NAME:
            raise WireError("a label that is too long, or a pointer")
        # A dot inside a label is none between two; and whatever is no ASCII is in no name of ours.
        labels.append(data[at : at + length].decode("latin-1").lower().replace(".", "\\."))
        at += length
    return ".".join(labels), at
