"""Header blocks of HTTP/2 (HPACK, RFC 7541): read in every form, written in the plainest one."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache

from gwlbemu.errors import WireError
from gwlbemu.wire.reader import Reader

Header = tuple[bytes, bytes]
LARGEST_TABLE, LARGEST_LIST = 4096, 65536  # bytes, by RFC 7541's own way to count
_OVERHEAD = 32  # bytes that an entry counts beside its texts (RFC 7541, 4.1)
# RFC 7541, Appendix A, from index 1 on: names, with values where there are some.
_STATIC = (
    ":authority|:method=GET|:method=POST|:path=/|:path=/index.html|:scheme=http|:scheme=https|:status=200|:status=204|"
    ":status=206|:status=304|:status=400|:status=404|:status=500|accept-charset|accept-encoding=gzip, deflate|"
    "accept-language|accept-ranges|accept|access-control-allow-origin|age|allow|authorization|cache-control|"
    "content-disposition|content-encoding|content-language|content-length|content-location|content-range|content-type|"
    "cookie|date|etag|expect|expires|from|host|if-match|if-modified-since|if-none-match|if-range|if-unmodified-since|"
    "last-modified|link|location|max-forwards|proxy-authenticate|proxy-authorization|range|referer|refresh|retry-after|"
    "server|set-cookie|strict-transport-security|transfer-encoding|user-agent|vary|via|www-authenticate"
)
# RFC 7541, Appendix B: how many bits each byte's code has, the last is the end's, as digits of base 36. The code is a
# canonical one: codes of one length ascend with their bytes.
_LENGTHS = (
    "dnsssssssoussussssssssusssssssss6aacd68baa8b8666555666666678f6cad67777777777777777777777878djde6f5656566657766"
    "6567655677777fbedskmkkmmmnmnnnnnonoomnonnnnlmnmnnomlkmmnnlnmmolmnnllmlnmnnkmmmnmmnqqkjmnmpqqqrrqopjlqrrqrollqq"
    "srrrkoklmllnmmppooqnqrqqrrrrrsrrrrrqu"
)
_END_OF_STRING = 256


def encode(headers: Iterable[Header]) -> bytes:
    """Return a block with these headers, each literal and never indexed. Names are in lower case."""
    block = bytearray()
    for name, value in headers:
        block.append(0)
        for text in (name, value):
            block += _integer(len(text), 7)
            block += text
    return bytes(block)


class Decoder:
    """Reads the blocks of one connection, in their order: they share a table."""

    def __init__(self) -> None:
        self._table: list[Header] = []  # the newest first
        self._size, self._largest = 0, LARGEST_TABLE

    def decode(self, block: bytes) -> list[Header]:
        """Return the headers of a block. Raises WireError for what is none, or larger than LARGEST_LIST."""
        reader, headers, total = Reader(block), [], 0
        while reader.left:
            first = reader.take(1)[0]
            if first & 0xE0 == 0x20:
                self._largest = _take_integer(reader, first, 5)
                if self._largest > LARGEST_TABLE:
                    raise WireError(f"a header table of {self._largest} bytes")
                self._evict()
                continue
            if first & 0x80:
                header = self._entry(_take_integer(reader, first, 7))
            else:
                index = _take_integer(reader, first, 6 if first & 0x40 else 4)
                name = self._entry(index)[0] if index else _take_string(reader)
                header = name, _take_string(reader)
                if first & 0x40:
                    self._table.insert(0, header)
                    self._size += _cost(header)
                    self._evict()
            total += _cost(header)
            if total > LARGEST_LIST:
                raise WireError(f"headers of more than {LARGEST_LIST} bytes")
            headers.append(header)
        return headers

    def _entry(self, index: int) -> Header:
        static = _static()
        if 1 <= index <= len(static):
            return static[index - 1]
        if len(static) < index <= len(static) + len(self._table):
            return self._table[index - len(static) - 1]
        raise WireError(f"no header has the index {index}")

    def _evict(self) -> None:
        while self._size > self._largest:
            self._size -= _cost(self._table.pop())


def _cost(header: Header) -> int:
    return len(header[0]) + len(header[1]) + _OVERHEAD


def _integer(value: int, bits: int) -> bytes:
    """RFC 7541, 5.1, with the bits before it 0."""
    most = (1 << bits) - 1
    if value < most:
        return bytes([value])
    written, value = bytearray([most]), value - most
    while value > 127:
        written.append(value & 127 | 128)
        value >>= 7
    return bytes([*written, value])


def _take_integer(reader: Reader, first: int, bits: int) -> int:
    most = (1 << bits) - 1
    value, shift = first & most, 0
    if value < most:
        return value
    while True:
        byte = reader.take(1)[0]
        value += (byte & 127) << shift
        shift += 7
        if not byte & 128:
            return value
        if shift > 28:
            raise WireError("an integer without end")


def _take_string(reader: Reader) -> bytes:
    first = reader.take(1)[0]
    text = reader.take(_take_integer(reader, first, 7))
    return _from_huffman(text) if first & 0x80 else text


def _from_huffman(data: bytes) -> bytes:
    codes, text, code, length = _codes(), bytearray(), 1, 0  # a 1 before the bits tells how many there are
    for byte in data:
        for position in range(7, -1, -1):
            code, length = code << 1 | byte >> position & 1, length + 1
            symbol = codes.get(code)
            if symbol is None:
                continue
            if symbol == _END_OF_STRING:
                raise WireError("an end within a text")
            text.append(symbol)
            code, length = 1, 0
    if length > 7 or code != (1 << length + 1) - 1:
        raise WireError("a text that ends within a code")
    return bytes(text)


@cache
def _codes() -> dict[int, int]:
    """The byte of each code, with a 1 before the code's bits."""
    lengths = [int(each, 36) for each in _LENGTHS]
    codes, code, before = {}, 0, 0
    for symbol in sorted(range(len(lengths)), key=lambda each: (lengths[each], each)):
        code <<= lengths[symbol] - before
        before = lengths[symbol]
        codes[1 << before | code] = symbol
        code += 1
    return codes


@cache
def _static() -> tuple[Header, ...]:
    entries = (each.partition("=") for each in _STATIC.split("|"))
    return tuple((name.encode(), value.encode()) for name, _, value in entries)
