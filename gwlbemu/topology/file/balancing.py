"""What a topology file may say about load balancers and target groups, in the words of the ELBv2 API."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import BeforeValidator, ConfigDict, Field, model_validator
from pydantic.config import JsonDict

from gwlbemu.core.elb import health as core
from gwlbemu.core.elb.attributes import LISTENER, LOAD_BALANCER, TARGET_GROUP
from gwlbemu.core.elb.balancer_types import ATTRIBUTES
from gwlbemu.core.elb.health import (
    APPLICATION_PROTOCOLS,
    GENEVE,
    RANGES,
    TRAFFIC_PORT,
    application_defaults,
    check_health_check,
    network_defaults,
)
from gwlbemu.topology.file.document import Path
from gwlbemu.topology.file.fields import Address, AttributeValue, Ipv6Address, Model, Name, SecurityGroupName
from gwlbemu.topology.file.rules import Action, Rule

_HEALTHY, _UNHEALTHY = RANGES["healthy_threshold_count"], RANGES["unhealthy_threshold_count"]
# What AWS calls the other types, as a load balancer's type and in the words of the ELBv2 API.
_NOT_EMULATED = {
    "classic": "a classic load balancer is of the previous generation and not emulated: expected one of its "
    "successors, 'application', 'network' or 'gateway'",
}


GENEVE_PORT = 6081
_AT_TRAFFIC_PORT = "traffic-port"
_GroupProtocol = Literal["GENEVE", "TCP", "UDP", "TCP_UDP", "TLS", "HTTP", "HTTPS"]
_TargetType = Literal["instance", "ip", "alb"]
_ListenerProtocol = Literal["HTTP", "HTTPS", "TCP", "TLS", "UDP", "TCP_UDP"]


_LISTENED = "TCP, UDP, TCP_UDP, TLS, HTTP or HTTPS"


def _emulated(value: object) -> object:
    if value in ("QUIC", "TCP_QUIC"):
        raise ValueError(f"{value} is not emulated: expected {_LISTENED} (UnsupportedProtocol)")
    return value


def _known_target(value: object) -> object:
    if value == "lambda":
        raise ValueError("Lambda functions as targets are not emulated: expected 'instance', 'ip' or 'alb'")
    return value


def _keys(resource: str) -> JsonDict:
    """Names the attribute keys in the JSON Schema, so that an editor completes them."""
    keys = dict.fromkeys(key for kind in ATTRIBUTES.values() for key in kind.TABLE[resource])
    return {"propertyNames": {"enum": list(keys)}}


def _health_check_port(value: object) -> object:
    low, high = RANGES["port"]
    if isinstance(value, str) and value.isdecimal():
        value = int(value)  # HealthCheckPort is text in the ELBv2 API
    number = isinstance(value, int) and not isinstance(value, bool) and low <= value <= high
    if number or value is None or value == _AT_TRAFFIC_PORT:
        return value
    raise ValueError(f"expected a port from {low} to {high}, or {_AT_TRAFFIC_PORT}")


_HealthCheckPort = Annotated[
    int | str,
    BeforeValidator(
        _health_check_port,
        json_schema_input_type=Annotated[int, Field(ge=RANGES["port"][0], le=RANGES["port"][1])]
        | Literal["traffic-port"],
    ),
]


class HealthCheck(Model):
    """How a target group's targets are probed. What is not given has the default of the group's protocol.

    `port` is a number, or traffic-port for that of each target. Ranges: guide of each type, Health checks for target
    groups (contract TG-02, NL-06, AL-09).
    """

    protocol: Literal["TCP", "HTTP", "HTTPS"] | None = None
    port: _HealthCheckPort | None = None
    path: str | None = Field(default=None, pattern="^/", max_length=1024)
    interval_seconds: int | None = Field(
        default=None, ge=RANGES["interval_seconds"][0], le=RANGES["interval_seconds"][1]
    )
    timeout_seconds: int | None = Field(default=None, ge=RANGES["timeout_seconds"][0], le=RANGES["timeout_seconds"][1])
    healthy_threshold_count: int = Field(default=5, ge=_HEALTHY[0], le=_HEALTHY[1])
    unhealthy_threshold_count: int = Field(default=2, ge=_UNHEALTHY[0], le=_UNHEALTHY[1])
    matcher: str | None = Field(
        default=None, description='HTTP statuses: "200", "200,202", "200-299"; codes of gRPC with protocol_version GRPC'
    )

    def settings(
        self, group_protocol: str, protocol_version: str = "", default_protocol: str = "TCP"
    ) -> core.HealthCheck:
        """Return the same as the core has it, for a group of that protocol and protocol version.

        Defaults: guide of each type, Health checks for target groups. Raises SettingError for what AWS refuses.
        """
        given = self.model_dump(exclude_none=True)
        if self.port == _AT_TRAFFIC_PORT:
            given["port"] = GENEVE_PORT if group_protocol == GENEVE else TRAFFIC_PORT
        if group_protocol in APPLICATION_PROTOCOLS:
            given = application_defaults(protocol_version) | given
        elif group_protocol != GENEVE:
            protocol = self.protocol or default_protocol
            given = network_defaults(protocol) | {"protocol": protocol} | given
        return check_health_check(core.HealthCheck(**given), group_protocol, protocol_version)


class Target(Model):
    """A registered target (TargetDescription): an instance's name or an address, and its port if not the group's."""

    id: str
    port: int | None = Field(default=None, ge=1, le=65535)


def _short_target(value: object) -> object:
    return {"id": value} if isinstance(value, str) else value


_ShortTarget = Annotated[Target, BeforeValidator(_short_target, json_schema_input_type=str | Target)]


class TargetGroup(Model):
    """A target group (contract TG-01): of a gateway load balancer with protocol GENEVE and port 6081, of an application
    load balancer with HTTP or HTTPS, of a network load balancer with another protocol.

    `protocol_version` is for HTTP and HTTPS: how requests are sent to targets (HTTP1 if absent). `targets` are instance
    names, addresses with target type `ip`, or the name of one application load balancer with target type `alb`;
    `{id: web-a, port: 8080}` for another port than the group's.
    """

    name: Name
    vpc: Name
    protocol: Annotated[_GroupProtocol, BeforeValidator(_emulated, json_schema_input_type=_GroupProtocol)]
    protocol_version: Literal["HTTP1", "HTTP2", "GRPC"] | None = None
    port: int = Field(ge=1, le=65535)
    target_type: Annotated[_TargetType, BeforeValidator(_known_target, json_schema_input_type=_TargetType)] = "instance"
    health_check: HealthCheck = HealthCheck()
    attributes: dict[str, AttributeValue] = Field(default_factory=dict, json_schema_extra=_keys(TARGET_GROUP))
    targets: tuple[_ShortTarget, ...] = ()

    def checked(self) -> core.HealthCheck:
        """Return how its targets are probed. Raises SettingError for what AWS refuses.

        Targets of type alb are probed by HTTP or HTTPS (NLB guide, Use an Application Load Balancer as a target).
        """
        default = "HTTP" if self.target_type == "alb" else "TCP"
        return self.health_check.settings(self.protocol, self.protocol_version or "", default)

    @property
    def target_ids(self) -> tuple[str, ...]:
        """The ids of the targets, without ports, in the file's order; one may come twice."""
        return tuple(target.id for target in self.targets)


class LoadBalancerSubnet(Model):
    """The subnet of one zone, and the node's addresses there (SubnetMapping); the private ones are chosen if absent.

    `public_address` is an internet-facing network load balancer's Elastic IP address. An application load balancer has
    none of these keys: AWS assigns its addresses, as the plan does here (`node_places`).
    """

    subnet: Name
    address: Address | None = None
    ipv6_address: Ipv6Address | None = None
    public_address: Address | None = None


def _switch(value: object) -> object:
    return {False: "off", True: "on"}.get(value, value) if isinstance(value, bool) else value


_Switch = Annotated[Literal["off", "on"], BeforeValidator(_switch, json_schema_input_type=Literal["off", "on"] | bool)]
_Mode = Annotated[
    Literal["off", "passthrough", "verify"],
    BeforeValidator(_switch, json_schema_input_type=Literal["off", "passthrough", "verify"] | bool),
]


class MutualAuthentication(Model):
    """What a TLS listener asks of its clients (MutualAuthenticationAttributes). `trust_store` is a PEM file with the
    certificates of authorities, relative to the topology file.
    """

    mode: _Mode = "off"
    trust_store: str | None = None
    ignore_client_certificate_expiry: bool = False
    advertise_trust_store_ca_names: _Switch = "off"


class Listener(Model):
    """A listener as CreateListener has it. A gateway load balancer's has neither protocol and port nor rules, that of
    another type has protocol and port.

    The keys from `certificates` on are a TLS or HTTPS listener's. A certificate is a PEM file with its chain and its
    key, relative to the topology file, or `lab` for one that an authority of the lab's own makes; without any that one.
    """

    protocol: Annotated[
        _ListenerProtocol | None, BeforeValidator(_emulated, json_schema_input_type=_ListenerProtocol | None)
    ] = None
    port: int | None = Field(default=None, ge=1, le=65535)
    default_actions: tuple[Action, ...] = Field(min_length=1)
    rules: tuple[Rule, ...] = ()
    certificates: tuple[str, ...] | None = Field(default=None, min_length=1)
    ssl_policy: str | None = None
    alpn_policy: str | None = None
    mutual_authentication: MutualAuthentication | None = None
    attributes: dict[str, AttributeValue] = Field(default_factory=dict, json_schema_extra=_keys(LISTENER))

    def forwards(self) -> Iterator[tuple[Path, str]]:
        """Yield the name of every target group that is forwarded to, and where it stands, from the listener on."""
        actions: list[tuple[Path, Action]] = [
            (("default_actions", number), action) for number, action in enumerate(self.default_actions)
        ]
        for place, rule in enumerate(self.rules):
            actions += [(("rules", place, "actions", number), action) for number, action in enumerate(rule.actions)]
        for path, action in actions:
            yield from ((path + rest, one.target_group) for rest, one in action.weighted_target_groups())


class ShortListener(Model):
    """The short form of one listener that forwards to one target group."""

    target_group: Name
    attributes: dict[str, AttributeValue] = Field(default_factory=dict, json_schema_extra=_keys(LISTENER))


def _known_type(value: object) -> object:
    if isinstance(value, str) and value in _NOT_EMULATED:
        raise ValueError(_NOT_EMULATED[value])
    return value


def _short_subnet(value: object) -> object:
    return {"subnet": value} if isinstance(value, str) else value


_ShortSubnet = Annotated[
    LoadBalancerSubnet, BeforeValidator(_short_subnet, json_schema_input_type=str | LoadBalancerSubnet)
]


_Type = Literal["application", "network", "gateway"]
_ONE_OF: JsonDict = {"oneOf": [{"required": ["listener"]}, {"required": ["listeners"]}]}


class LoadBalancer(Model):
    """A load balancer; `listener` is short for one of `listeners` of a gateway load balancer.

    `scheme`, `ip_address_type` and `security_groups` are for network and application load balancers. A scheme that is
    not given is internet-facing where a subnet has a `public_address`, else internal, so always of an application load
    balancer: a choice of ours, AWS's default is internet-facing.
    """

    model_config = ConfigDict(json_schema_extra=_ONE_OF)

    name: Name
    type: Annotated[
        _Type,
        BeforeValidator(_known_type, json_schema_input_type=_Type),
    ]
    scheme: Literal["internet-facing", "internal"] | None = None
    ip_address_type: Literal["ipv4", "dualstack"] = "ipv4"
    security_groups: tuple[SecurityGroupName, ...] = ()
    subnets: tuple[_ShortSubnet, ...] = Field(min_length=1)
    attributes: dict[str, AttributeValue] = Field(default_factory=dict, json_schema_extra=_keys(LOAD_BALANCER))
    listener: ShortListener | None = None
    listeners: tuple[Listener, ...] | None = Field(default=None, min_length=1)

    @model_validator(mode="after")
    def _one_way_to_say_it(self) -> LoadBalancer:
        given = self.model_fields_set & {"listener", "listeners"}
        if len(given) != 1 or (self.listener is None) == (self.listeners is None):
            got = "both" if len(given) == 2 else "none"
            raise ValueError(f"expected exactly one of the keys listener (short for one) and listeners, got {got}")
        return self

    @property
    def is_internet_facing(self) -> bool:
        """Whether its scheme, given or not, is internet-facing."""
        if self.scheme is None:
            return any(place.public_address for place in self.subnets)
        return self.scheme == "internet-facing"

    def all_listeners(self) -> list[tuple[Path, Listener]]:
        """Return every listener in its long form, and where it stands, from the load balancer on."""
        if self.listener is None:
            return [(("listeners", number), listener) for number, listener in enumerate(self.listeners or ())]
        action = Action(type="forward", target_group=self.listener.target_group)
        return [(("listener",), Listener(default_actions=(action,), attributes=self.listener.attributes))]

    def forwards(self) -> list[tuple[Path, str]]:
        """Return the name of every target group that is forwarded to, and where it stands, from the load balancer on.

        A name may come twice.
        """
        if self.listener is not None:
            return [(("listener", "target_group"), self.listener.target_group)]
        return [(here + rest, name) for here, listener in self.all_listeners() for rest, name in listener.forwards()]

    def target_groups(self) -> tuple[str, ...]:
        """Return the names of the target groups that it forwards to, each once."""
        return tuple(dict.fromkeys(name for _, name in self.forwards()))
