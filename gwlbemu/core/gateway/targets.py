"""What a Gateway Load Balancer keeps of its targets beyond what every load balancer does: the outside of packets to
them, what their flows meet, what has been counted.
"""

from __future__ import annotations

import math

from gwlbemu.core.elb.balancer_types import GATEWAY, MOST_TARGETS
from gwlbemu.core.elb.gateway_attributes import GatewayAttributes
from gwlbemu.core.elb.member import Member
from gwlbemu.core.elb.states import Membership
from gwlbemu.core.elb.target import Target
from gwlbemu.core.elb.target_group import GroupSettings, TargetGroup
from gwlbemu.core.gateway.fates import Fate, fate_of
from gwlbemu.core.gateway.key import key_protocol
from gwlbemu.core.gateway.settings import Settings
from gwlbemu.core.gateway.tally import Tally
from gwlbemu.core.gateway.tunnel import OuterHeaders


class GatewayMember(Member):
    """A target with its half of the tunnel. `tallies` are the packets to it and from it, by endpoint and protocol.

    `held` means that every packet of its flows needs a decision; otherwise they go to it at any time without one.
    `fate` is what those packets meet, `failed_at` when that last ceased to be CARRY. `return_addresses` are the outer
    source and destination of what comes back, as they stand in a packet.
    """

    __slots__ = (
        "failed_at", "fate", "flows", "held", "outer_headers", "return_addresses", "tallies",
    )  # fmt: skip

    def __init__(self, target: Target, weight_index: int, is_local: bool, settings: Settings) -> None:
        super().__init__(target, weight_index, is_local)
        self.return_addresses = target.address + settings.node_address
        self.outer_headers = OuterHeaders(settings.links.targets[target.address], settings.node_address, target.address)
        self.fate = Fate.CARRY
        self.failed_at = -math.inf
        self.held = False
        self.flows = 0
        self.tallies: dict[tuple[int, int], Tally] = {}

    def tally(self, endpoint: int, key: int) -> Tally:
        """Return the tally in which a flow with this endpoint and key is counted."""
        place = endpoint, key_protocol(key)
        known = self.tallies.get(place)
        if known is None:
            known = self.tallies[place] = Tally(self.outer_headers, self.return_addresses)
        return known

    def note_answers(self) -> None:
        """Begin to count unanswered packets anew where something has come back (see `Tally`)."""
        for tally in self.tallies.values():
            tally.note()

    def totals(self) -> tuple[int, int, int, int]:
        """Return packets to it and from it, bytes to and from."""
        tallies = self.tallies.values()
        return (
            sum(each.packets_to for each in tallies),
            sum(each.packets_from for each in tallies),
            sum(each.bytes_to for each in tallies),
            sum(each.bytes_from for each in tallies),
        )

    @property
    def is_referenced(self) -> bool:
        """Whether flows are bound to it."""
        return self.flows > 0


class GatewayTargetGroup(TargetGroup[GatewayMember, GatewayAttributes]):
    """The target group of one node, with the targets of its settings registered."""

    def __init__(self, settings: Settings, attributes: GatewayAttributes, now: float) -> None:
        super().__init__(
            GroupSettings(
                zone=settings.zone,
                most_targets=MOST_TARGETS[GATEWAY],
                zones=settings.zones,
                health_check=settings.health_check,
                propagation_delay_seconds=settings.emulation.propagation_delay_seconds,
            ),
            attributes,
            lambda target, index, is_local: GatewayMember(target, index, is_local, settings),
        )
        self._held_changed: list[GatewayMember] = []
        for target in settings.targets:
            self.register(target, now)

    def take_held_changes(self) -> list[GatewayMember]:
        """Return the members whose `held` has changed since the last call, in order."""
        taken, self._held_changed = self._held_changed, []
        return taken

    def _await_effect(self, member: GatewayMember) -> None:
        self._set_held(member, True)  # until then each of its packets is looked at with the clock in hand

    def _take_effect(self, member: GatewayMember, now: float) -> None:
        super()._take_effect(member, now)
        fate = fate_of(member.membership, member.health.healthy, self._attributes)
        if fate is not Fate.CARRY and member.fate is Fate.CARRY:
            member.failed_at = now
        member.fate = fate
        leaving = (
            member.membership is Membership.DRAINING
            and fate_of(Membership.GONE, None, self._attributes) is not Fate.CARRY
        )
        self._set_held(member, fate is not Fate.CARRY or leaving)

    def _set_held(self, member: GatewayMember, held: bool) -> None:
        if member.held is not held:
            member.held = held
            self._held_changed.append(member)
