"""Keeps a lab's shortcuts (see `topology.shortcuts`) on every fabric and router in which no cable is pulled.

A shortcut hands frames to the other end of a link without looking at the near one. So where `fail` pulls cables the
kernel does everything itself until they are healed. `shortcuts.json` of the state folder says where one is
installed, and why there are none on a machine that has none.
"""

from __future__ import annotations

import json
import socket
from collections.abc import Collection
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from ipaddress import ip_address, ip_network
from pathlib import Path

from gwlbemu.fastpath import forwarding
from gwlbemu.fastpath.build import VPC, cache_folder, compile_object, missing
from gwlbemu.lab.state import State
from gwlbemu.net.inside import inside
from gwlbemu.net.namespaces import path_of
from gwlbemu.topology.plan.machine_half import OpenRule
from gwlbemu.topology.plan.shortcuts import MacEntry, Shortcut, shortcuts
from gwlbemu.topology.plan.values import Plan


@dataclass(slots=True)
class InstalledShortcuts:
    """The namespaces that have their shortcut, and `reason` why some or all have not."""

    namespaces: list[str] = field(default_factory=list)
    reason: str = ""


def installed(state: State) -> InstalledShortcuts:
    """Return where a lab has shortcuts. Nowhere, if the file is damaged: to install one again does no harm."""
    with suppress(FileNotFoundError, ValueError, TypeError, RecursionError):
        found = InstalledShortcuts(**json.loads(state.shortcuts.read_text()))
        if isinstance(found.reason, str) and isinstance(found.namespaces, list):
            return InstalledShortcuts([name for name in found.namespaces if isinstance(name, str)], found.reason)
    return InstalledShortcuts()


def install(plan: Plan, state: State, *, broken: Collection[str] = ()) -> None:
    """Install every shortcut that is missing, except in the namespaces `broken`.

    Where the machine refuses, the kernel forwards as it does without shortcuts, and `installed` says why.
    """
    now = installed(state)
    wanted = [each for each in shortcuts(plan) if each.namespace not in now.namespaces and each.namespace not in broken]
    now.reason = "false was asked for" if not plan.shortcuts else missing(cache_folder(), VPC) or ""
    if wanted and not now.reason:
        try:
            compiled = compile_object(cache_folder(), VPC)
            for each in wanted:
                _attach(each, compiled)
                now.namespaces.append(each.namespace)
        except OSError as error:
            now.reason = error.strerror or str(error)
    state.keep(state.shortcuts, json.dumps(asdict(now)))


def remove(plan: Plan, state: State, namespaces: Collection[str]) -> None:
    """Remove the shortcuts of `namespaces`: the kernel forwards everything there itself.

    Raises NetError when that cannot be written down; then they stay.
    """
    now = installed(state)
    now.namespaces = [name for name in now.namespaces if name not in namespaces]
    state.keep(state.shortcuts, json.dumps(asdict(now)))
    detach(plan, namespaces)


def detach(plan: Plan, namespaces: Collection[str]) -> None:
    """Take the shortcuts of `namespaces` off, whatever is written down: who wrote it may have died before."""
    for each in shortcuts(plan):
        if each.namespace in namespaces:
            with inside(path_of(each.namespace)):
                forwarding.detach(each.devices)


def _attach(shortcut: Shortcut, compiled: Path) -> None:
    with inside(path_of(shortcut.namespace)):
        forwarding.attach(compiled, [_place(each) for each in shortcut.places], shortcut.devices, shortcut.guarded)


def _place(entry: MacEntry) -> forwarding.Place:
    mac, port = bytes.fromhex(entry.mac.replace(":", "")), entry.instance
    if port is None:
        return forwarding.Place(mac, entry.device, entry.bridge, one_way=entry.one_way)
    return forwarding.Place(
        mac,
        entry.device,
        instance=True,
        one_way=entry.one_way,
        checked=port.source_dest_check,
        stateful=port.stateful,
        open_ways=[_open_way(rule) for rule in port.open_rules],
        address=ip_address(port.address).packed,
        ipv6_address=ip_address(port.ipv6_address or "::").packed,
    )


def _open_way(rule: OpenRule) -> forwarding.OpenWay:
    network = ip_network(rule.network, strict=False)
    protocol = {"tcp": socket.IPPROTO_TCP, "udp": socket.IPPROTO_UDP}[rule.protocol]
    return forwarding.OpenWay(
        network.network_address.packed, network.netmask.packed, protocol, rule.first_port, rule.last_port
    )
