"""What must agree between two places of a topology file; every refusal that is not about one value alone."""

from __future__ import annotations

from collections.abc import Iterator

from gwlbemu.topology.document import Problem
from gwlbemu.topology.schema import Topology


def problems_of(topology: Topology) -> Iterator[Problem]:
    """Everything that is wrong with a well-formed topology."""
    yield from ()
