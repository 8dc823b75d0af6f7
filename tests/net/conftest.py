from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from gwlbemu.net import record, remove
from gwlbemu.net.build import build
from gwlbemu.topology.plan.values import Plan
from tests.net.net_plans import small_plan


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "state"


@pytest.fixture
def up(root: Path) -> Iterator[Callable[..., Plan]]:
    """Bring up small plans; whatever is up at the end of the test is taken down."""

    def bring_up(lab: str = "small", **options: object) -> Plan:
        plan = small_plan(lab, **options)  # type: ignore[arg-type]
        with record.open_new(lab, root=root) as opened:
            build(plan, opened)
        return plan

    yield bring_up
    for lab in record.list_labs(root=root):
        remove.down(lab, root=root, grace=0.5)
