"""The attributes of a Network Load Balancer, its listeners and its target groups: one row per AWS key.

Rules of this file: the table is the only place that knows these keys, ranges and defaults; what depends on a group's
protocol and target type stands in `group_defaults`. One value of the class holds the keys of the load balancer, of one
listener and of one target group: who asks about a group leaves the listener's at their defaults, and the other way.
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
    table_of,
)
from gwlbemu.core.elb.minimum_health import USE_BALANCER, MinimumHealthAttributes, minimum_health_rows
from gwlbemu.errors import AwsError

ANY_ZONE, PARTIAL_AFFINITY, AFFINITY = (
    "any_availability_zone",
    "partial_availability_zone_affinity",
    "availability_zone_affinity",
)
SOURCE_IP = "source_ip"
_DATAGRAMS = ("UDP", "TCP_UDP")
_EDIT = "NLB guide, Edit target group attributes"
_HEALTH = "NLB guide, Health checks for target groups, Target group health"
MOST_TARGETS = 500  # NLB guide, Quotas: targets per target group, over all zones together
PRESERVE, TERMINATE_UNHEALTHY = (
    "preserve_client_ip.enabled",
    "target_health_state.unhealthy.connection_termination.enabled",
)


@dataclass(frozen=True, slots=True)
class NetworkAttributes(MinimumHealthAttributes, Attributes):
    """Every attribute of a Network Load Balancer, parsed; the defaults are AWS's."""

    TABLE: ClassVar[Table] = table_of(
        {
            LOAD_BALANCER: (
                DELETION_PROTECTION,
                Attribute(
                    "load_balancing.cross_zone.enabled",
                    "balancer_cross_zone",
                    False,
                    "NLB guide, Cross-zone load balancing",
                ),
                Attribute(
                    "dns_record.client_routing_policy",
                    "client_routing_policy",
                    ANY_ZONE,
                    "NLB guide, Availability Zone DNS affinity",
                    choices=(ANY_ZONE, PARTIAL_AFFINITY, AFFINITY),
                ),
            ),
            LISTENER: (
                Attribute("tcp.idle_timeout.seconds", "tcp_idle_seconds", 350, "NLB guide, Idle timeout", 60, 6000),
            ),
            TARGET_GROUP: (
                DEREGISTRATION_DELAY,
                Attribute(
                    "deregistration_delay.connection_termination.enabled", "terminate_on_deregistration", False, _EDIT
                ),
                Attribute(
                    "load_balancing.cross_zone.enabled",
                    "group_cross_zone",
                    USE_BALANCER,
                    _EDIT,
                    choices=("true", "false", USE_BALANCER),
                ),
                Attribute(PRESERVE, "preserve_client_ip", True, _EDIT),
                Attribute("proxy_protocol_v2.enabled", "proxy_protocol_v2", False, _EDIT),
                Attribute("stickiness.enabled", "sticky", False, _EDIT),
                Attribute("stickiness.type", "stickiness_type", SOURCE_IP, _EDIT, choices=(SOURCE_IP,)),
                Attribute(TERMINATE_UNHEALTHY, "terminate_on_unhealthy", True, _EDIT),
                Attribute(
                    "target_health_state.unhealthy.draining_interval_seconds",
                    "unhealthy_draining_seconds",
                    0,
                    _EDIT,
                    0,
                    360000,
                ),
                *minimum_health_rows(_HEALTH, MOST_TARGETS),
            ),
        }
    )

    deletion_protection: bool = False
    balancer_cross_zone: bool = False
    client_routing_policy: str = ANY_ZONE
    tcp_idle_seconds: int = 350
    deregistration_delay_seconds: int = 300
    terminate_on_deregistration: bool = False
    group_cross_zone: str = USE_BALANCER
    preserve_client_ip: bool = True
    proxy_protocol_v2: bool = False
    sticky: bool = False
    stickiness_type: str = SOURCE_IP
    terminate_on_unhealthy: bool = True
    unhealthy_draining_seconds: int = 0
    dns_minimum_count: int = 1  # 0 is off, here and below
    dns_minimum_percentage: int = 0
    routing_minimum_count: int = 1
    routing_minimum_percentage: int = 0

    def _check_together(self) -> None:
        if self.unhealthy_draining_seconds and self.terminate_on_unhealthy:
            raise AwsError(
                "target_health_state.unhealthy.draining_interval_seconds can be configured only while "
                f"{TERMINATE_UNHEALTHY} is false",
                "InvalidConfigurationRequest",
            )


def group_defaults(protocol: str, target_type: str) -> dict[str, str]:
    """Return the attributes of a target group whose defaults depend on its protocol and target type, in AWS's text.

    Source: NLB guide, Edit target group attributes, "Client IP preservation" and "Connection termination"; ELBv2 API,
    TargetGroupAttribute.
    """
    datagrams = protocol in _DATAGRAMS
    preserved = target_type != "ip" or datagrams
    return {
        PRESERVE: str(preserved).lower(),
        "deregistration_delay.connection_termination.enabled": str(datagrams).lower(),
        TERMINATE_UNHEALTHY: str(not datagrams).lower(),
    }


def check_group_attributes(protocol: str, target_type: str, given: Mapping[str, str]) -> None:
    """Refuse attributes that AWS takes for some target groups, but not for one of that protocol and target type.

    Sources: NLB guide, Edit target group attributes; ELBv2 API, TargetGroupAttribute. Raises AwsError. A limit of ours:
    proxy protocol version 2 stands before the data of TCP connections alone.
    """
    if given.get("proxy_protocol_v2.enabled") == "true" and protocol == "UDP":
        raise AwsError("proxy_protocol_v2.enabled: proxy protocol version 2 is emulated for TCP, not for UDP")
    if given.get(PRESERVE) == "false" and (protocol in _DATAGRAMS or target_type == "alb"):
        kind = "with targets of type alb" if target_type == "alb" else f"of protocol {protocol}"
        raise AwsError(
            f"{PRESERVE}: client IP preservation can't be disabled for target groups {kind}",
            "InvalidConfigurationRequest",
        )
    if given.get(TERMINATE_UNHEALTHY) == "true" and protocol in _DATAGRAMS:
        raise AwsError(
            f"{TERMINATE_UNHEALTHY} can't be enabled for target groups of protocol {protocol}",
            "InvalidConfigurationRequest",
        )
    if given.get("stickiness.enabled") == "true" and protocol == "TLS":
        raise AwsError(
            "stickiness.enabled: sticky sessions are not supported with TLS target groups",
            "InvalidConfigurationRequest",
        )
