"""A checked topology -> the plan: every name, address, route, MAC and MTU decided. This file only composes."""

from __future__ import annotations

from gwlbemu.topology.file.parse import Parsed, parse
from gwlbemu.topology.file.places import subnets_by_name
from gwlbemu.topology.file.schema import Topology
from gwlbemu.topology.plan import application, gateway, hosts, inventory, network, services
from gwlbemu.topology.plan import values as plan
from gwlbemu.topology.plan.internet import internet_blueprint
from gwlbemu.topology.plan.layout import lay_out
from gwlbemu.topology.plan.machine import Blueprint, Settings
from gwlbemu.topology.plan.programs import programs
from gwlbemu.topology.plan.resolver import resolver_places
from gwlbemu.topology.plan.transit import transit_blueprint, transit_gateways
from gwlbemu.topology.plan.vpcs import vpc_blueprint


def load(text: str, source: str, *, lab: str | None = None) -> plan.Plan:
    """Return the plan of a topology file's text.

    `source` is the file's name as the user gave it, `lab` replaces the lab's name. Raises TopologyError.
    """
    return resolve(parse(text, source), lab=lab)


def resolve(parsed: Parsed, *, lab: str | None = None) -> plan.Plan:
    """Return the plan of a checked topology: all that the file leaves open is decided. `lab` replaces its name."""
    return _plan(parsed.topology, parsed.source, lab or parsed.topology.lab)


def _plan(topology: Topology, source: str, name: str) -> plan.Plan:
    layout = lay_out(topology, name)
    instances = inventory.instances(topology, layout)
    machine = _machine(topology, Settings(layout, topology.offload))
    return plan.Plan(
        lab=name,
        source=source,
        namespaces=machine.namespaces,
        links=machine.links,
        vpcs=inventory.vpcs(topology),
        subnets=inventory.subnets(topology, layout),
        instances=instances,
        endpoints=gateway.endpoints(topology),
        load_balancers=services.load_balancers(topology),
        target_groups=services.target_groups(topology, layout),
        gateway_nodes=gateway.gateway_nodes(topology, layout),
        network_nodes=network.network_nodes(topology, layout),
        application_nodes=application.application_nodes(topology, layout),
        programs=programs(topology, layout, instances),
        taps=inventory.taps(topology, layout),
        capture=plan.CaptureSettings(**topology.capture.model_dump()),
        datapath=topology.datapath,
        offload=topology.offload,
        shortcuts=topology.shortcuts,
        emulation=dict(topology.emulation),
        description=topology.description,
        route_tables=inventory.route_tables(topology),
        internet_cidr=topology.internet.cidr if topology.internet else "",
        security_groups=inventory.security_groups(topology, layout),
        nat_gateways=inventory.nat_gateways(topology, layout),
        transit_gateways=transit_gateways(topology, layout),
        resolver_places=resolver_places(topology, layout),
        places=inventory.places(topology),
    )


def _machine(topology: Topology, settings: Settings) -> Blueprint:
    """Routers first, then what is plugged into them: every link finds its bridge."""
    subnets = subnets_by_name(topology)
    parts = [vpc_blueprint(topology, settings, vpc) for vpc in topology.vpcs]
    parts.append(internet_blueprint(topology, settings))
    parts += [transit_blueprint(topology, settings, each) for each in topology.transit_gateways]
    for vpc in topology.vpcs:
        parts += [hosts.instance_blueprint(topology, settings, vpc, instance) for instance in vpc.instances]
        parts += [hosts.nat_gateway_blueprint(settings, subnets[g.subnet][1], g.name) for g in vpc.nat_gateways]
    for kind in (gateway, network, application):
        parts += kind.node_blueprints(topology, settings)
    return Blueprint.joined(parts)
