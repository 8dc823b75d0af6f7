"""Every reason for which the core drops a packet is shown by a test."""

from __future__ import annotations

from gwlbemu.core.gateway.verdict import Reason
from tests.cases import ELSEWHERE, ENTRIES, RETURNS
from tests.paths import ROOT


def test_every_reason_has_a_row_in_the_table_of_cases_or_a_test_of_its_own() -> None:
    outcomes = [*(row.expected for row in ENTRIES), *(row.expected for row in RETURNS)]
    in_the_table = {each for each in outcomes if isinstance(each, Reason)}
    assert in_the_table | ELSEWHERE.keys() == set(Reason)
    assert not in_the_table & ELSEWHERE.keys()


def test_the_tests_of_the_others_are_there() -> None:
    for reason, file in ELSEWHERE.items():
        assert f"Reason.{reason.name}" in (ROOT / "tests" / file).read_text(), file
