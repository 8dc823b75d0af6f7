"""Header blocks, judged by the package `hpack` and by RFC 7541's own examples."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gwlbemu.errors import WireError
from gwlbemu.wire.hpack import LARGEST_LIST, Decoder, encode

reference = pytest.importorskip("hpack")  # comes with h2
HEADERS = st.lists(st.tuples(st.binary(min_size=1, max_size=8), st.binary(max_size=300)), max_size=8)


def test_the_examples_of_the_rfc() -> None:
    """RFC 7541, C.6: responses with Huffman coding and a table of 256 bytes that evicts."""
    decoder = Decoder()
    decoder.decode(bytes.fromhex("3fe101"))  # the table gets 256 bytes
    first = bytes.fromhex(
        "488264025885aec3771a4b6196d07abe941054d444a8200595040b8166e082a62d1bff6e919d29ad171863c78f0b97c8e9ae82ae43d3"
    )
    assert decoder.decode(first) == [
        (b":status", b"302"),
        (b"cache-control", b"private"),
        (b"date", b"Mon, 21 Oct 2013 20:13:21 GMT"),
        (b"location", b"https://www.example.com"),
    ]
    assert decoder.decode(bytes.fromhex("4883640effc1c0bf"))[0] == (b":status", b"307")


@given(st.lists(HEADERS, max_size=5), st.booleans())
def test_what_others_write_is_read(blocks: list[list[tuple[bytes, bytes]]], huffman: bool) -> None:
    encoder, decoder = reference.Encoder(), Decoder()
    for headers in blocks:
        assert decoder.decode(encoder.encode(headers, huffman=huffman)) == headers


@given(HEADERS)
def test_what_is_written_is_read_by_others(headers: list[tuple[bytes, bytes]]) -> None:
    found = reference.Decoder().decode(encode(headers), raw=True)
    assert [(bytes(name), bytes(value)) for name, value in found] == headers
    assert Decoder().decode(encode(headers)) == headers


@given(st.binary(max_size=60))
def test_any_bytes_are_read_or_refused(block: bytes) -> None:
    try:
        Decoder().decode(block)
    except WireError:
        return


@pytest.mark.parametrize(
    "block",
    [
        b"\x80",  # index 0
        b"\xff\x00",  # index 127 of an empty table
        b"\xff\xff\xff\xff\xff\xff\xff\x01",  # an integer without end
        b"\x3f\xff\x7f",  # a larger table than there may be
        b"\x00\x81\xff\x00",  # padding of eight bits
        b"\x00\x84\xff\xff\xff\xff\x00",  # the end of a string within it
        b"\x40\x05ab",  # cut off
    ],
)
def test_what_is_no_block_is_refused(block: bytes) -> None:
    with pytest.raises(WireError):
        Decoder().decode(block)


def test_a_small_block_cannot_become_a_large_one() -> None:
    decoder = Decoder()
    decoder.decode(b"\x40\x01a\x7f\xe1\x1d" + b"v" * 3936)
    with pytest.raises(WireError, match=str(LARGEST_LIST)):
        decoder.decode(b"\xbe" * 1000)
