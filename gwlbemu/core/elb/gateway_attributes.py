"""The attributes of a Gateway Load Balancer, its listener and its target group: one row per AWS key.

Rules of this file: the table is the only place that knows these keys, ranges and defaults; what two keys forbid each
other stands in `_check_together`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from gwlbemu.core.elb.attributes import (
    DELETION_PROTECTION,
    DEREGISTRATION_DELAY,
    LISTENER,
    LOAD_BALANCER,
    TARGET_GROUP,
    Attribute,
    Attributes,
    Table,
    Value,
    table_of,
)
from gwlbemu.errors import AwsError

FIVE_TUPLE, THREE_TUPLE, TWO_TUPLE = "five_tuple", "source_ip_dest_ip_proto", "source_ip_dest_ip"
DEFAULT_TCP_IDLE_SECONDS = 350
_NO_REBALANCE, _REBALANCE = "no_rebalance", "rebalance"
_FAILOVER = (_NO_REBALANCE, _REBALANCE)
_STICKY = (TWO_TUPLE, THREE_TUPLE)
_EDIT = "guide, Edit target group attributes"


@dataclass(frozen=True, slots=True)
class GatewayAttributes(Attributes):
    """Every attribute of one Gateway Load Balancer, parsed; the defaults are AWS's."""

    TABLE: ClassVar[Table] = table_of(
        {
            LOAD_BALANCER: (
                DELETION_PROTECTION,
                Attribute("load_balancing.cross_zone.enabled", "cross_zone", False, "guide, Cross-zone load balancing"),
            ),
            LISTENER: (
                Attribute(
                    "tcp.idle_timeout.seconds",
                    "tcp_idle_seconds",
                    DEFAULT_TCP_IDLE_SECONDS,
                    "guide, Update idle timeout",
                    60,
                    6000,
                ),
                Attribute("send_tcp_reset.on_idle_timeout.enabled", "reset_on_idle_timeout", False, "guide, Listeners"),
            ),
            TARGET_GROUP: (
                DEREGISTRATION_DELAY,
                Attribute("stickiness.enabled", "sticky", False, _EDIT),
                Attribute("stickiness.type", "stickiness_type", TWO_TUPLE, _EDIT, choices=_STICKY),
                Attribute(
                    "target_failover.on_deregistration", "on_deregistration", _NO_REBALANCE, _EDIT, choices=_FAILOVER
                ),
                Attribute("target_failover.on_unhealthy", "on_unhealthy", _NO_REBALANCE, _EDIT, choices=_FAILOVER),
                Attribute("send_tcp_reset.on_deregistration.enabled", "reset_on_deregistration", False, _EDIT),
                Attribute("send_tcp_reset.on_unhealthy.enabled", "reset_on_unhealthy", False, _EDIT),
            ),
        }
    )

    deletion_protection: bool = False
    cross_zone: bool = False
    tcp_idle_seconds: int = DEFAULT_TCP_IDLE_SECONDS
    reset_on_idle_timeout: bool = False
    deregistration_delay_seconds: int = 300
    sticky: bool = False
    stickiness_type: str = TWO_TUPLE
    on_deregistration: str = _NO_REBALANCE
    on_unhealthy: str = _NO_REBALANCE
    reset_on_deregistration: bool = False
    reset_on_unhealthy: bool = False

    @property
    def stickiness(self) -> str:
        """What a flow is: FIVE_TUPLE while stickiness is off, else THREE_TUPLE or TWO_TUPLE."""
        return self.stickiness_type if self.sticky else FIVE_TUPLE

    @property
    def rebalance(self) -> bool:
        """Whether the flows of a failed target move; the two keys are always equal."""
        return self.on_unhealthy == _REBALANCE

    @property
    def effective_tcp_idle_seconds(self) -> int:
        """The TCP idle timeout in seconds: the listener's, but 350 with stickiness (guide, Update idle timeout)."""
        return DEFAULT_TCP_IDLE_SECONDS if self.sticky else self.tcp_idle_seconds

    def _check_change(self, values: Mapping[str, Value]) -> None:
        if self.sticky and values.get("tcp_idle_seconds", self.tcp_idle_seconds) != self.tcp_idle_seconds:
            raise AwsError(
                "tcp.idle_timeout.seconds can be changed only while stickiness.enabled is false",
                "InvalidConfigurationRequest",
            )

    def _check_together(self) -> None:
        """Refuse what AWS refuses about several keys at once (guide, Edit target group attributes)."""
        if self.on_deregistration != self.on_unhealthy:
            raise AwsError(
                f"target_failover.on_deregistration ({self.on_deregistration}) and "
                f"target_failover.on_unhealthy ({self.on_unhealthy}) must be set to the same value for the target group"
            )
        resets = [
            ("send_tcp_reset.on_deregistration.enabled", self.reset_on_deregistration),
            ("send_tcp_reset.on_unhealthy.enabled", self.reset_on_unhealthy),
        ]
        for key, enabled in resets:
            if enabled and self.sticky:
                raise AwsError(f"{key} needs stickiness.enabled to be false", "InvalidConfigurationRequest")
            if enabled and self.rebalance:
                raise AwsError(
                    f"{key} needs target_failover.on_deregistration and target_failover.on_unhealthy to be "
                    "no_rebalance",
                    "InvalidConfigurationRequest",
                )
