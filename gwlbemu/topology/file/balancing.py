"""What a topology file may say about load balancers and target groups, in the words of the ELBv2 API."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, model_validator
from pydantic.config import JsonDict

from gwlbemu.core.elb import health as core
from gwlbemu.core.elb.attributes import LISTENER, LOAD_BALANCER, TARGET_GROUP
from gwlbemu.core.elb.balancer_types import ATTRIBUTES, GATEWAY
from gwlbemu.core.elb.health import RANGES, check_health_check
from gwlbemu.errors import SettingError
from gwlbemu.topology.file.fields import Address, AttributeValue, Model, Name

_HEALTHY, _UNHEALTHY = RANGES["healthy_threshold_count"], RANGES["unhealthy_threshold_count"]
_CLASSIC = "a classic load balancer is not emulated: use its successors, application, network or gateway"


def _keys(resource: str) -> JsonDict:
    """Names the attribute keys in the JSON Schema, so that an editor completes them."""
    return {"propertyNames": {"enum": list(ATTRIBUTES[GATEWAY].TABLE[resource])}}


class HealthCheck(Model):
    """Defaults and ranges: GWLB guide, Health checks for target groups (contract TG-02)."""

    protocol: Literal["TCP", "HTTP", "HTTPS"] = "TCP"
    port: int = Field(default=80, ge=RANGES["port"][0], le=RANGES["port"][1])
    path: str = Field(default="/", pattern="^/", max_length=1024)
    interval_seconds: int = Field(default=10, ge=RANGES["interval_seconds"][0], le=RANGES["interval_seconds"][1])
    timeout_seconds: int = Field(default=5, ge=RANGES["timeout_seconds"][0], le=RANGES["timeout_seconds"][1])
    healthy_threshold_count: int = Field(default=5, ge=_HEALTHY[0], le=_HEALTHY[1])
    unhealthy_threshold_count: int = Field(default=2, ge=_UNHEALTHY[0], le=_UNHEALTHY[1])
    matcher: Literal["200-399"] = "200-399"

    @model_validator(mode="after")
    def _as_aws_takes_it(self) -> HealthCheck:
        try:
            check_health_check(self.settings())
        except SettingError as error:
            raise ValueError(str(error)) from None
        return self

    def settings(self) -> core.HealthCheck:
        """The same as the core has it."""
        return core.HealthCheck(**self.model_dump())


class TargetGroup(Model):
    """A GENEVE target group (contract TG-01). `targets` are instance names, or addresses with target type `ip`."""

    name: Name
    vpc: Name
    protocol: Literal["GENEVE"]
    port: Literal[6081]
    target_type: Literal["instance", "ip"] = "instance"
    health_check: HealthCheck = HealthCheck()
    attributes: dict[str, AttributeValue] = Field(default_factory=dict, json_schema_extra=_keys(TARGET_GROUP))
    targets: tuple[str, ...] = ()


class LoadBalancerSubnet(Model):
    """The subnet of one zone, and the node's address there (chosen if absent)."""

    subnet: Name
    address: Address | None = None


class Listener(Model):
    """A gateway load balancer has one listener, without protocol and port."""

    target_group: Name
    attributes: dict[str, AttributeValue] = Field(default_factory=dict, json_schema_extra=_keys(LISTENER))


def _known_type(value: object) -> object:
    if value == "classic":
        raise ValueError(_CLASSIC)
    return value


def _short_subnet(value: object) -> object:
    return {"subnet": value} if isinstance(value, str) else value


_ShortSubnet = Annotated[
    LoadBalancerSubnet, BeforeValidator(_short_subnet, json_schema_input_type=str | LoadBalancerSubnet)
]


class LoadBalancer(Model):
    name: Name
    type: Annotated[Literal["gateway"], BeforeValidator(_known_type, json_schema_input_type=Literal["gateway"])]
    subnets: tuple[_ShortSubnet, ...] = Field(min_length=1)
    attributes: dict[str, AttributeValue] = Field(default_factory=dict, json_schema_extra=_keys(LOAD_BALANCER))
    listener: Listener
