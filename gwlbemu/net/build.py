"""From the plan's machine half to the machine: the namespaces, then the links between them, then what each one holds.

Every namespace is in the record before it has its name, and its undo is pushed at once; everything else lives inside a
namespace and goes with it. Links are made directly where they belong, so none is ever seen outside the lab.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from socket import AF_INET, AF_INET6

from gwlbemu.errors import NetError
from gwlbemu.net import firewall, interfaces, messages, namespaces, rewrites, sysctls
from gwlbemu.net.inside import in_fresh_namespace, inside
from gwlbemu.net.netlink import Netlink, Request
from gwlbemu.net.record import OwnedNamespace, Record
from gwlbemu.topology.plan.machine_half import Bridge, End, Link, Namespace
from gwlbemu.topology.plan.values import Plan

FIRST_INDEX = 100  # below it the kernel may have put fallback devices of its own (tunl0, sit0) into a new namespace

OnStep = Callable[[str], None]


def _ignore(_: str) -> None:
    return None


@dataclass(slots=True)
class _Site:
    """A namespace under construction."""

    plan: Namespace
    netlink: Netlink
    fd: int
    indexes: dict[str, int] = field(default_factory=lambda: {"lo": messages.LOOPBACK_INDEX})
    ends: list[End] = field(default_factory=list)

    def take_index(self, device: str) -> int:
        self.indexes[device] = FIRST_INDEX + len(self.indexes) - 1
        return self.indexes[device]

    def index(self, device: str) -> int:
        try:
            return self.indexes[device]
        except KeyError:
            raise NetError(f"the plan names {device} of {self.plan.name}, which it does not make") from None


def build(plan: Plan, record: Record, *, on_step: OnStep = _ignore) -> None:
    """Make every namespace and link of the plan; on any failure nothing of it is left and NetError says what was tried.

    `on_step` is told, in words, what comes next; what it raises stops the build like any other failure.
    """
    with ExitStack() as undo, ExitStack() as opened:
        _refuse_taken_names(plan)
        namespaces.prepare_directory()
        sites: dict[str, _Site] = {}
        for namespace in plan.namespaces:
            with _trying(f"make namespace {namespace.name}", on_step):
                sites[namespace.name] = _make_namespace(namespace, record, undo, opened, on_step)
        for site in sites.values():
            with _trying(f"make the bridges of {site.plan.name}", on_step):
                bridges = site.plan.bridges
                site.netlink.send(
                    [(f"add bridge {b.name}", messages.create_bridge(b, site.take_index(b.name))) for b in bridges]
                )
        for link in plan.links:
            what = f"link {link.a.name} of {link.a.namespace} with {link.b.name} of {link.b.namespace}"
            with _trying(what, on_step):
                _make_link(link, sites, what)
        for site in sites.values():
            with _trying(f"configure {site.plan.name}", on_step):
                _configure(site)
        undo.pop_all()


@contextmanager
def _trying(what: str, on_step: OnStep) -> Iterator[None]:
    on_step(what)
    try:
        yield
    except OSError as error:
        raise NetError(f"cannot {what}: {error.strerror or error}") from error
    except NetError as error:
        raise NetError(f"{error} (while trying to {what})") from error


def _refuse_taken_names(plan: Plan) -> None:
    for namespace in plan.namespaces:
        if os.path.lexists(namespaces.path_of(namespace.name)):
            raise NetError(f"a network namespace {namespace.name} exists already and is not this lab's")


def _make_namespace(plan: Namespace, record: Record, undo: ExitStack, opened: ExitStack, on_step: OnStep) -> _Site:
    with in_fresh_namespace():
        identity = namespaces.current_identity()
        sysctls.write_defaults()
        # Known by what it is before it has a name: whoever dies from here on, `down` cannot mistake another one for it.
        record.add(OwnedNamespace(plan.name, identity.inode, identity.cookie))
        undo.callback(namespaces.remove, plan.name, identity)
        on_step(f"name namespace {plan.name}")
        namespaces.name_current(plan.name)
        netlink = Netlink()
        opened.callback(netlink.close)
    fd = os.open(namespaces.path_of(plan.name), os.O_RDONLY | os.O_CLOEXEC)
    opened.callback(os.close, fd)
    return _Site(plan, netlink, fd)


def _make_link(link: Link, sites: dict[str, _Site], what: str) -> None:
    a, b = sites[link.a.namespace], sites[link.b.namespace]
    message = messages.create_veth(link.a, a.take_index(link.a.name), link.b, b.take_index(link.b.name), b.fd)
    a.netlink.send([(what, message)])
    for site, end in ((a, link.a), (b, link.b)):
        site.ends.append(end)
        if not end.offload:
            interfaces.switch_offloads_off(site.netlink.fileno(), end.name)


def _configure(site: _Site) -> None:
    with inside(namespaces.path_of(site.plan.name)):
        if site.plan.nftables:
            firewall.load(site.plan.nftables)  # before the first interface is up
            rewrites.append(site.plan.address_rewrites)
        site.netlink.send([*_interfaces(site), *_tables(site)])
        sysctls.write_forwarding(site.plan.forwarding)


def _interfaces(site: _Site) -> Iterator[Request]:
    """Everything up, ports in their bridges, addresses.

    An interface with permanent neighbours asks nobody, one without an address has nothing to say: both are quiet.
    """
    with_neighbours = {neighbour.device for neighbour in site.plan.neighbours}
    yield "set lo up", messages.set_up(messages.LOOPBACK_INDEX)
    devices: tuple[Bridge | End, ...] = (*site.plan.bridges, *site.ends)
    for device in devices:
        index = site.index(device.name)
        quiet = device.name in with_neighbours or not device.addresses
        bridge = device.bridge if isinstance(device, End) else None
        master = site.index(bridge) if bridge is not None else None
        yield f"set {device.name} up", messages.set_up(index, quiet=quiet, master=master)
        if master is not None:
            yield f"configure bridge port {device.name}", messages.configure_port(index)
        for address in device.addresses:
            yield f"give {device.name} the address {address}", messages.add_address(index, address)
        if isinstance(device, End) and device.rate_mbit is not None:
            yield f"limit the rate of {device.name}", messages.limit_rate(index, device.rate_mbit, device.mtu)


def _tables(site: _Site) -> Iterator[Request]:
    """Forwarding entries, neighbours, routes and rules."""
    for entry in site.plan.forwarding_entries:
        what = f"put {entry.mac} behind port {entry.port}"
        yield what, messages.add_forwarding_entry(site.index(entry.port), entry)
    for neighbour in site.plan.neighbours:
        what = f"add neighbour {neighbour.address} on {neighbour.device}"
        yield what, messages.add_neighbour(site.index(neighbour.device), neighbour)
    for route in sorted(site.plan.routes, key=lambda route: route.via is not None):  # a next hop must be reachable
        what = f"add route {route.destination} (table {route.table})"
        yield what, messages.add_route(route, None if route.device is None else site.index(route.device))
    for incoming, mark, table in site.plan.mark_rules:
        for family in (AF_INET, AF_INET6):
            yield f"send mark {mark} on {incoming} to table {table}", messages.add_rule(family, incoming, table, mark)
    for incoming, table in site.plan.rules:
        for family in (AF_INET, AF_INET6):
            yield f"send what comes in on {incoming} to table {table}", messages.add_rule(family, incoming, table)
