"""What the HAProxy of a node shall do: a frozen value, from which its text and its commands are made.

Two values of one `shape` differ by the states of servers alone, which a running HAProxy is told; another shape needs a
new text.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from gwlbemu.core.application.settings import Listener

FULL_WEIGHT = 100  # of a server that is not in slow start


@dataclass(frozen=True, slots=True)
class Server:
    """A target. Its `name` says nothing about it, and is the same in every node: it is what cookies hold."""

    name: str
    target: str  # id
    address: str
    port: int
    takes_requests: bool
    weight: int = FULL_WEIGHT  # less during slow start


@dataclass(frozen=True, slots=True)
class Pool:
    """A target group with its servers: those that may take requests, and those that finish what they have.

    `registered` is how many targets are registered and used: with none a request is answered 503, else 502 or 504 where
    no target answers.
    """

    name: str
    protocol: str  # HTTP | HTTPS
    protocol_version: str  # HTTP1 | HTTP2 | GRPC
    attributes: Mapping[str, str]
    servers: tuple[Server, ...]
    registered: int


@dataclass(frozen=True, slots=True)
class Engine:
    """Everything that an engine does."""

    addresses: tuple[str, ...]  # of the node, the IPv4 one first
    dns_name: str
    cookie_secret: bytes
    attributes: Mapping[str, str]  # of the load balancer
    listeners: tuple[Listener, ...] = ()
    pools: tuple[Pool, ...] = ()

    @property
    def shape(self) -> Engine:
        """The same without what changes with the states of targets; whether there are any registered stays."""
        pools = (
            replace(
                pool,
                servers=tuple(replace(one, takes_requests=True, weight=FULL_WEIGHT) for one in pool.servers),
                registered=min(pool.registered, 1),
            )
            for pool in self.pools
        )
        return replace(self, pools=tuple(pools))

    def with_states_of(self, other: Engine) -> Engine:
        """Return the same with what its servers have in `other`; one that is not there takes no requests."""
        new = {(pool.name, server.name): server for pool in other.pools for server in pool.servers}

        def now(pool: Pool, server: Server) -> Server:
            found = new.get((pool.name, server.name))
            if found is None:
                return replace(server, takes_requests=False)
            return replace(server, takes_requests=found.takes_requests, weight=found.weight)

        pools = (replace(pool, servers=tuple(now(pool, one) for one in pool.servers)) for pool in self.pools)
        return replace(self, pools=tuple(pools))
