"""A Gateway Load Balancer's node on a packet's way: what the core says, for the states that are given.

Nothing is decided here: a packet is handed to the core's own flow table, choice and checks. What is open (a seed that
is not given, a source port) is picked instead of computed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from ipaddress import IPv4Address, ip_address

from gwlbemu.core.elb import choice
from gwlbemu.core.elb.gateway_attributes import FIVE_TUPLE, GatewayAttributes
from gwlbemu.core.elb.target import EVERY_ZONE, Target
from gwlbemu.core.emulation import Emulation
from gwlbemu.core.gateway.counters import Counters
from gwlbemu.core.gateway.entry import Entry
from gwlbemu.core.gateway.flows import Flow
from gwlbemu.core.gateway.key import flow_key, key_parts
from gwlbemu.core.gateway.placement import Placement
from gwlbemu.core.gateway.returns import Return
from gwlbemu.core.gateway.settings import Endpoint, Settings
from gwlbemu.core.gateway.targets import GatewayMember, GatewayTargetGroup
from gwlbemu.core.gateway.verdict import Verdict
from gwlbemu.paths.choices import Choices
from gwlbemu.paths.octets import encode
from gwlbemu.paths.values import FlowKey, Packet, States
from gwlbemu.topology.plan.values import GatewayNode, Plan
from gwlbemu.wire.aws import parse_endpoint
from gwlbemu.wire.ip import IpPacket, decode_ip

# The order of things: flows that are there already, then what became of the targets, then the packets.
FLOWS_AT, STATES_AT, NOW = 1.0, 2.0, 3.0
_PROBED = {"healthy": True, "unhealthy": False}


def settings_of(plan: Plan, node: GatewayNode) -> Settings:
    """Return what the core of a node is told, without a seed; changes reach the packets at once.

    One probe result decides, since states are given and not found out.
    """
    balancer = next(each for each in plan.load_balancers if each.name == node.load_balancer)
    group = plan.group_of(balancer.name)
    check = replace(group.health_check, healthy_threshold_count=1, unhealthy_threshold_count=1)
    return Settings(
        load_balancer=balancer.name,
        zone=node.zone,
        node_address=IPv4Address(node.address).packed,
        endpoints=tuple(Endpoint(parse_endpoint(e.endpoint_id), e.name) for e in plan.endpoints if e.node == node.name),
        targets=tuple(Target(each.id, IPv4Address(each.address).packed, each.zone) for each in group.targets),
        zones=balancer.zones,
        target_group=group.name,
        attributes=GatewayAttributes.from_text(balancer.attributes, balancer.listener_attributes, group.attributes),
        health_check=check,
        emulation=replace(Emulation.from_values(plan.emulation), propagation_delay_seconds=0),
    )


class _Group(GatewayTargetGroup):
    """A target group that asks where its choice cannot be computed."""

    pick: Callable[[tuple[GatewayMember, ...]], GatewayMember] | None = None

    def choose(self, seed: choice.Seed, key: bytes, members: tuple[GatewayMember, ...]) -> GatewayMember:
        """Return the member for a new flow: computed, or picked."""
        if self.pick is not None and len(members) > 1:
            return self.pick(members)
        return super().choose(seed, key, members)


class Node:
    """One node for the length of one walk: its flows begin with it."""

    def __init__(self, plan: Plan, node: GatewayNode, settings: Settings, states: States, choices: Choices) -> None:
        self.node, self._states, self._choices = node, states, choices
        self._seed = states.seeds.get(node.name)
        self._settings = settings = replace(settings, seed=self._seed or 0)
        self._ids = {endpoint.name: endpoint.id for endpoint in settings.endpoints}
        self._names = {endpoint.id: endpoint.name for endpoint in settings.endpoints}
        self._group = _Group(settings, settings.attributes, 0.0)
        self._placement = Placement(settings, settings.attributes, self._group, Counters(0.0))
        self._entry, self._return = Entry(self._placement), Return(self._placement)
        self._bring_about(plan)

    def endpoint(self, number: int) -> str:
        """Return the name of the endpoint with this 64-bit id."""
        return self._names[number]

    def knows(self, endpoint: str, packet: Packet) -> bool:
        """Tell whether a packet belongs to a live flow."""
        _, _, known = self._flow(endpoint, decode_ip(encode(packet)))
        return known

    def receive(self, endpoint: str, packet: Packet) -> tuple[Verdict, bytes, str]:
        """Return the core's verdict on a packet from an endpoint, the packet as bytes, and by what its target was
        chosen, for people.
        """
        data, number = encode(packet), self._ids[endpoint]
        table, key, known = self._flow(endpoint, decode_ip(data))
        by_port = packet.has_ports and self._settings.attributes.stickiness == FIVE_TUPLE and not packet.is_fragment
        is_open = self._seed is None or (by_port and None in (packet.source_port, packet.destination_port))
        self._group.pick = None
        if is_open or self._group.is_failing_open:
            self._group.pick = lambda members: self._choices.pick((self.node.name, number, key), members)
        verdict = self._entry.receive(number, data, NOW)
        if known and key in table:
            how = "live flow" if not table[key].state.moves else "flow moved to a healthy target"
        elif self._group.is_failing_open:
            how = "fail open: no target in scope is healthy"
        else:
            how = "the only target in scope" if len(self._group.eligible) == 1 else "rendezvous hash"
            if is_open and len(self._group.eligible) > 1:
                how += f", one of {len(self._group.eligible)}"
        if key in table and self._group.pick is not None and not known and len(self._group.eligible) > 1:
            self._choices.name(f"{self.node.name}: {table[key].target.id}")
        return verdict, data, how

    def _flow(self, endpoint: str, ip: IpPacket) -> tuple[dict[int, Flow], int, bool]:
        """Return the endpoint's flows, the key of a packet and whether its flow is among them."""
        number = self._ids[endpoint]
        key, _ = flow_key(ip, self._settings.attributes.stickiness)
        table = self._placement.table.by_endpoint[number]
        if key not in table:
            self._remember(endpoint, number, key, ip)
        return table, key, key in table

    def take_back(self, source: str, datagram: bytes) -> Verdict:
        """Return the core's verdict on a GENEVE datagram from a target's address."""
        return self._return.receive(IPv4Address(source).packed, datagram, NOW)

    def address_of(self, target: str) -> str:
        """Return the address of a target by its id."""
        return str(IPv4Address(self._group.members[target].address))

    def state_of(self, target: str) -> str:
        """Return AWS's state of a target by its id."""
        return self._group.members[target].status.state

    def _bring_about(self, plan: Plan) -> None:
        """Let the targets be in the states that are given, healthy where nothing is said."""
        mine = {target: state for (node, target), state in self._states.targets.items() if node == self.node.name}
        zones = {instance.name: (instance.address, instance.zone) for instance in plan.instances}
        for target, state in mine.items():
            if target not in self._group.members and state == "draining":  # deregistered, the plan has forgotten it
                address, zone = zones.get(target) or (target, EVERY_ZONE)
                self._group.register(Target(target, IPv4Address(address).packed, zone), 0.0)
        for target in list(self._group.members):
            state = mine.get(target, "healthy")
            if state in _PROBED:
                self._group.observe(target, _PROBED[state], STATES_AT)
            elif state == "draining":
                self._group.observe(target, True, STATES_AT)
                self._group.deregister(target, STATES_AT)
        self._placement.advance(STATES_AT)

    def _remember(self, endpoint: str, number: int, key: int, ip: IpPacket) -> None:
        """Put the live flow that the packet belongs to into the table, if the states have one."""
        flows = self._states.flows.get(self.node.name)
        if not flows:
            return
        parts = key_parts(key)
        low, high = _text(parts.low), _text(parts.high)
        forward: FlowKey = (endpoint, parts.protocol, low, parts.low_port, high, parts.high_port)
        backward: FlowKey = (endpoint, parts.protocol, high, parts.high_port, low, parts.low_port)
        for flow_name, from_high in ((forward, False), (backward, True)):
            member = self._group.members.get(flows.get(flow_name, ""))
            if member is None:
                continue
            eligible, self._group.healthy, self._group.pick = self._group.healthy, (member,), None
            flow = self._placement.place(number, key, from_high, ip, FLOWS_AT)
            self._group.healthy = eligible
            if isinstance(flow, Flow) and flow.state.half_open:
                flow.change_state(half_open=False)
                flow.idle_timeout = self._placement.idle_seconds(ip.protocol, flow)
            return


def _text(packed: bytes) -> str:
    return str(ip_address(packed))
