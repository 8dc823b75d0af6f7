"""An Application Load Balancer in one zone: what the engine of its node shall do, and whose requests are to end.

Rules of this file: `now` is seconds on one clock that never goes back; no engine is told anything here. After each call
that changes something, the caller brings the engine to `engine()` and then ends the requests of `take_ended()`.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator

from gwlbemu.core.application.engine import Engine, Pool, Server
from gwlbemu.core.application.records import TargetHealth
from gwlbemu.core.application.settings import Balancer, Group, Listener, Settings
from gwlbemu.core.application.targets import ApplicationTargetGroup
from gwlbemu.core.elb.application_attributes import ApplicationAttributes
from gwlbemu.core.elb.balancer_types import APPLICATION, MOST_TARGETS
from gwlbemu.core.elb.groups import Groups, ProbeTarget
from gwlbemu.core.elb.rules import Action
from gwlbemu.core.elb.states import Membership
from gwlbemu.errors import AwsError


class ApplicationBalancer:
    """One load balancer as one node sees it. Raises AwsError for what AWS would refuse; then nothing has changed."""

    def __init__(self, settings: Settings, balancer: Balancer, now: float) -> None:
        self._settings = settings
        self._groups: Groups[Group, ApplicationAttributes, ApplicationTargetGroup] = Groups(
            self._make_group, MOST_TARGETS[APPLICATION]
        )
        self._balancer = balancer
        self._ended: list[str] = []
        self._engine: Engine | None = None  # as long as it is so
        self._effects: tuple[int, ...] = ()
        self.configure(balancer, now)

    # ---- changes ----
    def configure(self, balancer: Balancer, now: float) -> None:
        """Be `balancer` from now on; what is known of targets that stay stays, and what is gone drains.

        A target group that is gone is gone at once: what runs there goes on.
        """
        attributes = {
            group.name: ApplicationAttributes.from_text(
                load_balancer=balancer.attributes, target_group=group.attributes
            )
            for group in balancer.groups
        }
        for listener in balancer.listeners:
            ApplicationAttributes.from_text(listener=listener.attributes)
            _check_listener(listener, {group.name for group in balancer.groups})
        self._groups.check(balancer.groups)
        self._groups.change(balancer.groups, attributes, now)
        self._balancer, self._engine = balancer, None
        self._note()

    def observe(self, group: str, target: str, ok: bool, now: float, reason: str = "", description: str = "") -> None:
        """Count a probe's result for a target of a group (see TargetGroup.observe)."""
        self._groups.observe(group, target, ok, now, reason, description)
        self._note()

    def expire(self, now: float) -> None:
        """Do what is due by `now`: deregistration delays end, weights rise."""
        self._groups.advance(now)
        self._note()

    def next_deadline(self) -> float:
        """Return when `expire` has something to do next; math.inf when nothing waits."""
        return self._groups.next_deadline()

    def take_ended(self) -> list[str]:
        """Return the names of the servers whose requests are to end, since the last call."""
        taken, self._ended = self._ended, []
        return taken

    # ---- what is known ----
    def told(self) -> Balancer:
        """Return the load balancer as it was told last."""
        return self._balancer

    def groups(self) -> dict[str, Group]:
        """Return what is known of each target group by its name, as it was told."""
        return dict(self._groups.told)

    def failing_open(self) -> list[str]:
        """Return the names of the groups that send to unhealthy targets because too few are healthy."""
        return self._groups.failing_open()

    def healthy_counts(self) -> dict[str, tuple[int, int]]:
        """Return by target group how many of the targets in this zone's scope are healthy, and how many have to be for
        the zone to be in DNS.
        """
        return self._groups.healthy_counts()

    def target_health(self, now: float) -> list[TargetHealth]:
        """Return every target of every group, as DescribeTargetHealth would."""
        self.expire(now)
        return [
            TargetHealth(
                name,
                member.id,
                member.address,
                member.port,
                member.zone,
                *member.status,
                member.server,
                group.is_in_scope(member) or member.membership is Membership.NOT_IN_USE,
            )
            for name, _, group in self._groups
            for member in group.members.values()
        ]

    def probe_targets(self, group: str) -> list[ProbeTarget]:
        """Return whom to probe in a group."""
        return self._groups.probe_targets(group)

    # ---- what the engine shall do ----
    def engine(self) -> Engine:
        """Return what the engine of the node shall do now: the same object as long as nothing has changed."""
        if self._engine is None:
            self._engine = self._make_engine()
        return self._engine

    def _make_engine(self) -> Engine:
        addresses = filter(None, (self._settings.address, self._settings.ipv6_address))
        return Engine(
            addresses=tuple(str(ipaddress.ip_address(each)) for each in addresses),
            dns_name=self._settings.dns_name,
            cookie_secret=self._settings.cookie_secret,
            attributes=self._balancer.attributes,
            listeners=self._balancer.listeners,
            pools=tuple(_pool(told, group) for _, told, group in self._groups),
        )

    # ---- inside ----
    def _make_group(self, told: Group, attributes: ApplicationAttributes, now: float) -> ApplicationTargetGroup:
        return ApplicationTargetGroup(self._settings, told, attributes, now)

    def _note(self) -> None:
        """Take what the groups have decided, and forget who is gone."""
        for _, _, group in self._groups:
            self._ended += [member.server for member in group.take_ended()]
        effects = tuple(group.effects for _, _, group in self._groups)
        if effects != self._effects:
            self._effects, self._engine = effects, None
        self._groups.forget_gone()


def _pool(told: Group, group: ApplicationTargetGroup) -> Pool:
    eligible = set(group.eligible)
    inside = [each for each in group.members.values() if group.is_in_scope(each)]
    return Pool(
        name=told.name,
        protocol=told.protocol,
        protocol_version=told.protocol_version,
        attributes=told.attributes,
        servers=tuple(
            Server(
                each.server,
                each.id,
                str(ipaddress.ip_address(each.address)),
                each.port,
                each in eligible,
                each.weight,
            )
            for each in inside
        ),
        registered=sum(each.membership is Membership.REGISTERED for each in inside),
    )


def _check_listener(listener: Listener, groups: set[str]) -> None:
    for action in _actions(listener):
        for each in action.target_groups:
            if each.target_group not in groups:
                raise AwsError(
                    f"listener {listener.name} forwards to unknown target group {each.target_group}",
                    "TargetGroupNotFound",
                )


def _actions(listener: Listener) -> Iterator[Action]:
    yield from listener.default_actions
    for rule in listener.rules:
        yield from rule.actions
