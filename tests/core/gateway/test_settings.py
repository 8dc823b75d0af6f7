"""Attributes that are changed while a node runs."""

import pytest

from gwlbemu.core.elb.attributes import TARGET_GROUP
from gwlbemu.core.elb.gateway_attributes import GatewayAttributes
from gwlbemu.errors import SettingError
from tests.core.gateway.core_lab import node


@pytest.mark.contract("TG-09")
@pytest.mark.parametrize(
    "given", [("rebalance", "no_rebalance"), ("no_rebalance", "rebalance"), ("rebalance", None), (None, "rebalance")]
)
def test_the_two_failover_values_must_be_equal(given: tuple[str | None, str | None]) -> None:
    keys = ("target_failover.on_deregistration", "target_failover.on_unhealthy")
    balancer = node()
    with pytest.raises(SettingError) as refused:
        balancer.set_attributes(
            TARGET_GROUP, {key: value for key, value in zip(keys, given, strict=True) if value}, now=1.0
        )
    assert all(key in str(refused.value) for key in keys)
    assert refused.value.code == "ValidationError"
    assert balancer.attributes(TARGET_GROUP) == GatewayAttributes().as_text(TARGET_GROUP)
