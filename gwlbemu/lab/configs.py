"""What a lab's processes are told at their start, made from the plan."""

from __future__ import annotations

import hashlib
import ipaddress
import secrets
from dataclasses import asdict

from gwlbemu.core.application.settings import Settings
from gwlbemu.core.elb.attributes import LISTENER, LOAD_BALANCER, TARGET_GROUP
from gwlbemu.core.elb.network_attributes import ANY_ZONE
from gwlbemu.core.emulation import Emulation
from gwlbemu.lab.state import State
from gwlbemu.net.namespaces import path_of
from gwlbemu.programs.application.config import NodeConfig as ApplicationConfig
from gwlbemu.programs.gateway.config import EndpointInterface, Eni, NodeConfig
from gwlbemu.programs.network.config import NodeConfig as NetworkConfig
from gwlbemu.programs.network.config import balancer_to_json
from gwlbemu.programs.recorder.config import CaptureConfig, TapConfig
from gwlbemu.programs.resolver.config import BalancerName, Host, Place, ResolverConfig
from gwlbemu.topology.names import BALANCERS_DOMAIN, CAPTURE, PRIVATE_DOMAIN, PUBLIC_DOMAIN, RESOLVER
from gwlbemu.topology.plan.application_settings import application_balancer
from gwlbemu.topology.plan.dns_names import balancer_addresses, dns_name, instance_names
from gwlbemu.topology.plan.network_settings import network_balancer
from gwlbemu.topology.plan.values import Plan


def fresh_secret() -> str:
    """Return the secret of a lab that is given no seed."""
    return secrets.token_hex(16)


def node_seed(secret: str, node: str) -> int:
    """Return the seed of a node in a lab with this secret: 64 bits from which the secret cannot be worked out."""
    key = hashlib.blake2b(secret.encode("utf-8", "surrogateescape"), digest_size=32).digest()
    return int.from_bytes(hashlib.blake2b(node.encode(), key=key, digest_size=8).digest(), "big")


def node_config_for(plan: Plan, name: str, state: State, secret: str) -> NodeConfig:
    """Return the configuration of the plan's gateway node `name`, with the paths of the lab's `state` folder.

    Cookies, outer ports and the choice of targets follow from the lab's `secret` and the node's name.
    """
    node = next(each for each in plan.gateway_nodes if each.name == name)
    balancer = next(each for each in plan.load_balancers if each.name == node.load_balancer)
    group = plan.group_of(balancer.name)
    return NodeConfig(
        name=node.name,
        load_balancer=balancer.name,
        zone=node.zone,
        zones=balancer.zones,
        target_group=group.name,
        seed=node_seed(secret, node.name),
        eni=Eni(node.device, node.address, node.mac, node.gateway_mac, dict(node.neighbours)),
        endpoints=tuple(
            EndpointInterface(each.name, each.endpoint_id, each.device, each.mac, each.router_mac)
            for each in plan.endpoints
            if each.node == node.name
        ),
        targets=tuple((each.id, each.address, each.zone) for each in group.targets),
        attributes={
            LOAD_BALANCER: dict(balancer.attributes),
            LISTENER: dict(balancer.listener_attributes),
            TARGET_GROUP: dict(group.attributes),
        },
        health_check=asdict(group.health_check),
        emulation=dict(plan.emulation),
        datapath=plan.datapath,
        offload=plan.offload,
        control=str(state.control(node.name)),
        discards=str(state.discards) if plan.capture.enabled else "",
        logs="" if plan.capture.enabled else str(state.logs),
    )


def network_config_for(plan: Plan, name: str, state: State, secret: str) -> NetworkConfig:
    """Return the configuration of the keeper of the plan's network node `name`, with paths of the lab's `state` folder.

    The choice of targets follows from the lab's `secret` and the node's name.
    """
    node = next(each for each in plan.network_nodes if each.name == name)
    balancer = next(each for each in plan.load_balancers if each.name == node.load_balancer)
    return NetworkConfig(
        name=node.name,
        load_balancer=balancer.name,
        zone=node.zone,
        zones=balancer.zones,
        seed=node_seed(secret, node.name),
        address=node.address,
        ipv6_address=node.ipv6_address,
        balancer=balancer_to_json(network_balancer(plan, balancer.name)),
        emulation=dict(plan.emulation),
        control=str(state.control(node.name)),
        zone_news=str(state.news),
        logs="" if plan.capture.enabled else str(state.logs),
    )


def cookie_secret(secret: str, load_balancer: str) -> bytes:
    """Return what the nodes of an application load balancer sign cookies with: 32 bytes, the same for all of them, from
    which the lab's `secret` cannot be worked out.
    """
    key = hashlib.blake2b(secret.encode("utf-8", "surrogateescape"), digest_size=32).digest()
    return hashlib.blake2b(load_balancer.encode(), key=key, digest_size=32, person=b"cookies").digest()


def application_config_for(plan: Plan, name: str, state: State, secret: str) -> ApplicationConfig:
    """Return the configuration of the keeper of the plan's application node `name`, with paths of the lab's `state`
    folder. Cookies follow from the lab's `secret` and the load balancer's name.
    """
    node = next(each for each in plan.application_nodes if each.name == name)
    balancer = next(each for each in plan.load_balancers if each.name == node.load_balancer)
    return ApplicationConfig(
        name=node.name,
        settings=Settings(
            load_balancer=balancer.name,
            zone=node.zone,
            zones=balancer.zones,
            address=ipaddress.ip_address(node.address).packed,
            ipv6_address=ipaddress.ip_address(node.ipv6_address).packed if node.ipv6_address else b"",
            dns_name=dns_name(balancer),
            cookie_secret=cookie_secret(secret, balancer.name),
            emulation=Emulation.from_values(plan.emulation),
        ),
        balancer=application_balancer(plan, balancer.name),
        control=str(state.control(node.name)),
        resolver=next(each.addresses[0] for each in plan.resolver_places if each.subnet == node.subnet),
        authority=str(state.authority),
        zone_news=str(state.news),
        logs="" if plan.capture.enabled else str(state.logs),
    )


def resolver_config_for(plan: Plan, state: State, secret: str) -> str:
    """Return the configuration of the lab's resolver as JSON, with the paths of the lab's `state` folder.

    What it leaves to chance follows from the lab's `secret`.
    """
    return ResolverConfig(
        places=tuple(
            Place(str(path_of(each.namespace)), each.device, each.addresses, each.vpc, each.zone)
            for each in plan.resolver_places
        ),
        domains=(BALANCERS_DOMAIN, PRIVATE_DOMAIN, PUBLIC_DOMAIN),
        hosts=tuple(Host(*each) for each in instance_names(plan.instances)),
        balancers=_balancer_names(plan),
        seed=node_seed(secret, RESOLVER),
        control=str(state.control(RESOLVER)),
        news=str(state.news),
    ).to_json()


def _balancer_names(plan: Plan) -> tuple[BalancerName, ...]:
    """Return the names of the load balancers that have one."""
    return tuple(
        BalancerName(
            dns_name(each),
            each.name,
            each.attributes.get("dns_record.client_routing_policy", ANY_ZONE),
            balancer_addresses(plan, each.name),
        )
        for each in plan.load_balancers
        if dns_name(each)
    )


def resolv_conf_of(plan: Plan, name: str) -> str:
    """Return the /etc/resolv.conf of an instance: its subnet's resolver, and the domain of its own name.

    "" for what is no instance.
    """
    for one in plan.instances:
        if one.name == name:
            place = next(each for each in plan.resolver_places if each.subnet == one.subnet)
            domain = f"{one.vpc}.{PRIVATE_DOMAIN}".lower() if one.vpc else PUBLIC_DOMAIN
            return f"nameserver {place.addresses[0]}\nsearch {domain}\n"
    return ""


def capture_config_for(plan: Plan, state: State) -> str:
    """Return the configuration of the lab's capture as JSON, with the paths of the lab's `state` folder."""
    used = {group.name for balancer in plan.load_balancers for group in plan.groups_of(balancer.name)}
    return CaptureConfig(
        lab=plan.lab,
        taps=tuple(TapConfig(each.name, str(path_of(each.namespace)), each.device) for each in plan.taps),
        nodes={each.name: each.address for each in plan.gateway_nodes},
        endpoints={each.endpoint_id: each.name for each in plan.endpoints},
        targets={
            target.address: target.id for group in plan.target_groups if group.name in used for target in group.targets
        },
        folder=str(state.capture_folder),
        file_bytes=plan.capture.file_size_mib << 20,
        files=plan.capture.files,
        snapshot_length=plan.capture.snapshot_length,
        control=str(state.control(CAPTURE)),
        discards=str(state.discards),
        logs=str(state.logs),
    ).to_json()
