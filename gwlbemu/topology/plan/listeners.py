"""What listeners say about packets or requests: the values that every type of load balancer shares.

Names and meaning are those of the ELBv2 API (botocore, service model elbv2 2015-12-01: CreateListener, CreateRule). A
gateway load balancer has one listener, without protocol, port and rules, that forwards to one target group.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

LAB_CERTIFICATE = "lab"  # instead of a file: one that the lab's own authority makes


@dataclass(frozen=True, slots=True)
class WeightedTargetGroup:
    """One target group of a forward action (TargetGroupTuple) and its share of what the action gets."""

    target_group: str  # name
    weight: int = 1  # 0 to 999, relative to those of the action's other groups


@dataclass(frozen=True, slots=True)
class Action:
    """What a rule, or a listener where no rule matches, does."""

    type: str  # forward; later also those of an application load balancer, such as redirect
    target_groups: tuple[WeightedTargetGroup, ...] = ()  # of a forward action
    settings: dict[str, str] = field(default_factory=dict)  # of an action of another type, by the names of the API
    sticky: bool = False  # a client stays on one of the groups (TargetGroupStickinessConfig)


@dataclass(frozen=True, slots=True)
class Condition:
    """What a request has to match (RuleCondition): one of `values` in its `field`, or the IP version of its source."""

    field: str  # host-header, path-pattern, source-ip ...
    values: tuple[str, ...] = ()
    ip_address_type: str = ""  # ipv4 | ipv6, of a network load balancer's rule (SourceIpConditionConfig)


@dataclass(frozen=True, slots=True)
class Rule:
    """Actions for what meets every condition; the lowest priority is asked first."""

    priority: int  # 1 to 50000, each once per listener
    conditions: tuple[Condition, ...]
    actions: tuple[Action, ...]


@dataclass(frozen=True, slots=True)
class Tls:
    """How a TLS listener speaks with clients. Files are as the topology file names them; a certificate may be `lab`,
    one of the lab's own authority. `trust_store` is "" where clients need no certificate.
    """

    certificates: tuple[str, ...]  # the default one first
    ssl_policy: str
    alpn_policy: str
    trust_store: str
    ignore_client_certificate_expiry: bool
    advertise_trust_store_ca_names: bool


@dataclass(frozen=True, slots=True)
class Listener:
    """What a load balancer listens for, and what happens to it."""

    default_actions: tuple[Action, ...]
    protocol: str = ""  # "" for a gateway load balancer, which takes all IP packets
    port: int | None = None  # None for a gateway load balancer
    rules: tuple[Rule, ...] = ()
    attributes: dict[str, str] = field(default_factory=dict)  # every AWS key with its value as AWS writes it
    tls: Tls | None = None  # of a TLS listener

    def target_groups(self) -> Iterator[str]:
        """Yield the name of every target group that an action forwards to, rules first; a name may come twice."""
        actions = [action for rule in self.rules for action in rule.actions]
        for action in (*actions, *self.default_actions):
            yield from (one.target_group for one in action.target_groups)
