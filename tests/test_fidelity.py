"""FIDELITY.md tells the truth: it is up to date, and every marker names a line of the contract."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fidelity import PAGE, MarkerError, Proof, contract, page, proofs, unknown_ids

MARKERS = """
import pytest
TABLE = [Case("GV-01 in words", ("AA-09", "AA-10"))]
CASES = [pytest.param(1, marks=pytest.mark.contract("AA-04")), 2]
pytestmark = [pytest.mark.contract("AA-01")]

@pytest.mark.contract("AA-02", "AA-03")
def test_alone(): ...

@pytest.mark.parametrize("case", CASES)
def test_from_a_list(case): ...

@pytest.mark.parametrize("case", [pytest.param(1, marks=[pytest.mark.contract("AA-05")])])
def test_in_place(case): ...

@pytest.mark.namespace
@pytest.mark.contract("AA-06")
class TestTogether:
    pytestmark = pytest.mark.contract("AA-07")
    def test_in_a_class(self): ...

def cases(table):
    return [pytest.param(case, marks=pytest.mark.contract(*case.contract)) for case in table]

@pytest.mark.parametrize("case", cases(TABLE))
def test_of_a_table(case): ...

@pytest.mark.xfail
@pytest.mark.contract("AA-08")
def test_that_does_not_hold_yet(): ...
"""


def test_fidelity_page_is_up_to_date() -> None:
    assert PAGE.read_text() == page(contract(), proofs()), "run `make fidelity` and commit FIDELITY.md"


def test_every_marker_names_a_line_of_the_contract() -> None:
    assert not unknown_ids(contract(), proofs())


def test_contract_has_all_its_lines_once_and_each_names_a_page() -> None:
    lines = [line for section in contract() for line in section.lines]
    assert len(lines) == len({line.id for line in lines}) == 105
    assert all(line.pages and line.behaviour and line.aws and set(line.evidence) <= {"D", "C", "I"} for line in lines)


def _markers(folder: Path, text: str) -> dict[str, list[str]]:
    tests = folder / "tests"
    tests.mkdir()
    (tests / "test_some.py").write_text(text)
    return {
        each: [proof.test.rpartition("::")[2] + (" on packets" if proof.packets else "") for proof in found]
        for each, found in proofs(tests).items()
    }


def test_markers_of_functions_classes_modules_and_parameters_are_found(tmp_path: Path) -> None:
    found = _markers(tmp_path, MARKERS)
    assert found.pop("AA-01") == [
        "test_in_a_class on packets", "test_alone", "test_from_a_list", "test_in_place", "test_of_a_table",
    ]  # fmt: skip
    assert found == {
        "AA-02": ["test_alone"],
        "AA-03": ["test_alone"],
        "AA-04": ["test_from_a_list"],
        "AA-05": ["test_in_place"],
        "AA-06": ["test_in_a_class on packets"],
        "AA-07": ["test_in_a_class on packets"],
        "AA-09": ["test_of_a_table"],
        "AA-10": ["test_of_a_table"],
    }


@pytest.mark.parametrize(
    "text",
    ["X = 'GV-01'\n@pytest.mark.contract(X)\ndef test_it(): ...", "@pytest.mark.contract('GV-1')\ndef test_it(): ..."],
)
def test_a_marker_that_is_not_a_literal_id_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(MarkerError, match="expected IDs such as"):
        _markers(tmp_path, text)


def test_a_marker_on_something_that_is_no_test_is_refused(tmp_path: Path) -> None:
    with pytest.raises(MarkerError, match=r"test_some.py:1: no test carries"):
        _markers(tmp_path, "@pytest.mark.contract('GV-01')\ndef helper(): ...")


def test_a_line_without_a_test_is_said_to_be_not_reproduced_and_a_choice_is_said_to_be_ours() -> None:
    sections = contract()
    text = page(sections, {"GV-04": [Proof(f"tests/t.py::test_{n}", n == 0) for n in range(5)]})
    rows = {line.split(" | ")[0].strip("| "): line for line in text.splitlines()}
    assert "**I, our choice**" in rows["GV-04"]
    assert "on real packets: `t.py::test_0`; pure: `t.py::test_1`, `t.py::test_2`; 5 tests in all" in rows["GV-04"]
    assert "*not reproduced yet*: no test names it yet" in rows["GV-05"]
    assert "*not reproduced yet*: nothing deletes an endpoint of a running lab" in rows["EP-05"]
    assert "**1 of 105 behaviours are proved by a test**, 1 of them on real packets in\n" in text
