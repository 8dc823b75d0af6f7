"""What must agree between two places of a topology file: every refusal that is not about one value alone.

This file composes. Every check is a generator of Problems and survives what the others complain about, so that one run
tells all.
"""

from __future__ import annotations

from collections.abc import Iterator

from gwlbemu.topology.file.attributes import switch_problems
from gwlbemu.topology.file.check_addresses import address_problems
from gwlbemu.topology.file.check_balancing import balancing_problems
from gwlbemu.topology.file.check_expectations import expectation_problems
from gwlbemu.topology.file.check_instances import instance_problems
from gwlbemu.topology.file.check_names import name_problems
from gwlbemu.topology.file.check_routes import route_problems
from gwlbemu.topology.file.check_transit import transit_problems
from gwlbemu.topology.file.document import Problem
from gwlbemu.topology.file.not_yet import not_yet
from gwlbemu.topology.file.schema import Topology


def problems_of(topology: Topology) -> Iterator[Problem]:
    """Yield everything that is wrong with a well-formed topology."""
    yield from name_problems(topology)
    yield from address_problems(topology)
    yield from instance_problems(topology)
    yield from route_problems(topology)
    yield from balancing_problems(topology)
    yield from not_yet(topology)
    yield from transit_problems(topology)
    yield from expectation_problems(topology)
    yield from switch_problems(topology.emulation, ("emulation",))
