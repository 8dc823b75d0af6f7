from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gwlbemu.errors import WireError
from gwlbemu.wire import geneve
from gwlbemu.wire.geneve import Header, Option
from tests.paths import PCAPS
from tests.wire.wire_helpers import GOLDEN_HEADER, recorded

GOLDEN = Header(
    protocol_type=0x0800,
    options=(
        Option(0x0108, 1, bytes.fromhex("2356de92d389839c")),
        Option(0x0108, 2, bytes(8)),
        Option(0x0108, 3, bytes.fromhex("98ef1b00")),
    ),
)

option = st.builds(
    Option,
    st.integers(0, 0xFFFF),
    st.integers(0, 0x7F),
    st.integers(0, 3).flatmap(lambda n: st.binary(min_size=4 * n, max_size=4 * n)),
    st.booleans(),
)
header = st.builds(
    Header,
    st.integers(0, 0xFFFF),
    st.integers(0, 0xFFFFFF),
    st.lists(option, max_size=12).map(tuple),
    st.booleans(),
    st.booleans(),
)


def test_the_golden_header_decodes() -> None:
    assert geneve.decode(GOLDEN_HEADER) == (GOLDEN, 40)


def test_the_golden_header_is_what_its_values_encode_to() -> None:
    assert geneve.encode(GOLDEN) == GOLDEN_HEADER
    assert GOLDEN.length == 40


@given(header, st.binary(max_size=8))
def test_decode_is_the_inverse_of_encode_and_finds_the_payload(value: Header, payload: bytes) -> None:
    data = geneve.encode(value)
    assert geneve.decode(data + payload) == (value, len(data))
    assert value.length == len(data)


@given(st.binary(max_size=300))
def test_any_bytes_decode_or_raise_a_wire_error(data: bytes) -> None:
    try:
        value, offset = geneve.decode(data)
    except WireError:
        return
    assert offset <= len(data)
    assert geneve.decode(geneve.encode(value)) == (value, offset)


@pytest.mark.parametrize("length", range(40))
def test_a_header_cut_off_anywhere_is_an_error(length: int) -> None:
    with pytest.raises(WireError):
        geneve.decode(GOLDEN_HEADER[:length])


@pytest.mark.parametrize("version", [1, 2, 3])
def test_any_version_but_0_is_an_error(version: int) -> None:
    with pytest.raises(WireError, match=f"version {version}"):
        geneve.decode(bytes((version << 6 | 8,)) + GOLDEN_HEADER[1:])


@pytest.mark.parametrize(
    ("what", "data"),
    [
        ("an option longer than the options", "0100080000000000 01080101"),
        ("an option longer than what is left of the options", "0300080000000000 01080301 98ef1b00 01080101"),
        ("options longer than the packet", "0300080000000000 01080301 98ef1b00"),
        ("an option of 31 words in 1", "0200080000000000 0108011f 00000000"),
    ],
)
def test_an_impossible_length_is_an_error_even_with_bytes_behind_it(what: str, data: str) -> None:
    with pytest.raises(WireError):
        geneve.decode(bytes.fromhex(data) + (b"" if what.startswith("options") else bytes(200)))


def test_reserved_bits_are_ignored_on_receipt_and_sent_as_zero() -> None:
    dirty = bytearray(GOLDEN_HEADER)
    dirty[1] |= 0x3F
    dirty[7] = 0xFF
    dirty[11] |= 0xE0
    value, offset = geneve.decode(bytes(dirty))
    assert (value, offset) == (GOLDEN, 40)
    assert geneve.encode(value) == GOLDEN_HEADER


def test_the_control_and_critical_bits_are_told_apart() -> None:
    assert geneve.decode(bytes.fromhex("0080080000000100"))[0] == Header(0x0800, vni=1, control=True)
    assert geneve.decode(bytes.fromhex("0040080000000100"))[0] == Header(0x0800, vni=1, critical=True)


def test_unknown_options_are_kept_as_they_came() -> None:
    data = bytes.fromhex("0240655812345600 abcd8101 cafebabe")
    value, _ = geneve.decode(data)
    assert value.options == (Option(0xABCD, 1, bytes.fromhex("cafebabe"), critical=True),)
    assert geneve.encode(value) == data


@pytest.mark.parametrize(
    "value",
    [
        Header(0x10000),
        Header(0x0800, vni=1 << 24),
        Header(0x0800, options=(Option(0x10000, 1),)),
        Header(0x0800, options=(Option(1, 0x80),)),
        Header(0x0800, options=(Option(1, 1, b"abc"),)),
        Header(0x0800, options=(Option(1, 1, bytes(128)),)),
        Header(0x0800, options=(Option(1, 1, bytes(124)),) * 2),
    ],
)
def test_a_value_that_does_not_fit_its_field_is_an_error(value: Header) -> None:
    with pytest.raises(WireError):
        geneve.encode(value)


@pytest.mark.parametrize("name", sorted(path.name for path in PCAPS.glob("*.pcap")) or ["none"])
def test_every_header_in_the_recorded_captures_decodes_and_encodes_to_the_same_bytes(name: str) -> None:
    count = 0
    for frame in recorded(name):
        if frame[12:14] == b"\x08\x00" and frame[23] == 17 and b"\x17\xc1" in frame[34:38]:
            value, offset = geneve.decode(frame[42:])
            assert geneve.encode(value) == frame[42 : 42 + offset]
            count += 1
        elif frame[12:14] == b"\x86\xdd" and frame[20] == 17 and b"\x17\xc1" in frame[54:58]:
            value, offset = geneve.decode(frame[62:])
            assert geneve.encode(value) == frame[62 : 62 + offset]
            count += 1
    assert count > 0


def test_scapy_reads_the_same_values_from_a_good_header() -> None:
    from scapy.contrib.geneve import GENEVE

    value = Header(
        0x0800, 0xABCDEF, (Option(0x1234, 5, b"12345678"), Option(0x99, 6, b"", critical=True)), critical=True
    )
    theirs = GENEVE(geneve.encode(value))
    assert (theirs.proto, theirs.vni, theirs.critical, theirs.oam) == (0x0800, 0xABCDEF, 1, 0)
    assert [(o.classid, o.type, bytes(o.data or b"")) for o in theirs.options] == [
        (0x1234, 5, b"12345678"),
        (0x99, 0x86, b""),
    ]
