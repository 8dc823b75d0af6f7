"""The listeners of a plan: the values that every type of load balancer shares. Rules and actions are the core's.

A gateway load balancer has one listener, without protocol, port and rules, that forwards to one target group.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from gwlbemu.core.elb.rules import Action, Rule

LAB_CERTIFICATE = "lab"  # instead of a file: one that the lab's own authority makes


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
    passthrough: bool = False  # mutual authentication in mode passthrough, of an application load balancer


@dataclass(frozen=True, slots=True)
class Listener:
    """What a load balancer listens for, and what happens to it."""

    default_actions: tuple[Action, ...]
    protocol: str = ""  # "" for a gateway load balancer, which takes all IP packets
    port: int | None = None  # None for a gateway load balancer
    rules: tuple[Rule, ...] = ()
    attributes: dict[str, str] = field(default_factory=dict)  # every AWS key with its value as AWS writes it
    tls: Tls | None = None  # of a TLS or HTTPS listener

    def target_groups(self) -> Iterator[str]:
        """Yield the name of every target group that an action forwards to, rules first; a name may come twice."""
        actions = [action for rule in self.rules for action in rule.actions]
        for action in (*actions, *self.default_actions):
            yield from (one.target_group for one in action.target_groups)
