from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gwlbemu.errors import WireError
from gwlbemu.wire import aws, geneve
from gwlbemu.wire.aws import AwsOptions
from gwlbemu.wire.geneve import Header, Option
from tests.wire.wire_helpers import GOLDEN_HEADER

ids, cookies = st.integers(0, 2**64 - 1), st.integers(0, 2**32 - 1)
GOLDEN = AwsOptions(0x2356DE92D389839C, 0, 0x98EF1B00)


@pytest.mark.contract("GV-05", "GV-06")
def test_the_header_is_the_golden_forty_bytes() -> None:
    assert aws.encode_header(0x0800, 0x2356DE92D389839C, 0x98EF1B00) == GOLDEN_HEADER


@pytest.mark.contract("GV-05")
def test_inner_ipv6_differs_only_in_the_protocol_type() -> None:
    assert aws.encode_header(0x86DD, 0x2356DE92D389839C, 0x98EF1B00) == (
        GOLDEN_HEADER[:2] + b"\x86\xdd" + GOLDEN_HEADER[4:]
    )


@given(st.sampled_from([0x0800, 0x86DD]), ids, ids, cookies)
def test_what_is_encoded_is_parsed_by_both_parsers(kind: int, endpoint: int, attachment: int, cookie: int) -> None:
    data = aws.encode_header(kind, endpoint, cookie, attachment)
    header, offset = geneve.decode(data)
    assert (offset, header.protocol_type) == (40, kind)
    assert aws.parse(header) == aws.parse_usual(data) == AwsOptions(endpoint, attachment, cookie)


@given(st.binary(min_size=40, max_size=40))
def test_the_fast_parser_never_says_more_than_the_careful_one(data: bytes) -> None:
    fast = aws.parse_usual(data)
    assert fast is None or aws.parse(geneve.decode(data)[0]) == fast


@pytest.mark.parametrize("index", [0, 1, 2, 4, 7, 8, 11, 20, 23, 32, 35])
def test_the_fast_parser_leaves_any_other_layout_to_the_careful_one(index: int) -> None:
    changed = bytearray(GOLDEN_HEADER)
    changed[index] ^= 0x40
    assert aws.parse_usual(bytes(changed)) is None
    assert aws.parse_usual(GOLDEN_HEADER + bytes(4)) is None


def test_options_are_found_in_any_order_among_others() -> None:
    options = (
        Option(0x0108, 3, bytes.fromhex("98ef1b00")),
        Option(0x9999, 1, b"abcd"),
        Option(0x0108, 9, b""),
        Option(0x0108, 1, bytes.fromhex("2356de92d389839c")),
    )
    assert aws.parse(Header(0x0800, options=options)) == GOLDEN._replace(attachment_id=None)


def test_the_first_of_two_equal_types_counts() -> None:
    options = (Option(0x0108, 3, b"\0\0\0\1"), Option(0x0108, 3, b"\0\0\0\2"))
    assert aws.parse(Header(0x0800, options=options)).flow_cookie == 1


@pytest.mark.parametrize(("kind", "size"), [(1, 4), (1, 12), (2, 4), (3, 0), (3, 8)])
def test_an_option_of_the_wrong_length_is_an_error(kind: int, size: int) -> None:
    with pytest.raises(WireError, match=f"type {kind}"):
        aws.parse(Header(0x0800, options=(Option(0x0108, kind, bytes(size)),)))


def test_only_a_critical_option_outside_aws_s_three_is_unknown_critical() -> None:
    ours, ignored = Option(0x0108, 1, bytes(8), critical=True), Option(0x9999, 1)
    unknown = Option(0x9999, 2, critical=True)
    assert aws.unknown_critical(Header(0x0800, options=(ours, ignored))) is None
    assert aws.unknown_critical(Header(0x0800, options=(ours, ignored, unknown))) == unknown


@pytest.mark.contract("GV-07")
def test_the_endpoint_id_is_the_sixteen_digits_after_vpce_0() -> None:
    assert aws.format_endpoint(0x2356DE92D389839C) == "vpce-02356de92d389839c"
    assert aws.parse_endpoint("vpce-02356de92d389839c") == 0x2356DE92D389839C
    assert aws.format_endpoint(0xAB) == "vpce-000000000000000ab"


@given(ids)
def test_endpoint_text_and_number_are_inverse(endpoint: int) -> None:
    assert aws.parse_endpoint(aws.format_endpoint(endpoint)) == endpoint


@pytest.mark.parametrize(
    "text",
    [
        "",
        "vpce-0",
        "vpce-12356de92d389839c",
        "vpce-02356de92d389839",
        "vpce-02356DE92D389839C",
        "eni-02356de92d389839c",
        "vpce-0+356de92d389839c",
    ],
)
def test_anything_else_is_not_an_endpoint_id(text: str) -> None:
    with pytest.raises(WireError):
        aws.parse_endpoint(text)


def test_an_id_that_is_too_long_is_an_error() -> None:
    with pytest.raises(WireError):
        aws.encode_header(0x0800, 1 << 64, 0)
    with pytest.raises(WireError):
        aws.encode_header(0x0800, 0, 1 << 32)
