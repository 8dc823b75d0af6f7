"""The published designs have nothing to be found; with one line changed, doctor names that line.

The mutations that break a pair are found out by the path model alone, pair by pair: doctor has to notice.
"""

from __future__ import annotations

import pytest
import yaml

from gwlbemu.errors import TopologyError
from gwlbemu.review.finding import Finding
from gwlbemu.review.review import review
from gwlbemu.review.talk import Pair, Talk
from gwlbemu.topology.file.document import Path
from gwlbemu.topology.file.parse import parse
from gwlbemu.topology.file.schema import Topology
from tests.paths import SHARED
from tests.review.designs import DESIGNS, Data
from tests.review.mutations import Mutation, mutations

SMALL = ("D1", "D2", "D11", "D11-small")
ALIKE = ("D4", "D5", "D6")
PUBLISHED_CASES = (
    "ref-1-distributed/two-vpcs.yaml", "ref-2-central-egress/two-zones.yaml", "ref-5-alb-behind-endpoint/sandwich.yaml",
    "ref-6-nat-orders/nat-before-endpoint.yaml", "ref-10-ipv6/dual-stack-distributed.yaml",
)  # fmt: skip
Outcome = tuple[bool, tuple[bool, bool], bool]


def topology_of(data: Data) -> Topology:
    return parse(yaml.safe_dump(data, sort_keys=False), "design.yaml").topology


@pytest.mark.parametrize("name", DESIGNS)
def test_a_published_design_has_nothing_to_be_found(name: str) -> None:
    assert review(topology_of(DESIGNS[name]()), mtus={}) == []


@pytest.mark.parametrize("file", PUBLISHED_CASES)
def test_a_published_design_that_somebody_tried_has_nothing_to_be_found(file: str) -> None:
    path = SHARED / "cases" / file
    if not path.exists():
        pytest.skip(f"no {path}")
    assert review(parse(path.read_text(), file).topology, mtus={}) == []


def outcomes(topology: Topology, pairs: list[Pair]) -> dict[Pair, Outcome]:
    talk = Talk(topology)
    found = {pair: talk.walk(pair) for pair in pairs}
    return {pair: (each.answered, each.inspected, each.same_targets) for pair, each in found.items()}


def names(finding: Finding, path: Path) -> bool:
    """Whether a finding names a line: that line, or of one that is gone the table (or what has no table)."""
    return any(
        place[: len(path)] == path or (path[-2] == "routes" and place == path[:-2])
        for place in (finding.path, *finding.also)
    )


def breaking(data: Data, step: int) -> list[tuple[Mutation, Topology]]:
    """Return the mutations (each `step`th) that change what becomes of a pair that talks, with their topologies."""
    whole = topology_of(data)
    pairs = Talk(whole).pairs()
    before, found = outcomes(whole, pairs), []
    for mutation in list(mutations(data))[::step]:
        try:
            topology = topology_of(mutation.data)
        except TopologyError:
            continue
        after = outcomes(topology, pairs)
        if any(after[pair] != before[pair] and (after[pair][0] or before[pair][0]) for pair in pairs):
            found.append((mutation, topology))
    return found


def missed(data: Data, step: int = 1) -> tuple[int, list[str]]:
    """Return how many mutations break a pair, and those whose line no finding names."""
    broken = breaking(data, step)
    silent = [
        f"{mutation.what}: {mutation.path}"
        for mutation, topology in broken
        if not any(names(finding, mutation.path) for finding in review(topology, mtus={}))
    ]
    return len(broken), silent


@pytest.mark.parametrize("name", SMALL)
def test_each_change_of_one_line_that_breaks_a_pair_is_found_at_that_line(name: str) -> None:
    count, silent = missed(DESIGNS[name]())
    assert silent == []
    assert count > 5


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("name", [name for name in DESIGNS if name not in SMALL])
def test_each_change_of_one_line_of_a_large_design_is_found_at_that_line(name: str) -> None:
    """Of those that are much like D7 each third change."""
    count, silent = missed(DESIGNS[name](), 3 if name in ALIKE else 1)
    assert silent == []
    assert count > 10
