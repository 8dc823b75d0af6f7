"""A plan with every look-up that walking needs: made once, changed never."""

from __future__ import annotations

from functools import cached_property

from gwlbemu.core.gateway.settings import Settings
from gwlbemu.paths.application_node import ApplicationModel
from gwlbemu.paths.gateway import settings_of
from gwlbemu.paths.machine import Machine, Space
from gwlbemu.paths.network_node import NetworkModel
from gwlbemu.paths.values import States
from gwlbemu.topology.plan.values import (
    ApplicationNode,
    Endpoint,
    GatewayNode,
    Instance,
    NetworkNode,
    Path,
    Plan,
    SecurityGroup,
    TransitGateway,
)


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
        balancers = {each.name: each for each in plan.load_balancers}
        self.network_nodes: dict[str, NetworkNode] = {each.namespace: each for each in plan.network_nodes}
        self.application_nodes: dict[str, ApplicationNode] = {each.namespace: each for each in plan.application_nodes}
        for node in plan.addressed_nodes:
            balancer = balancers[node.load_balancer]
            self.groups[node.namespace] = tuple(groups[balancer.vpc, name] for name in balancer.security_groups)
        self._settings: dict[str, Settings] = {}
        self._network: dict[str, tuple[States, NetworkModel]] = {}
        self._application: dict[str, tuple[States, ApplicationModel]] = {}

    @cached_property
    def public(self) -> dict[str, dict[str, str]]:
        """By VPC, the public address of each private one that its internet gateway translates."""
        found: dict[str, dict[str, str]] = {vpc.name: {} for vpc in self.plan.vpcs}
        for instance in self.plan.instances:
            if instance.vpc and instance.public_address:
                found[instance.vpc][instance.address] = instance.public_address
        for gateway in self.plan.nat_gateways:
            found[gateway.vpc][gateway.address] = gateway.public_address
        vpcs = {balancer.name: balancer.vpc for balancer in self.plan.load_balancers}
        for node in self.plan.addressed_nodes:
            if node.public_address:
                found[vpcs[node.load_balancer]][node.address] = node.public_address
        return found

    @cached_property
    def gateways(self) -> dict[str, dict[str, str]]:
        """By the name of an internet gateway, what it translates: private -> public."""
        return {vpc.internet_gateway: self.public[vpc.name] for vpc in self.plan.vpcs if vpc.internet_gateway}

    @cached_property
    def returning(self) -> dict[str, Space]:
        """By the namespace of an instance, or a node, whose port remembers flows of network load balancers, its
        subnet's.
        """
        macs = {
            port.mac: self.machine.spaces[each.name]
            for each in self.plan.namespaces
            for port in each.instance_ports
            if port.returns
        }
        owners: tuple[Instance | ApplicationNode, ...] = (*self.plan.instances, *self.plan.application_nodes)
        return {each.namespace: macs[each.mac] for each in owners if each.mac in macs}

    @cached_property
    def group_places(self) -> dict[str, Path]:
        """Where in the file each target group stands, by its name."""
        return {each.name: ("target_groups", number) for number, each in enumerate(self.plan.target_groups)}

    @cached_property
    def balancer_places(self) -> dict[str, Path]:
        """Where in the file each load balancer stands, by its name."""
        return {each.name: ("load_balancers", number) for number, each in enumerate(self.plan.load_balancers)}

    def groups_of_mark(self, mark: int) -> tuple[str, ...]:
        """Return the names of the security groups of the network load balancer whose node marks packets so."""
        found = (each.namespace for each in self.plan.network_nodes if each.number == mark)
        return tuple(group.name for namespace in found for group in self.groups[namespace])

    def network_model(self, node: NetworkNode, states: States) -> NetworkModel:
        """Return what the core of a network load balancer's node says in these states."""
        known = self._network.get(node.name)
        if known is None or known[0] is not states:
            known = self._network[node.name] = states, NetworkModel(self.plan, node, states)
        return known[1]

    def application_model(self, node: ApplicationNode, states: States) -> ApplicationModel:
        """Return what the core of an application load balancer's node says in these states."""
        known = self._application.get(node.name)
        if known is None or known[0] is not states:
            known = self._application[node.name] = states, ApplicationModel(self.plan, node, states)
        return known[1]

    def healthy(self, node: NetworkNode | ApplicationNode, states: States) -> list[tuple[int, int]]:
        """Return how many targets in a node's scope are healthy, and how many DNS wants, of each target group."""
        if isinstance(node, ApplicationNode):
            return [] if node.name in states.without_engine else self.application_model(node, states).healthy()
        return self.network_model(node, states).healthy()

    @cached_property
    def inside_only(self) -> frozenset[str]:
        """The IPv6 addresses that no internet gateway lets packets through to: those of internal load balancers."""
        internal = {each.name for each in self.plan.load_balancers if each.scheme == "internal"}
        nodes = (node for node in self.plan.addressed_nodes if node.load_balancer in internal)
        return frozenset(node.ipv6_address for node in nodes if node.ipv6_address)

    def settings(self, node: GatewayNode) -> Settings:
        """Return what the core of a node is told."""
        if node.name not in self._settings:
            self._settings[node.name] = settings_of(self.plan, node)
        return self._settings[node.name]
