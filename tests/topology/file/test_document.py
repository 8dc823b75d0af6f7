"""YAML as people get it wrong."""

from __future__ import annotations

import pytest

from gwlbemu.errors import TopologyError
from gwlbemu.topology.file.document import dotted, read
from gwlbemu.topology.file.parse import parse


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("lab: x\nvpcs: [", "f.yaml:2: this is not YAML"),
        ("lab: x\n\tvpcs: 3", "f.yaml:2: this is not YAML"),
        ("lab: \x00", "f.yaml:1: this is not YAML: the character U+0000"),
        ("lab: x\nlab: y\n", "f.yaml:2: lab: this key stands twice, first on line 1"),
        ("a:\n  - {b: 1, b: 2}\n", "f.yaml:2: a[0].b: this key stands twice"),
        ("? [a]\n: 1\n", "expected a key that is plain text"),
        ("a: &x {b: 1}\nc: {<<: *x}\n", "f.yaml:2: c.<<: expected a key that is plain text (merge keys are not read)"),
        ("a: &x [*x]\n", "nested deeper than 20 levels"),
        ("a: 1\n---\nb: 2\n", "this is not YAML"),
    ],
)
def test_yaml_that_cannot_be_used_is_refused_with_its_line(text: str, words: str) -> None:
    with pytest.raises(TopologyError) as caught:
        read(text, "f.yaml")
    assert words in str(caught.value)


@pytest.mark.parametrize("text", ["", "# nothing\n", "null\n", "[]", "text", "3"])
def test_a_file_that_is_no_topology_is_refused(text: str) -> None:
    with pytest.raises(TopologyError, match=r"f\.yaml:1: the file: expected"):
        parse(text, "f.yaml")


def test_an_anchor_may_be_used_again() -> None:
    assert read("a: &x {b: [1, true, null, 1.5, t]}\nc: *x\n", "f").data == {
        "a": {"b": (1, True, None, 1.5, "t")},
        "c": {"b": (1, True, None, 1.5, "t")},
    }


def test_aliases_that_expand_beyond_measure_are_refused_at_once() -> None:
    levels = ["l0: &l0 [x, x, x, x, x, x, x, x, x]"]
    levels += [f"l{n}: &l{n} [{', '.join([f'*l{n - 1}'] * 9)}]" for n in range(1, 10)]
    with pytest.raises(TopologyError, match=r"f\.yaml: more than 100,000 values"):
        read("\n".join(levels), "f.yaml")


def test_lines_are_those_of_the_keys() -> None:
    lines = read("a: 1\nb:\n  - c: 2\n    d: 3\n", "f").lines
    assert (lines[("a",)], lines[("b",)], lines[("b", 0, "d")]) == (1, 2, 4)


def test_a_path_is_written_as_a_person_would() -> None:
    assert dotted(("vpcs", 0, "subnets", 2, "cidr")) == "vpcs[0].subnets[2].cidr"
    assert dotted(("attributes", "a.b")) == "attributes['a.b']"
