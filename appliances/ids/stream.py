"""One direction of a TCP connection, put back in order as far as matching needs it.

Rules of this file: bytes are handed out once, in sequence order; what came before stays readable up to `KEEP` bytes, so
that a content may span segments; segments ahead of a gap wait, at most `PENDING` bytes of them (each segment costs
`SEGMENT` more), and when they overflow the gap is given up. A retransmission with other bytes than the first is not
compared: the first copy counts.
"""

from __future__ import annotations

from typing import NamedTuple

KEEP = 16384
PENDING = 65536
SEGMENT = 128  # bytes of memory that a waiting segment takes beside its own: many tiny ones must not be for nothing
HALF = 1 << 31  # sequence numbers compare modulo 2**32 (RFC 9293, 3.4)


class Chunk(NamedTuple):
    """Bytes to search: `data` from `fresh` on has not been searched before."""

    data: bytes
    fresh: int


NOTHING = Chunk(b"", 0)


class Stream:
    """The sender's half of a connection; starts at the first segment that is seen."""

    __slots__ = ("_next", "_pending", "_pending_bytes", "_tail")

    def __init__(self) -> None:
        self._next: int | None = None
        self._tail = b""
        self._pending: dict[int, bytes] = {}
        self._pending_bytes = 0

    @property
    def held_bytes(self) -> int:
        """Memory that the kept and the waiting bytes take."""
        return len(self._tail) + self._pending_bytes

    def forget(self) -> None:
        """Give back all bytes; what comes next is searched without what came before."""
        self._tail = b""
        self._forget_pending()

    def take(self, sequence: int, payload: bytes, *, syn: bool = False) -> Chunk:
        """Take one segment; return what is now in order and was not before, behind the kept tail."""
        if syn:  # the SYN occupies one sequence number (RFC 9293, 3.4); a new one starts the stream again
            self._next, self._tail = (sequence + 1) % 2**32, b""
            self._forget_pending()
            sequence = self._next
        if self._next is None:
            self._next = sequence
        if not payload:
            return NOTHING
        ahead = (sequence - self._next) % 2**32
        if 0 < ahead < HALF:
            return self._wait(sequence, payload)
        fresh = payload[(self._next - sequence) % 2**32 :]
        return self._in_order(fresh) if fresh else NOTHING

    def _wait(self, sequence: int, payload: bytes) -> Chunk:
        known = self._pending.get(sequence)
        if known is None:
            self._pending[sequence] = payload
            self._pending_bytes += len(payload) + SEGMENT
        elif len(payload) > len(known):
            self._pending[sequence] = payload
            self._pending_bytes += len(payload) - len(known)
        if self._pending_bytes <= PENDING:
            return NOTHING
        # The missing piece did not come, or was lost before it reached us: go on behind the gap.
        assert self._next is not None
        self._next = min(self._pending, key=lambda start: (start - (self._next or 0)) % 2**32)
        self._tail = b""
        return self._in_order(b"")

    def _in_order(self, fresh: bytes) -> Chunk:
        assert self._next is not None
        parts = [fresh]
        self._next = (self._next + len(fresh)) % 2**32
        while self._pending:
            start = next((start for start in self._pending if (self._next - start) % 2**32 < HALF), None)
            if start is None:
                break
            waiting = self._pending.pop(start)
            self._pending_bytes -= len(waiting) + SEGMENT
            rest = waiting[(self._next - start) % 2**32 :]
            parts.append(rest)
            self._next = (self._next + len(rest)) % 2**32
        data = self._tail + b"".join(parts)
        chunk = Chunk(data, len(self._tail))
        self._tail = data[-KEEP:]
        return chunk

    def _forget_pending(self) -> None:
        self._pending.clear()
        self._pending_bytes = 0
