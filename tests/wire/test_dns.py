"""DNS messages: what is read of a question, the bytes of an answer, and nothing that a hostile one could break."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gwlbemu.errors import WireError
from gwlbemu.wire.dns import (
    AAAA,
    FORMERR,
    LONGEST,
    NOERROR,
    NOTIMP,
    NXDOMAIN,
    REFUSED,
    A,
    Question,
    decode_question,
    encode_answer,
)

# What dig 9.18 sends for `dig Web.app.INTERNAL A`: identity 0x02d7, RD and AD, an OPT record with a cookie behind it.
HEAD = bytes.fromhex("02d701200001000000000001")
NAME = b"\x03Web\x03app\x08INTERNAL\x00"
QUESTION = NAME + b"\x00\x01\x00\x01"
OPT = bytes.fromhex("00002904d000000000000c000a00080123456789abcdef")


def test_a_question_is_read_without_regard_to_case_and_without_what_stands_behind_it() -> None:
    assert decode_question(HEAD + QUESTION + OPT) == Question(0x02D7, 0x0120, "web.app.internal", A, NOERROR, QUESTION)


def test_an_answer_repeats_the_question_as_it_came_and_points_to_its_name() -> None:
    question = decode_question(HEAD + QUESTION + OPT)
    answer = encode_answer(question, NOERROR, [bytes([10, 0, 1, 10]), bytes([10, 0, 2, 10])], 60)
    assert answer == (
        bytes.fromhex("02d7 8180 0001 0002 0000 0000")
        + QUESTION
        + bytes.fromhex("c00c 0001 0001 0000003c 0004 0a00010a")
        + bytes.fromhex("c00c 0001 0001 0000003c 0004 0a00020a")
    )


def test_an_ipv6_address_is_a_record_of_its_own_type() -> None:
    question = decode_question(HEAD + NAME + b"\x00\x1c\x00\x01")
    answer = encode_answer(question, NOERROR, [bytes(15) + b"\x01"], 60)
    assert question.kind == AAAA
    assert answer.endswith(bytes.fromhex("c00c 001c 0001 0000003c 0010") + bytes(15) + b"\x01")


def test_an_error_has_no_records() -> None:
    answer = encode_answer(decode_question(HEAD + QUESTION), NXDOMAIN)
    assert answer == bytes.fromhex("02d7 8183 0001 0000 0000 0000") + QUESTION


@pytest.mark.parametrize(
    ("message", "code"),
    [
        (bytes.fromhex("02d701200002000000000000") + QUESTION + QUESTION, FORMERR),  # two questions
        (bytes.fromhex("02d701200000000000000000"), FORMERR),
        (HEAD + QUESTION[:-1], FORMERR),
        (HEAD + NAME[:-2], FORMERR),
        (HEAD + b"\xc0\x0c\x00\x01\x00\x01", FORMERR),  # a pointer
        (HEAD + b"\x3f" + b"a" * 63 + b"\x00", FORMERR),
        (HEAD + (b"\x3f" + b"a" * 63) * 4 + b"\x00\x00\x01\x00\x01", FORMERR),  # 257 bytes of name
        (bytes.fromhex("02d729200001000000000000") + QUESTION, NOTIMP),  # an UPDATE
        (HEAD + NAME + b"\x00\x01\x00\x03", REFUSED),  # CHAOS
    ],
)
def test_what_is_not_understood_is_answered_with_a_code(message: bytes, code: int) -> None:
    question = decode_question(message)
    assert question.code == code
    assert encode_answer(question, code)[:2] == b"\x02\xd7"
    assert encode_answer(question, code)[3] & 15 == code


@pytest.mark.parametrize("message", [b"", HEAD[:11], bytes.fromhex("02d781800001000000000000") + QUESTION])
def test_what_is_cut_off_and_what_is_an_answer_itself_gets_none(message: bytes) -> None:
    with pytest.raises(WireError):
        decode_question(message)


def test_a_dot_inside_a_label_is_none_between_two() -> None:
    assert decode_question(HEAD + b"\x0bweb.app.int\x00\x00\x01\x00\x01").name == "web\\.app\\.int"


@given(st.binary(max_size=600))
def test_no_bytes_raise_anything_but_wire_errors(data: bytes) -> None:
    try:
        question = decode_question(data)
    except WireError:
        return
    assert len(encode_answer(question, question.code)) <= LONGEST
