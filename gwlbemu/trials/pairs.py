"""Which two instances test packets go between when nobody names them: by preference a pair whose packets are inspected,
both ways, and answered; the path model tells.
"""

from __future__ import annotations

from collections.abc import Iterator

from gwlbemu.errors import SettingError
from gwlbemu.paths.values import Packet, States
from gwlbemu.paths.walk import HEALTHY, Paths, exchange
from gwlbemu.topology.plan.ends import client_and_server, web_port
from gwlbemu.topology.plan.values import Instance, Plan

MOST = 100  # pairs that are walked, one for each two subnets: less than a second


def inspected_pair(
    plan: Plan, states: States = HEALTHY, *, sender: Instance | None = None, receiver: Instance | None = None
) -> tuple[Instance, Instance]:
    """Return two ends that can talk through an endpoint; an end that is given stays.

    First choice is the pair of `client_and_server`, then one like it: a web server, at a public address, somebody on
    the internet. Where no pair is inspected it is that first choice, which raises SettingError when there is none.
    """
    first = client_and_server(plan, sender=sender, receiver=receiver)
    paths, best, found = Paths(plan), 0, first
    for pair in [first, *_others(plan, first, sender, receiver)][:MOST]:
        mark = _rated(paths, states, *pair)
        if mark > best:
            best, found = mark, pair
        if best == 3:
            break
    return found


def _others(
    plan: Plan, first: tuple[Instance, Instance], sender: Instance | None, receiver: Instance | None
) -> Iterator[tuple[Instance, Instance]]:
    """Yield the other pairs in order of preference; of a subnet one instance of a kind, since they share routes."""
    plain = [each for each in plan.instances if not each.appliance]
    kinds = {(each.subnet, bool(each.public_address), web_port(plan, each) is None): each for each in reversed(plain)}
    some = [each for each in plain if each in kinds.values()]
    senders = [sender] if sender else sorted(some, key=lambda each: bool(each.vpc))
    by_preference = sorted(some, key=lambda each: (web_port(plan, each) is None, not each.vpc, not each.public_address))
    for other in [receiver] if receiver else by_preference:
        for one in senders:
            if one is not other and (one, other) != first:
                yield one, other


def _rated(paths: Paths, states: States, sender: Instance, receiver: Instance) -> int:
    """Return 3 for a pair whose packets and answers are inspected and arrive, 2 for one direction, 1 for packets that
    are answered, or that come to an endpoint, 0 for others.
    """
    port = web_port(paths.plan, receiver) or 80
    try:
        found = exchange(paths, Packet(sender.name, receiver.name, source_port=None, destination_port=port), states)
    except SettingError:
        return 0
    if found.answered and any(found.inspected):
        return 3 if all(found.inspected) else 2
    return 1 if found.answered or found.there.endpoints else 0
