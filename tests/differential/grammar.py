"""A topology for each seed: a design, its zones, and for every second one a fault.

The kinds of fault take turns and the designs that have a place for one are drawn, so that each kind comes about
equally often. The same seed gives the same topology.
"""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

import yaml

from gwlbemu.errors import TopologyError
from gwlbemu.lab.configs import node_seed
from gwlbemu.paths.values import States
from gwlbemu.topology.file.parse import parse
from gwlbemu.topology.plan.resolve import resolve
from gwlbemu.topology.plan.values import Plan
from tests.differential.designs import DESIGNS, Document, Draft
from tests.differential.faults import FAULTS, NEEDS, TWO_ZONES

FAST = (6, 7)  # of eight seeds: with eBPF where the machine can, which fewer interfaces see
SECRET = "differential"  # the seed that a lab is given
ATTEMPTS = 50  # to find a change that the checks of a file let pass


@dataclass(frozen=True, slots=True)
class Sample:
    """One random topology. `fault` is its kind, "" for none, and `change` what was done."""

    seed: int
    design: str
    zones: int
    ipv6: bool
    fault: str
    change: str
    text: str
    plan: Plan

    @property
    def states(self) -> States:
        """What the path model has to know of a lab that has just come up.

        What each node chooses by, and that the observer's appliances return packets.
        """
        return States(
            seeds={node.name: node_seed(SECRET, node.name) for node in self.plan.gateway_nodes},
            returning=frozenset(each.instance for each in self.plan.programs if each.kind == "command"),
        )

    def __str__(self) -> str:
        families = (", IPv6" if self.ipv6 else "") + (", shortcuts" if self.plan.shortcuts else "")
        fault = f"; {self.fault}: {self.change}" if self.fault else "; sound"
        return f"seed {self.seed}: {self.design}, {self.zones} zones{families}{fault}"


def sample(seed: int) -> Sample:
    """Return the topology of a seed."""
    random = Random(seed)
    fault = list(FAULTS)[seed // 2 % len(FAULTS)] if seed % 2 else ""
    for _ in range(ATTEMPTS):
        design = random.choice(NEEDS.get(fault, tuple(DESIGNS)))
        zones = random.choice((2, 2, 3) if fault in TWO_ZONES else (1, 1, 1, 2, 2, 3))
        draft = Draft(random, zones, ipv6=random.random() < 0.35)
        DESIGNS[design](draft)
        if seed % 8 in FAST:
            draft.document |= {"shortcuts": True, "datapath": "auto"}
        draft.document["emulation"] = _switches(Random(f"switches {seed}"))
        change = FAULTS[fault](random, draft.document) if fault else ""
        if fault and not change:
            continue
        text = _text(draft.document)
        try:
            plan = resolve(parse(text, f"seed-{seed}.yaml"), lab="probe")
        except TopologyError:
            if not fault:
                raise
            continue
        return Sample(seed, design, zones, draft.ipv6, fault, change, text, plan)
    raise AssertionError(f"seed {seed}: no topology with the fault {fault!r} in {ATTEMPTS} attempts")


def _switches(random: Random) -> dict[str, str | int]:
    """Return what AWS leaves open, for a third of the seeds not as it is by default."""
    if random.random() < 2 / 3:
        return {}
    return {
        "midstream": random.choice(("drop", "rst", "new")),
        "ttl_decrement": random.choice((0, 1, 2)),
        "fragments": random.choice(("three_tuple", "drop")),
        "icmp_errors": random.choice(("own", "parent")),
    }


def _text(document: Document) -> str:
    return yaml.safe_dump(document, sort_keys=False)
