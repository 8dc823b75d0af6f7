"""A topology for each seed: a design, its zones, and for every second one a fault.

The kinds of fault take turns and the designs that have a place for one are drawn, so that each kind comes about
equally often. The same seed gives the same topology. From seed NETWORK on there are network load balancers, from
APPLICATION on application load balancers.
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
from tests.differential.application_designs import APPLICATION_DESIGNS
from tests.differential.designs import DESIGNS, Document, Draft
from tests.differential.faults import FAULTS, NEEDS, NETWORK_FAULTS, TWO_ZONES
from tests.differential.network_designs import NETWORK_DESIGNS

NETWORK, APPLICATION = 1000, 2000  # the first seeds with network, and with application load balancers
FAST = (6, 7)  # of eight seeds: with eBPF where the machine can, which fewer interfaces see
SECRET = "differential"  # the seed that a lab is given
ATTEMPTS = 50  # to find a change that the checks of a file let pass


@dataclass(frozen=True, slots=True)
class Sample:
    """One random topology. `fault` is its kind, "" for none, and `change` what was done.

    `broken` is what the lab is made to fail by.
    """

    seed: int
    design: str
    zones: int
    ipv6: bool
    fault: str
    change: str
    text: str
    plan: Plan
    broken: tuple[str, str] | None = None

    @property
    def states(self) -> States:
        """What the path model has to know of a lab that has just come up.

        What each node chooses by, and that the observer's appliances return packets.
        """
        return States(
            seeds={node.name: node_seed(SECRET, node.name) for node in self.plan.nodes},
            returning=frozenset(each.instance for each in self.plan.programs if each.kind == "command"),
            broken=frozenset([self.broken] if self.broken else []),
        )

    def __str__(self) -> str:
        families = (", IPv6" if self.ipv6 else "") + (", shortcuts" if self.plan.shortcuts else "")
        fault = f"; {self.fault}: {self.change}" if self.fault else "; sound"
        fault += f"; fail {' '.join(self.broken)}" if self.broken else ""
        return f"seed {self.seed}: {self.design}, {self.zones} zones{families}{fault}"


def sample(seed: int) -> Sample:
    """Return the topology of a seed."""
    random = Random(seed)
    is_network = seed >= NETWORK
    faults = NETWORK_FAULTS if is_network else tuple(FAULTS)
    designs = DESIGNS | NETWORK_DESIGNS | APPLICATION_DESIGNS
    own = APPLICATION_DESIGNS if seed >= APPLICATION else NETWORK_DESIGNS
    fault = faults[seed // 2 % len(faults)] if seed % 2 else ""
    for _ in range(ATTEMPTS):
        design = random.choice(tuple(own) if is_network else NEEDS.get(fault, tuple(DESIGNS)))
        several = fault in TWO_ZONES or seed >= APPLICATION  # an application load balancer has two zones at least
        zones = random.choice((2, 2, 3) if several else (1, 2, 2, 3) if is_network else (1, 1, 1, 2, 2, 3))
        draft = Draft(random, zones, ipv6=random.random() < 0.35)
        designs[design](draft)
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
        broken = _broken(Random(f"broken {seed}"), plan) if is_network else None
        return Sample(seed, design, zones, draft.ipv6, fault, change, text, plan, broken)
    raise AssertionError(f"seed {seed}: no topology with the fault {fault!r} in {ATTEMPTS} attempts")


def _broken(random: Random, plan: Plan) -> tuple[str, str] | None:
    """Return what fails, for a quarter of the seeds: of what is inside VPCs."""
    names = {
        "instance": [one.name for one in plan.instances if one.vpc and not one.appliance],
        "node": [node.name for node in plan.addressed_nodes],
        "zone": sorted({one.zone for one in plan.subnets}),
    }
    kind = random.choice(("instance", "instance", "node", "zone"))
    return (kind, random.choice(names[kind])) if random.random() < 0.25 else None


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
