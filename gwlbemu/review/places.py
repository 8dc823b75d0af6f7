"""Where in the file the things of a running lab stand."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gwlbemu.review.instances import instances_by_name
from gwlbemu.review.seen import OnPurpose
from gwlbemu.topology.file.document import Path
from gwlbemu.topology.file.schema import Topology
from gwlbemu.topology.names import RESOLVER
from gwlbemu.topology.plan.values import Plan


class Places:
    """Paths into the topology by the lab's words."""

    def __init__(self, topology: Topology, plan: Plan) -> None:
        self.plan = plan
        self._topology = topology
        self._instances = instances_by_name(topology)
        self._balancers = [one.name for one in topology.load_balancers]
        self._by_address = {one.address: one.name for one in plan.instances if one.appliance}
        self._instance_at = {(one.vpc, one.address): one.name for one in plan.instances if one.vpc}
        self._vpc_of_group = {group.name: group.vpc for group in plan.target_groups}

    def name(self, target: Mapping[str, Any]) -> str:
        """Return the name of the instance that a target is, or the target's id."""
        address = str(target["address"])
        vpc = self._vpc_of_group.get(str(target.get("target_group", "")), "")
        return self._by_address.get(address) or self._instance_at.get((vpc, address), str(target["id"]))

    def at(self, address: str) -> str:
        """Return the name of the appliance at an address, or the address."""
        return self._by_address.get(address, address)

    def balancer(self, name: str) -> Path:
        """Return where a load balancer stands."""
        return ("load_balancers", self._balancers.index(name))

    def instance(self, name: str, *key: str) -> Path | None:
        """Return where an instance of a VPC stands, or one of its keys; None for what is none."""
        return (*self._instances[name][0], *key) if name in self._instances else None

    def program(self, name: str, balancer: str) -> Path:
        """Return where a target's program stands; of one that is no instance, its load balancer."""
        return self.instance(name, "program") or self.balancer(balancer)

    def endpoint(self, name: str) -> Path | None:
        """Return where an endpoint stands."""
        for index, vpc in enumerate(self._topology.vpcs):
            for number, endpoint in enumerate(vpc.endpoints):
                if endpoint.name == name:
                    return ("vpcs", index, "endpoints", number)
        return None

    def group(self, name: str) -> Path:
        """Return where the target group called `name` stands."""
        return ("target_groups", [one.name for one in self._topology.target_groups].index(name))

    def anything(self, name: str) -> Path:
        """Return where an instance or a subnet stands; of anything else, the VPCs."""
        for index, vpc in enumerate(self._topology.vpcs):
            for number, subnet in enumerate(vpc.subnets):
                if subnet.name == name:
                    return ("vpcs", index, "subnets", number)
        return self.instance(name) or ("vpcs",)

    def thing(self, kind: str, name: str) -> Path:
        """Return where that stands which `gwlbemu fail KIND NAME` breaks, as near as the file has it."""
        if kind == "zone":
            for index, vpc in enumerate(self._topology.vpcs):
                for number, subnet in enumerate(vpc.subnets):
                    if subnet.zone == name:
                        return ("vpcs", index, "subnets", number)
        found = self.instance(name)
        if found is not None or name == RESOLVER:
            return found or ("vpcs",)
        nodes = {node.name: node.load_balancer for node in self.plan.nodes}
        internet = [one.name for one in self._topology.internet.instances] if self._topology.internet else []
        return self.balancer(nodes[name]) if name in nodes else ("internet", "instances", internet.index(name))


def healed_by(*broken: OnPurpose) -> str:
    """Return the advice about what was broken on purpose."""
    heals = " and ".join(each.heal for each in broken)
    return f"broken on purpose: {heals} put{'s' if len(broken) == 1 else ''} it back"
