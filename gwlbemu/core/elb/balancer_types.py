"""The types of load balancer, by the word the ELBv2 API uses for them (CreateLoadBalancer, parameter Type)."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from gwlbemu.core.elb.application_attributes import MOST_TARGETS as MOST_APPLICATION_TARGETS
from gwlbemu.core.elb.application_attributes import ApplicationAttributes
from gwlbemu.core.elb.attributes import Attributes
from gwlbemu.core.elb.gateway_attributes import GatewayAttributes
from gwlbemu.core.elb.network_attributes import MOST_TARGETS as MOST_NETWORK_TARGETS
from gwlbemu.core.elb.network_attributes import NetworkAttributes, group_defaults

GATEWAY, NETWORK, APPLICATION = "gateway", "network", "application"
# A new type is a new row.
ATTRIBUTES: Mapping[str, type[Attributes]] = {
    GATEWAY: GatewayAttributes,
    NETWORK: NetworkAttributes,
    APPLICATION: ApplicationAttributes,
}
# A target group has no type of its own in the API: its protocol says which type of load balancer may use it.
TYPE_OF_PROTOCOL: Mapping[str, str] = {
    "GENEVE": GATEWAY,
    "TCP": NETWORK,
    "UDP": NETWORK,
    "TCP_UDP": NETWORK,
    "TLS": NETWORK,
    "HTTP": APPLICATION,
    "HTTPS": APPLICATION,
}
# Quotas: how many targets a target group may have, over all zones together. Gateway: guide, Quotas, 300 targets per
# Gateway Load Balancer (of which each zone may have all). Network: NLB guide, Quotas, 500 targets. Application: 1000.
MOST_TARGETS: Mapping[str, int] = {
    GATEWAY: 300,
    NETWORK: MOST_NETWORK_TARGETS,
    APPLICATION: MOST_APPLICATION_TARGETS,
}
# The attributes of a target group whose defaults depend on its protocol and target type, which are the arguments.
GROUP_DEFAULTS: Mapping[str, Callable[[str, str], dict[str, str]]] = {
    GATEWAY: lambda protocol, target_type: {},
    NETWORK: group_defaults,
    APPLICATION: lambda protocol, target_type: {},
}
