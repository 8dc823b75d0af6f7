"""What a topology file may say, in AWS's words: the VPC half, and the file as a whole.

Unknown keys are refused, every model is frozen, and nothing here looks across keys: what must agree between two places
(a subnet and its VPC, a route and its target) is the business of `checks`.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from gwlbemu.core.emulation import EXPLANATIONS, Scalar
from gwlbemu.topology.file.balancing import LoadBalancer, TargetGroup
from gwlbemu.topology.file.expectations import Expectation
from gwlbemu.topology.file.fields import (
    Address,
    Destination,
    EndpointId,
    GroupProtocol,
    InternetCidr,
    Ipv6Address,
    Ipv6Cidr,
    Model,
    Name,
    Ports,
    SecurityGroupName,
    SubnetCidr,
    VpcCidr,
    Zone,
)
from gwlbemu.topology.file.programs import Program

LOCAL = "local"  # a route's target: the VPC itself
BLACKHOLE = "blackhole"  # the target of a transit gateway's route that drops
RESERVED_FIRST, RESERVED_LAST = 4, 1  # how many addresses of a subnet AWS keeps, at its beginning and at its end


class Route(Model):
    """One line of a route table. Every table also holds the implicit line `VPC CIDR -> local`."""

    destination: Destination
    target: str = Field(description="an endpoint, internet gateway, NAT gateway, transit gateway, instance, or local")


class RouteTable(Model):
    """A route table of a VPC, or of a transit gateway."""

    name: Name
    routes: tuple[Route, ...] = ()


class SecurityGroupRule(Model):
    """Allowed traffic; `source` (ingress) and `destination` (egress) is a network or the name of a security group.

    `protocol` is tcp, udp, icmp, icmpv6, the number of another one, or all.
    """

    protocol: GroupProtocol
    ports: Ports | None = None
    source: str | None = None
    destination: str | None = None


class SecurityGroup(Model):
    """Stateful; what no rule allows is dropped. Without `egress`, everything may leave (AWS's default)."""

    name: SecurityGroupName
    ingress: tuple[SecurityGroupRule, ...] = ()
    egress: tuple[SecurityGroupRule, ...] | None = None


class Subnet(Model):
    """A subnet lives in one zone. Without `route_table` it has the local route and nothing else."""

    name: Name
    zone: Zone
    cidr: SubnetCidr
    ipv6_cidr: Ipv6Cidr | None = None
    route_table: Name | None = None


class InternetGateway(Model):
    """`route_table` is the edge association: what happens to packets that come in."""

    name: Name
    route_table: Name | None = None


class Endpoint(Model):
    """A Gateway Load Balancer endpoint; `service` is the load balancer's name, without `id` one is derived."""

    name: Name
    subnet: Name
    service: Name
    id: EndpointId | None = None


class NatGateway(Model):
    """Translates what leaves through it to its own address, and the internet gateway that to `public_address`."""

    name: Name
    subnet: Name
    address: Address | None = None
    public_address: Address


class Instance(Model):
    """One `eth0` in one subnet. Without `security_groups` it is in a default group that allows everything.

    `rate_mbit` is the ceiling of its interface in each direction: what a larger `instance_type` buys.
    """

    name: Name
    subnet: Name
    address: Address | None = None
    ipv6_address: Ipv6Address | None = None
    public_address: Address | None = None
    security_groups: tuple[SecurityGroupName, ...] = ()
    source_dest_check: bool = True
    instance_type: str = ""
    rate_mbit: float | None = Field(default=None, gt=0)
    program: Program | None = None


class Vpc(Model):
    """A VPC with everything that is in it. Without `internet_gateway` nothing leads to the internet."""

    name: Name
    cidr: VpcCidr
    ipv6_cidr: Ipv6Cidr | None = None
    internet_gateway: InternetGateway | None = None
    subnets: tuple[Subnet, ...] = Field(min_length=1)
    route_tables: tuple[RouteTable, ...] = ()
    endpoints: tuple[Endpoint, ...] = ()
    nat_gateways: tuple[NatGateway, ...] = ()
    security_groups: tuple[SecurityGroup, ...] = ()
    instances: tuple[Instance, ...] = ()


class InternetInstance(Model):
    """A machine on the internet: one `eth0`, no security groups. `rate_mbit` is its ceiling in each direction."""

    name: Name
    address: Address | None = None
    ipv6_address: Ipv6Address | None = None
    rate_mbit: float | None = Field(default=None, gt=0)
    program: Program | None = None


class Internet(Model):
    """The internet: one network, which every internet gateway is connected to."""

    cidr: InternetCidr
    ipv6_cidr: Ipv6Cidr | None = None
    instances: tuple[InternetInstance, ...] = ()


class Attachment(Model):
    """A VPC on a transit gateway, with one subnet per zone; `appliance_mode` is ApplianceModeSupport."""

    name: Name
    vpc: Name
    subnets: tuple[Name, ...] = Field(min_length=1)
    appliance_mode: Literal["enable", "disable"] = "disable"
    route_table: Name


class TransitGateway(Model):
    """Routes lead to an attachment, or to `blackhole`; an attachment's table decides about what comes from it."""

    name: Name
    attachments: tuple[Attachment, ...] = Field(min_length=1)
    route_tables: tuple[RouteTable, ...] = ()


class Capture(Model):
    """The lab's capture: a ring of `files` pcapng files of `file_size_mib` MiB each.

    Of a packet `snapshot_length` bytes are kept.
    """

    enabled: bool = True
    file_size_mib: int = Field(default=64, ge=1, le=4096)
    files: int = Field(default=4, ge=1, le=100)
    snapshot_length: int = Field(default=9100, ge=64, le=65535)


class Topology(Model):
    """A whole file."""

    lab: Name
    description: str = ""
    internet: Internet | None = None
    vpcs: tuple[Vpc, ...] = Field(min_length=1)
    transit_gateways: tuple[TransitGateway, ...] = ()
    target_groups: tuple[TargetGroup, ...] = ()
    load_balancers: tuple[LoadBalancer, ...] = ()
    emulation: dict[str, Scalar] = Field(
        default_factory=dict, json_schema_extra={"propertyNames": {"enum": list(EXPLANATIONS)}}
    )
    capture: Capture = Capture()
    offload: bool = Field(
        default=False,
        description="keep super-packets on every link: for kernel appliances and the eBPF datapath, for speed",
    )
    datapath: Literal["auto", "python", "ebpf"] = "auto"
    shortcuts: bool = Field(
        default=True,
        description="let eBPF programs do what a VPC's bridges and route tables say, where the machine can; false "
        "leaves it to the kernel's bridges and routers, for your own nftables or tc there",
    )
    expect: tuple[Expectation, ...] = Field(default=(), description="what `gwlbemu test` holds the network to")


def json_schema() -> dict[str, object]:
    """Return the JSON Schema of a topology file, from which editors complete."""
    return {**Topology.model_json_schema(), "title": "gwlbemu topology"}
