"""What AWS refuses about an application load balancer, its listeners and its target groups."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from gwlbemu.topology.file.balancing import LoadBalancer, TargetGroup
from gwlbemu.topology.file.document import Path, Problem
from gwlbemu.topology.file.schema import Vpc


def application_problems(
    balancer: LoadBalancer, home: Vpc | None, groups: Mapping[str, TargetGroup], path: Path
) -> Iterator[Problem]:
    """Yield what is wrong with an application load balancer that stands at `path`, and with its listeners."""
    if len(balancer.subnets) < 2:
        yield Problem((*path, "subnets"), "expected subnets of two zones at least")
