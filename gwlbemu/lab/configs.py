"""What a lab's processes are told at their start, made from the plan."""

from __future__ import annotations

import hashlib
import secrets
import socket
from dataclasses import asdict

from gwlbemu.core.elb import tls_policies
from gwlbemu.core.elb.attributes import LISTENER, LOAD_BALANCER, TARGET_GROUP
from gwlbemu.core.elb.target import Target
from gwlbemu.core.network import settings
from gwlbemu.lab.state import State
from gwlbemu.net.namespaces import path_of
from gwlbemu.programs.gateway.config import EndpointInterface, Eni, NodeConfig
from gwlbemu.programs.network.config import NodeConfig as NetworkConfig
from gwlbemu.programs.network.config import balancer_to_json
from gwlbemu.programs.recorder.config import CaptureConfig, TapConfig
from gwlbemu.programs.resolver.config import BalancerName, Host, Place, ResolverConfig
from gwlbemu.topology.names import BALANCERS_DOMAIN, CAPTURE, PRIVATE_DOMAIN, PUBLIC_DOMAIN, RESOLVER
from gwlbemu.topology.plan.dns_names import balancer_addresses, dns_name, instance_names
from gwlbemu.topology.plan.listeners import Action, Listener, Tls
from gwlbemu.topology.plan.values import Plan, TargetGroup

_VERSIONS = {"ipv4": 4, "ipv6": 6}  # IpAddressType of a rule's condition


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
        device=node.device,
        address=node.address,
        ipv6_address=node.ipv6_address,
        balancer=balancer_to_json(network_balancer(plan, balancer.name)),
        emulation=dict(plan.emulation),
        control=str(state.control(node.name)),
        zone_news=str(state.news),
        logs="" if plan.capture.enabled else str(state.logs),
    )


def network_balancer(plan: Plan, name: str) -> settings.Balancer:
    """Return the plan's network load balancer `name` as its nodes are told of it, at their start and by `configure`."""
    balancer = next(each for each in plan.load_balancers if each.name == name)
    return settings.Balancer(
        attributes=dict(balancer.attributes),
        listeners=tuple(_network_listener(each) for each in balancer.listeners),
        groups=tuple(_network_group(each) for each in plan.groups_of(name)),
    )


def _network_listener(listener: Listener) -> settings.Listener:
    (action,) = listener.default_actions
    port = listener.port or 0
    tls = None if listener.tls is None else _tls(listener.tls, port)
    by_version: dict[int, settings.Forward] = {}
    for rule in listener.rules:  # the first that matches counts
        for condition in rule.conditions:
            by_version.setdefault(_VERSIONS[condition.ip_address_type], _forward(rule.actions[0]))
    return settings.Listener(
        listener.protocol, port, _forward(action), dict(listener.attributes), tuple(sorted(by_version.items())), tls
    )


def _tls(tls: Tls, port: int) -> settings.Tls:
    versions = tls_policies.POLICIES[tls.ssl_policy]
    return settings.Tls(
        certificates=tuple(certificate_file(port, number) for number in range(len(tls.certificates))),
        oldest_version=versions.oldest,
        newest_version=versions.newest,
        alpn=tls_policies.ALPN_POLICIES[tls.alpn_policy],
        trust_store=trust_store_file(port) if tls.trust_store else "",
        ignore_expiry=tls.ignore_client_certificate_expiry,
        advertise_authorities=tls.advertise_trust_store_ca_names,
    )


def _forward(action: Action) -> settings.Forward:
    return settings.Forward(tuple((one.target_group, one.weight) for one in action.target_groups), action.sticky)


def _network_group(group: TargetGroup) -> settings.Group:
    return settings.Group(
        name=group.name,
        protocol=group.protocol,
        target_type=group.target_type,
        attributes=dict(group.attributes),
        health_check=group.health_check,
        targets=tuple(Target(each.id, socket.inet_aton(each.address), each.zone, each.port) for each in group.targets),
    )


def certificate_file(port: int, number: int) -> str:
    """Return the name, in a node's own folder, of a certificate of the listener on `port`; 0 is the default one."""
    return f"tls-{port}-{number}.pem"


def trust_store_file(port: int) -> str:
    """Return the name, in a node's own folder, of the trust store of the listener on `port`."""
    return f"tls-{port}-trust.pem"


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
            each.attributes["dns_record.client_routing_policy"],
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
