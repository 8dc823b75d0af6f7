"""One request of HTTP/2 over a connection of its own: what a health check needs of RFC 9113, no more.

The answer's body is taken and thrown away. What a server sends beside it (SETTINGS, PING, WINDOW_UPDATE, other streams)
is answered where it has to be.
"""

from __future__ import annotations

import struct
from collections.abc import AsyncGenerator, Iterable, Mapping
from contextlib import aclosing
from typing import Protocol

from gwlbemu.errors import WireError
from gwlbemu.wire import hpack

MOST_BYTES = 1 << 18  # of an answer
_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_DATA, _HEADERS, _RST_STREAM, _SETTINGS, _PING, _GOAWAY, _WINDOW, _CONTINUATION = 0, 1, 3, 4, 6, 7, 8, 9
_ACK = _END_STREAM = 1
_END_HEADERS, _PADDED, _PRIORITY = 4, 8, 32
_STREAM = 1
_NO_PUSH = struct.pack(">HI", 2, 0)  # SETTINGS_ENABLE_PUSH


class Connection(Protocol):
    """What bytes go over."""

    async def send(self, data: bytes) -> None:
        """Send all of it."""

    async def receive(self) -> bytes:
        """Return what comes next, b"" at the end."""


async def ask(connection: Connection, headers: Iterable[tuple[str, str]], body: bytes = b"") -> Mapping[bytes, bytes]:
    """Send a request and return the headers of its answer, trailers among them, as soon as the answer has ended.

    Raises WireError with a sentence for an answer that is none.
    """
    block = hpack.encode((name.encode("latin-1"), value.encode("latin-1")) for name, value in headers)
    flags = _END_HEADERS | (0 if body else _END_STREAM)
    request = _PREFACE + _frame(_SETTINGS, 0, 0, _NO_PUSH) + _frame(_HEADERS, flags, _STREAM, block)
    await connection.send(request + (_frame(_DATA, _END_STREAM, _STREAM, body) if body else b""))
    decoder, found, block = hpack.Decoder(), dict[bytes, bytes](), b""
    ends = False
    async with aclosing(_frames(connection)) as frames:
        async for kind, flags, stream, payload in frames:
            if kind == _SETTINGS and not flags & _ACK:
                await connection.send(_frame(_SETTINGS, _ACK, 0, b""))
            elif kind == _PING and not flags & _ACK:
                await connection.send(_frame(_PING, _ACK, 0, payload))
            elif kind == _GOAWAY and int.from_bytes(payload[:4], "big") < _STREAM:
                raise WireError(f"HTTP/2 connection ended with error {int.from_bytes(payload[4:8], 'big')}")
            elif kind == _RST_STREAM and stream == _STREAM:
                raise WireError(f"HTTP/2 stream ended with error {int.from_bytes(payload, 'big')}")
            elif kind in (_HEADERS, _CONTINUATION):
                block += _fragment(payload, flags) if kind == _HEADERS else payload
                ends = ends or (kind == _HEADERS and bool(flags & _END_STREAM))
                if flags & _END_HEADERS:
                    found |= dict(decoder.decode(block))
                    block = b""
                if ends and not block:
                    return found
            elif kind == _DATA and stream == _STREAM:
                if payload:
                    credit = struct.pack(">I", len(payload))
                    await connection.send(_frame(_WINDOW, 0, 0, credit) + _frame(_WINDOW, 0, _STREAM, credit))
                if flags & _END_STREAM:
                    return found
    raise WireError("connection closed without an answer")


def _frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload


def _fragment(payload: bytes, flags: int) -> bytes:
    """The header block fragment of a HEADERS frame."""
    padding = 0
    if flags & _PADDED:
        padding, payload = (payload[0] if payload else 0), payload[1:]
    if flags & _PRIORITY:
        payload = payload[5:]
    if padding > len(payload):
        raise WireError("HTTP/2 headers that are all padding")
    return payload[: len(payload) - padding]


async def _frames(connection: Connection) -> AsyncGenerator[tuple[int, int, int, bytes], None]:
    """Yield kind, flags, stream and payload of each frame."""
    unread, total = b"", 0
    while data := await connection.receive():
        unread, total = unread + data, total + len(data)
        if total > MOST_BYTES:
            raise WireError("an answer without end")
        if total == len(unread) and not _may_begin(unread):
            what = "HTTP/1.1" if unread.startswith(b"HTTP/1") else repr(unread[:40])
            raise WireError(f"not an HTTP/2 answer: {what}")
        while len(unread) >= 9 and len(unread) >= 9 + (length := int.from_bytes(unread[:3], "big")):
            kind, flags, stream = struct.unpack(">BBI", unread[3:9])
            payload, unread = unread[9 : 9 + length], unread[9 + length :]
            yield kind, flags, stream & 0x7FFFFFFF, payload


def _may_begin(data: bytes) -> bool:
    """Whether an answer may begin so: with SETTINGS that are no ACK, of stream 0."""
    return len(data) < 9 or (data[3] == _SETTINGS and not data[4] & _ACK and data[5:9] == bytes(4))
