"""Pulling the cable of an interface and plugging it in again, without losing what the kernel knows about it."""

from __future__ import annotations

from gwlbemu.errors import NetError
from gwlbemu.net.interfaces import set_link
from gwlbemu.net.namespaces import path_of
from gwlbemu.topology.plan import End, Plan


def pull_cable(plan: Plan, namespace: str, device: str) -> None:
    """Take the carrier from an interface of the plan; it stays up and keeps its addresses, routes and neighbours."""
    end = _expendable_end(plan, namespace, device)
    set_link(path_of(end.namespace), end.name, up=False)


def plug_in(plan: Plan, namespace: str, device: str) -> None:
    """Undo `pull_cable`."""
    end = _expendable_end(plan, namespace, device)
    set_link(path_of(end.namespace), end.name, up=True)


def _expendable_end(plan: Plan, namespace: str, device: str) -> End:
    """Choose the end to set down: one without addresses, for the kernel flushes what it knows of an interface then."""
    for link in plan.links:
        ends = (link.a, link.b)
        if any((end.namespace, end.name) == (namespace, device) for end in ends):
            for end in ends:
                if not end.addresses:
                    return end
            raise NetError(f"the link of {device} in {namespace} cannot be pulled: both its ends hold addresses")
    raise NetError(f"the plan has no link with an end {device} in {namespace}")
