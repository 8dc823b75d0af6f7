"""The switches of what AWS leaves open."""

from typing import Any

import pytest

from gwlbemu.core.emulation import EXPLANATIONS, Emulation
from gwlbemu.errors import SettingError


@pytest.mark.parametrize(
    ("wrong", "expected"),
    [
        ({"source_port": "random"}, "aws or rfc8926"),
        ({"ttl_decrement": 3}, "0 or 1 or 2"),
        ({"ttl_decrement": True}, "0 or 1 or 2"),
        ({"fin_linger_seconds": -1}, "a number of seconds"),
        ({"fin_linger_seconds": None}, "a number of seconds"),
        ({"half_open_timeout_seconds": "30"}, "a number of seconds or null"),
        ({"mss_clamp": 1}, "true or false"),
        ({"max_flows": 0}, "a whole number from 1 to 10000000"),
        ({"max_flows": 1e6}, "a whole number"),
        ({"max_flows": True}, "a whole number"),
        ({"max_flows": None}, "a whole number"),
        ({"reset_ends": "server"}, "sender or both"),
        ({"colour": "red"}, "unknown key 'colour'"),
    ],
)
def test_a_switch_is_refused_by_name_with_what_was_expected(wrong: dict[str, Any], expected: str) -> None:
    with pytest.raises(SettingError, match=expected) as refused:
        Emulation.from_values(wrong)
    assert next(iter(wrong)) in str(refused.value)


def test_every_switch_has_one_line_of_explanation() -> None:
    assert EXPLANATIONS.keys() == set(Emulation.__dataclass_fields__)
    assert (
        Emulation.from_values({"half_open_timeout_seconds": None, "fin_linger_seconds": 0.5}).fin_linger_seconds == 0.5
    )
