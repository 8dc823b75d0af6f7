"""The seam to the core's tables of AWS attributes and of the emulation's switches."""

from __future__ import annotations

from collections.abc import Mapping

DEFAULTS: dict[str, dict[str, str]] = {
    "load-balancer": {"deletion_protection.enabled": "false", "load_balancing.cross_zone.enabled": "false"},
    "listener": {"tcp.idle_timeout.seconds": "350", "send_tcp_reset.on_idle_timeout.enabled": "false"},
    "target-group": {
        "deregistration_delay.timeout_seconds": "300",
        "stickiness.enabled": "false",
        "stickiness.type": "source_ip_dest_ip",
        "target_failover.on_deregistration": "no_rebalance",
        "target_failover.on_unhealthy": "no_rebalance",
        "send_tcp_reset.on_unhealthy.enabled": "false",
        "send_tcp_reset.on_deregistration.enabled": "false",
    },
}


def complete(resource: str, given: Mapping[str, str]) -> dict[str, str]:
    """Every attribute of the resource: the given value or AWS's default."""
    return {**DEFAULTS[resource], **given}
