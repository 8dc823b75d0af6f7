"""What the proxy of a node shall do, as values: connections that the kernel cannot carry by translating addresses.

Those are the ones to a TLS listener, and to a TCP listener that forwards to a group with `proxy_protocol_v2.enabled`:
a header stands in front of what the client sends. Over IPv6 it is every one, since targets have IPv4 addresses. The
proxy takes the connection and makes another to the target.

    choice         AWS's flow hash ends at the proxy: each connection is given to any eligible target alike, with
                   `stickiness.enabled` to that of the client's address (a choice of ours)
    client kept    over IPv4 the connection to the target comes from the client's address, from a port of its own;
                   over IPv6, to targets with IPv4 addresses, from the node's (NLB guide, Client IP preservation)
    eligible       a server takes new connections while its target may be chosen; those it has it keeps until they are
                   ended by name
    idle           350 seconds at a TLS listener, fixed; at a TCP listener as its attribute says (NLB guide, Listeners)
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from gwlbemu.core.elb.network_attributes import NetworkAttributes
from gwlbemu.core.elb.tls import Tls
from gwlbemu.core.network.settings import Forward, Group, Listener

TLS = "TLS"
TLS_IDLE_SECONDS = 350
_IPV6 = ".ipv6"  # ends the names of frontends at the IPv6 address
SHARES = 1000  # into which a forward to several groups is divided


@dataclass(frozen=True, slots=True)
class Server:
    """A target as the proxy knows it; no other target of the load balancer ever has its name."""

    name: str
    address: str
    port: int
    takes_new: bool


@dataclass(frozen=True, slots=True)
class Backend:
    """A target group behind one listener. Without `keeps_client` its connections come from the node's `source`."""

    name: str
    servers: tuple[Server, ...]
    source: str
    keeps_client: bool
    sends_header: bool  # of proxy protocol v2
    speaks_tls: bool  # with the targets, whose certificates are not looked at
    is_sticky: bool
    idle_seconds: int
    keeps_alive: bool  # TCP keepalives go to the targets, of which idle times know nothing


@dataclass(frozen=True, slots=True)
class Frontend:
    """A listener at one address of the node. `shares` are the ends of its backends' parts of SHARES, by name."""

    name: str
    address: str
    port: int
    tls: Tls | None
    shares: tuple[tuple[str, int], ...]
    is_sticky: bool  # a client's address stays with one backend
    idle_seconds: int


@dataclass(frozen=True, slots=True)
class Proxy:
    """Everything that a proxy does; nothing where there is no listener for it."""

    frontends: tuple[Frontend, ...] = ()
    backends: tuple[Backend, ...] = ()

    @property
    def shape(self) -> Proxy:
        """The same without what changes with health: two of one shape differ by `takes_new` alone."""
        backends = (
            replace(each, servers=tuple(replace(one, takes_new=True) for one in each.servers)) for each in self.backends
        )
        return replace(self, backends=tuple(backends))

    def with_states_of(self, other: Proxy) -> Proxy:
        """Return the same with what its servers have in `other`; one that is not there takes nothing new."""
        new = {(backend, server.name): server.takes_new for backend, server in other.servers()}
        backends = (
            replace(
                each,
                servers=tuple(replace(one, takes_new=new.get((each.name, one.name), False)) for one in each.servers),
            )
            for each in self.backends
        )
        return replace(self, backends=tuple(backends))

    def servers(self) -> Iterator[tuple[str, Server]]:
        """Yield each server with the name of its backend."""
        return ((backend.name, server) for backend in self.backends for server in backend.servers)


def server_name(number: int) -> str:
    """Return the name of the server that is the target with this number (see `tables`)."""
    return f"target-{number}"


def number_of(server: str) -> int:
    """Return the number of the target whose server has this name, 0 for another name."""
    word, _, number = server.partition("-")
    return int(number) if word == "target" and number.isdecimal() else 0


def listener_of(frontend: str) -> str:
    """Return the name of the listener whose frontend, of either IP version, has this name."""
    return frontend.removesuffix(_IPV6)


def is_proxied(listener: Listener, groups: Mapping[str, Group], version: int = 4) -> bool:
    """Whether connections to a listener over this IP version are the proxy's; of a listener for TCP and UDP those of
    TCP.
    """
    if listener.protocol == TLS or (version == 6 and "TCP" in listener.protocol):
        return True
    return "TCP" in listener.protocol and any(
        groups[name].attributes.get("proxy_protocol_v2.enabled") == "true"
        for name, _ in listener.forward_of(version).groups
    )


def proxy(
    addresses: tuple[bytes, ...],
    listeners: tuple[Listener, ...],
    groups: Mapping[str, Group],
    servers: Mapping[str, tuple[Server, ...]],
) -> Proxy:
    """Return what the proxy does at a node's `addresses`, the IPv4 one first; `servers` are those of each group."""
    frontends, backends = [], []
    source = text_of(addresses[0])
    for listener in listeners:
        for address in addresses:
            version = 4 if len(address) == 4 else 6
            if not is_proxied(listener, groups, version):
                continue
            frontend = _frontend(listener, listener.forward_of(version), address)
            frontends.append(frontend)
            for name, _ in frontend.shares:
                group = name.rpartition(":")[2]
                backends.append(_backend(name, frontend, groups[group], servers[group], source, version == 4))
    return Proxy(tuple(frontends), tuple(backends))


def _frontend(listener: Listener, forward: Forward, address: bytes) -> Frontend:
    name = listener.name if len(address) == 4 else listener.name + _IPV6
    total = sum(weight for _, weight in forward.groups)
    shares, reached = [], 0
    for group, weight in forward.groups:
        if weight:
            reached += weight
            shares.append((f"{name}:{group}", round(SHARES * reached / total)))
    idle = NetworkAttributes.from_text(listener=listener.attributes).tcp_idle_seconds
    return Frontend(
        name=name,
        address=text_of(address),
        port=listener.port,
        tls=listener.tls,
        shares=tuple(shares),
        is_sticky=forward.sticky,
        idle_seconds=TLS_IDLE_SECONDS if listener.protocol == TLS else idle,
    )


def _backend(
    name: str, frontend: Frontend, group: Group, servers: tuple[Server, ...], source: str, can_keep: bool
) -> Backend:
    attributes = NetworkAttributes.from_text(target_group=group.attributes)
    return Backend(
        name=name,
        servers=servers,
        source=source,
        keeps_client=can_keep and attributes.preserve_client_ip,
        sends_header=attributes.proxy_protocol_v2,
        speaks_tls=group.protocol == TLS,
        is_sticky=attributes.sticky,
        idle_seconds=frontend.idle_seconds,
        keeps_alive=frontend.tls is not None,
    )


def text_of(address: bytes) -> str:
    """Return an address of 4 or 16 bytes as text."""
    return str(ipaddress.ip_address(address))
