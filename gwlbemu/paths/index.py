"""A plan with every look-up that walking needs: made once, changed never."""

from __future__ import annotations

from functools import cached_property

from gwlbemu.core.gateway.settings import Settings
from gwlbemu.paths.gateway import settings_of
from gwlbemu.paths.machine import Machine
from gwlbemu.topology.plan.values import Endpoint, GatewayNode, Instance, Plan, SecurityGroup, TransitGateway


class Paths:
    """A plan with its look-ups."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.machine = Machine(plan)
        self.instances: dict[str, Instance] = {each.namespace: each for each in plan.instances}
        self.by_name: dict[str, Instance] = {each.name: each for each in plan.instances}
        self.nodes: dict[str, GatewayNode] = {each.namespace: each for each in plan.gateway_nodes}
        self.endpoints: dict[tuple[str, str], Endpoint] = {(e.node, e.device): e for e in plan.endpoints}
        self.endpoint_named: dict[str, Endpoint] = {each.name: each for each in plan.endpoints}
        self.transit: dict[str, TransitGateway] = {each.namespace: each for each in plan.transit_gateways}
        self.nat = {each.namespace: each for each in plan.nat_gateways}
        self.programs = {each.namespace: each for each in plan.programs}
        groups = {(each.vpc, each.name): each for each in plan.security_groups}
        self.groups: dict[str, tuple[SecurityGroup, ...]] = {
            one.namespace: tuple(groups[one.vpc, name] for name in one.security_groups) for one in plan.instances
        }
        self._settings: dict[str, Settings] = {}

    @cached_property
    def public(self) -> dict[str, dict[str, str]]:
        """By VPC, the public address of each private one that its internet gateway translates."""
        found: dict[str, dict[str, str]] = {vpc.name: {} for vpc in self.plan.vpcs}
        for instance in self.plan.instances:
            if instance.vpc and instance.public_address:
                found[instance.vpc][instance.address] = instance.public_address
        for gateway in self.plan.nat_gateways:
            found[gateway.vpc][gateway.address] = gateway.public_address
        return found

    @cached_property
    def gateways(self) -> dict[str, dict[str, str]]:
        """By the name of an internet gateway, what it translates: private -> public."""
        return {vpc.internet_gateway: self.public[vpc.name] for vpc in self.plan.vpcs if vpc.internet_gateway}

    def settings(self, node: GatewayNode) -> Settings:
        """Return what the core of a node is told."""
        if node.name not in self._settings:
            self._settings[node.name] = settings_of(self.plan, node)
        return self._settings[node.name]
