"""What a topology file may say about load balancers and target groups, in the words of the ELBv2 API."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, model_validator

from gwlbemu.topology.fields import Address, AttributeValue, Model, Name

GENEVE_PORT = 6081
_CLASSIC = "a classic load balancer is not emulated: use its successors, application, network or gateway"


class HealthCheck(Model):
    """Defaults and ranges: GWLB guide, Health checks for target groups (contract TG-02)."""

    protocol: Literal["TCP", "HTTP", "HTTPS"] = "TCP"
    port: int = Field(default=80, ge=1, le=65535)
    path: str = Field(default="/", pattern="^/", max_length=1024)
    interval_seconds: int = Field(default=10, ge=5, le=300)
    timeout_seconds: int = Field(default=5, ge=2, le=120)
    healthy_threshold_count: int = Field(default=5, ge=2, le=10)
    unhealthy_threshold_count: int = Field(default=2, ge=2, le=10)
    matcher: Literal["200-399"] = "200-399"

    @model_validator(mode="after")
    def _a_probe_ends_before_the_next(self) -> HealthCheck:
        # CreateTargetGroup: the timeout may equal the interval for TCP and must be smaller for HTTP and HTTPS.
        limit = self.interval_seconds if self.protocol == "TCP" else self.interval_seconds - 1
        if self.timeout_seconds > limit:
            raise ValueError(
                f"timeout_seconds is {self.timeout_seconds}: expected at most {limit} "
                f"with protocol {self.protocol} and interval_seconds {self.interval_seconds}"
            )
        return self


class TargetGroup(Model):
    """A GENEVE target group (contract TG-01). `targets` are instance names, or addresses with target type `ip`."""

    name: Name
    vpc: Name
    protocol: Literal["GENEVE"]
    port: Literal[6081]
    target_type: Literal["instance", "ip"] = "instance"
    health_check: HealthCheck = HealthCheck()
    attributes: dict[str, AttributeValue] = Field(default_factory=dict)
    targets: tuple[str, ...] = ()


class LoadBalancerSubnet(Model):
    """The subnet of one zone, and the node's address there (chosen if absent)."""

    subnet: Name
    address: Address | None = None


class Listener(Model):
    """A gateway load balancer has one listener, without protocol and port."""

    target_group: Name
    attributes: dict[str, AttributeValue] = Field(default_factory=dict)


def _known_type(value: object) -> object:
    if value == "classic":
        raise ValueError(_CLASSIC)
    return value


def _short_subnet(value: object) -> object:
    return {"subnet": value} if isinstance(value, str) else value


class LoadBalancer(Model):
    name: Name
    type: Annotated[Literal["gateway"], BeforeValidator(_known_type)]
    subnets: tuple[Annotated[LoadBalancerSubnet, BeforeValidator(_short_subnet)], ...] = Field(min_length=1)
    attributes: dict[str, AttributeValue] = Field(default_factory=dict)
    listener: Listener
