"""What `fail` says it broke is broken."""

from __future__ import annotations

import pytest

from gwlbemu import Lab
from gwlbemu.errors import SettingError
from gwlbemu.lab import failure
from tests.lab.talkers import until_unhealthy
from tests.lab.worlds import world
from tests.paths import TOPOLOGIES
from tests.waiting import PATIENCE

pytestmark = pytest.mark.namespace


def test_a_failed_health_check_fails_where_the_group_checks_by_tcp() -> None:
    with Lab(TOPOLOGIES / "zone-failure.yaml", capture=False) as lab:
        assert {group.health_check.protocol for group in lab.plan.target_groups} == {"TCP"}
        lab.fail("health", "fw-a1")
        until_unhealthy(lab, "fw-a1")
        lab.heal("health", "fw-a1")
        lab.wait_for_state("fw-a1", "healthy", timeout=PATIENCE)


def test_an_ip_target_of_the_vpc_needs_no_zone_and_takes_no_other() -> None:
    text = world(targets=["10.254.1.11"])
    with Lab(text.replace("target_type: instance", "target_type: ip"), capture=False) as lab:
        with pytest.raises(SettingError, match="VPC security has no zone b; there are: a, all"):
            lab.register("firewalls", "10.254.1.99", zone="b")
        lab.register("firewalls", "10.254.1.99")
        assert {each.id: each.zone for each in lab.targets()}["10.254.1.99"] == "a"


def test_healing_a_zone_leaves_pulled_what_something_else_has_broken() -> None:
    with Lab(TOPOLOGIES / "zone-failure.yaml", capture=False) as lab:
        lab.fail("link", "fw-a1")
        lab.fail("zone", "a")
        said = failure.heal(lab.running, "zone", "a")
        assert [line for line in said if line.endswith("stays pulled: link fw-a1 is broken")]
        assert [str(each) for each in lab.status().failures] == ["link fw-a1"]
        assert len(failure.heal(lab.running, "link", "fw-a1")) == 1
        assert not lab.status().failures
