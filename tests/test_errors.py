"""Errors: a code and a sentence, apart from each other, and an exit code per class."""

from __future__ import annotations

import pytest

from gwlbemu import errors
from gwlbemu.errors import (
    AWS_CODES,
    AwsError,
    GwlbemuError,
    LabError,
    NetError,
    SettingError,
    TopologyError,
    UnknownNameError,
    WireError,
    refusal,
)

CLASSES = [each for each in vars(errors).values() if isinstance(each, type) and issubclass(each, GwlbemuError)]


def test_the_code_is_not_in_the_sentence() -> None:
    error = AwsError("no target group x", "TargetGroupNotFound")
    assert (str(error), error.code) == ("no target group x", "TargetGroupNotFound")
    assert (str(AwsError("bad value")), AwsError("bad value").code) == ("bad value", "ValidationError")
    assert SettingError("x", "NoSuchTrace").code == "NoSuchTrace"
    assert SettingError("x").code == SettingError.code == "InvalidInput"


def test_each_class_has_a_code_of_its_own_and_only_awss_refusals_have_one_of_awss() -> None:
    assert len({each.code for each in CLASSES}) == len(CLASSES)
    assert {each for each in CLASSES if each.code in AWS_CODES} == {AwsError}


@pytest.mark.parametrize(
    ("kind", "code"),
    [(TopologyError, 3), (SettingError, 3), (UnknownNameError, 3), (AwsError, 3), (WireError, 3), (LabError, 4),
     (NetError, 5)],
)  # fmt: skip
def test_the_exit_code_belongs_to_the_class(kind: type[GwlbemuError], code: int) -> None:
    assert kind("x").exit_code == code


@pytest.mark.parametrize(
    "kind", [TopologyError, SettingError, UnknownNameError, AwsError, WireError, LabError, NetError]
)
def test_an_error_that_crosses_a_socket_as_code_and_sentence_is_the_same_on_the_other_side(
    kind: type[GwlbemuError],
) -> None:
    sent = kind("one sentence")
    received = refusal(str(sent), sent.code)
    assert (type(received), str(received), received.code) == (kind, "one sentence", sent.code)


def test_awss_codes_come_back_as_awss_refusals_and_unknown_ones_as_ours() -> None:
    assert type(refusal("x", "TooManyTargets")) is AwsError
    assert (type(refusal("x", "NoSuchTrace")), refusal("x", "NoSuchTrace").code) == (SettingError, "NoSuchTrace")
    assert refusal("x", "").code == SettingError.code
