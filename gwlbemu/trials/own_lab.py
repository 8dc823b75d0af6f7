"""A lab for one trial alone: it lives as long as that takes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from gwlbemu.errors import LabError
from gwlbemu.lab.running import RunningLab
from gwlbemu.lab.up import up
from gwlbemu.net.remove import down
from gwlbemu.topology.plan.values import Plan
from gwlbemu.views.waiting import wait_until_healthy

HEALTHY_WITHIN = 60.0  # seconds after `up`


@contextmanager
def own_lab(plan: Plan) -> Iterator[RunningLab]:
    """Bring up a lab without a capture, wait until it is well, and take it down whatever happens in the block.

    Raises what `up` raises, and LabError when it is not well.
    """
    lab = up(replace(plan, capture=replace(plan.capture, enabled=False)))
    try:
        if troubles := wait_until_healthy(lab, HEALTHY_WITHIN):
            raise LabError(f"lab {plan.lab} is not well after {HEALTHY_WITHIN:g} s: {'; '.join(troubles)}")
        yield lab
    finally:
        down(plan.lab)
