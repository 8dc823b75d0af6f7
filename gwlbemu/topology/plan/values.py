"""The resolved plan: every name, address, route, MAC and MTU decided; frozen, printable, all that `net` and `lab` need.

Two halves. The machine half (Namespace, Link) says what the kernel shall hold: see `machine_half`. The lab half
(Instance, Endpoint, GatewayNode, TargetGroup, ...) says what it means; `lab` and what stands above it read it.
Addresses are text, networks are CIDR text, MACs are `02:..` text: a plan is JSON (see `encode`).
"""

from __future__ import annotations

from dataclasses import dataclass, field

from gwlbemu.core.elb.health import HealthCheck
from gwlbemu.core.elb.minimum_health import USE_BALANCER
from gwlbemu.core.elb.target import EVERY_ZONE
from gwlbemu.errors import AwsError
from gwlbemu.topology.file.document import Path as Path
from gwlbemu.topology.plan.listeners import Listener
from gwlbemu.topology.plan.machine_half import Link, Namespace

# The form of a plan as `encode` writes it, which a running lab keeps. Raise it by one with every change to the values
# below that makes what another version wrote unreadable, or misread. Version 1, without this number: one listener;
# version 2: no instance ports; security groups, NAT and transit gateways stand in the machine half alone; version 3: no
# network load balancers; version 4: no application load balancers.
VERSION = 5
_CROSS_ZONE = "load_balancing.cross_zone.enabled"


@dataclass(frozen=True, slots=True)
class Program:
    """A process that runs inside an instance for as long as the lab is up."""

    instance: str
    namespace: str
    argv: tuple[str, ...]  # `lab` fills in {python}, {config}, {log} and {control}: ("{python}", "-m", ...)
    config: str = ""  # text of the file that the process is given as {config} (an appliance's rules), or nothing
    kind: str = "command"  # web | firewall | ids | passthrough | broken | command
    listens: int | None = None  # TCP port: a web server's own, an appliance's for health checks; None of a command

    @property
    def is_python_appliance(self) -> bool:
        """Whether it is one of the bundled appliances, which are Python and carry no super-packets."""
        return self.kind in ("firewall", "ids", "passthrough", "broken")


@dataclass(frozen=True, slots=True)
class Instance:
    """An EC2 instance: one eth0 in one subnet."""

    name: str
    namespace: str
    vpc: str  # "" for an instance on the internet
    subnet: str  # "internet" for an instance on the internet
    zone: str  # "" for an instance on the internet
    address: str
    ipv6_address: str = ""  # "" for none
    public_address: str = ""  # which the internet gateway translates to `address`; "" for none
    mac: str = ""
    security_groups: tuple[str, ...] = ()
    source_dest_check: bool = True
    instance_type: str = ""
    appliance: bool = False  # a target of a gateway load balancer's group

    @property
    def addresses(self) -> frozenset[str]:
        """Every address by which others may know it: its own, and the public one."""
        return frozenset({self.address, self.ipv6_address, self.public_address} - {""})


@dataclass(frozen=True, slots=True)
class Subnet:
    """A subnet of a VPC: one namespace, which routes by the route table."""

    name: str
    vpc: str
    zone: str
    cidr: str
    ipv6_cidr: str  # "" for none
    route_table: str  # "" for the main route table, which has the local route only
    namespace: str


@dataclass(frozen=True, slots=True)
class Vpc:
    """A VPC: its networks, and its way to the internet."""

    name: str
    cidr: str
    ipv6_cidr: str  # "" for none
    internet_gateway: str  # name, or "" for none


@dataclass(frozen=True, slots=True)
class SecurityGroupRule:
    """Traffic that a security group allows: to or from `networks`, which are what the file's `peer` stands for."""

    protocol: str  # tcp | udp | icmp | icmpv6 | the number of another one | all
    ports: str  # "80", "1024-65535"; "" for every port
    peer: str  # as the file has it: a network or the name of a security group
    networks: tuple[str, ...]  # CIDRs or addresses, of either family
    path: Path = ()  # in the file


@dataclass(frozen=True, slots=True)
class SecurityGroup:
    """A security group: stateful; what no rule allows is dropped."""

    name: str
    vpc: str
    ingress: tuple[SecurityGroupRule, ...]
    egress: tuple[SecurityGroupRule, ...] | None  # None: everything may leave
    path: Path = ()  # in the file


@dataclass(frozen=True, slots=True)
class NatGateway:
    """A NAT gateway: one interface in one subnet."""

    name: str
    namespace: str
    vpc: str
    subnet: str
    zone: str
    address: str
    public_address: str  # which the internet gateway translates to `address`


@dataclass(frozen=True, slots=True)
class Attachment:
    """A VPC on a transit gateway: an interface in one subnet of each of `zones`."""

    name: str
    vpc: str
    zones: tuple[str, ...]
    appliance_mode: bool  # a flow hash, the same for both directions, chooses the zone of what goes into the VPC
    route_table: str


@dataclass(frozen=True, slots=True)
class TransitGateway:
    """A transit gateway; the flow hash of appliance mode falls into one of `buckets`, each with a kernel's table."""

    name: str
    namespace: str
    attachments: tuple[Attachment, ...]
    buckets: int


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A Gateway Load Balancer endpoint: an interface of the node of `load_balancer` in its zone."""

    name: str
    endpoint_id: str  # vpce-0 and 16 hex digits
    vpc: str
    subnet: str
    zone: str
    load_balancer: str
    node: str
    device: str  # interface name inside the node's namespace
    mac: str  # of that interface
    router_mac: str  # where a returned packet goes: the fabric interface of the endpoint subnet


@dataclass(frozen=True, slots=True)
class Target:
    """A registered target of a group. `id` is the instance's name, or the address for target type ip."""

    id: str  # with ":PORT" behind it where its port is not the group's
    address: str
    zone: str  # "all" for an address outside the VPC
    port: int


@dataclass(frozen=True, slots=True)
class TargetGroup:
    """A target group: what is registered, and how it is probed."""

    name: str
    vpc: str
    protocol: str  # GENEVE | TCP | UDP | TCP_UDP | TLS | HTTP | HTTPS
    port: int
    target_type: str  # instance | ip | alb
    health_check: HealthCheck
    attributes: dict[str, str]  # every AWS attribute key with its value as AWS writes it
    targets: tuple[Target, ...]
    protocol_version: str = ""  # HTTP1 | HTTP2 | GRPC, of an application load balancer's group


@dataclass(frozen=True, slots=True)
class GatewayNode:
    """A Gateway Load Balancer's node in one zone: one namespace, one process, one ENI, one interface per endpoint."""

    name: str  # firewall-node-a
    load_balancer: str
    zone: str
    namespace: str
    device: str  # of the ENI, inside the node's namespace
    address: str  # of the ENI
    prefix_length: int
    mac: str
    gateway_mac: str  # the subnet router's, for targets outside the ENI's subnet
    neighbours: dict[str, str]  # address -> MAC of the targets that share the ENI's subnet
    endpoints: tuple[str, ...]  # names


@dataclass(frozen=True, slots=True)
class AddressedNode:
    """A load balancer's node that clients know by its address: a namespace with an ENI, and a keeper process.

    Clients reach it by its ENI, by `address` (or by `public_address`, which the internet gateway translates to it).
    """

    name: str  # web-node-a
    load_balancer: str
    zone: str
    namespace: str
    subnet: str
    device: str  # of the ENI, inside the node's namespace
    address: str  # of the ENI
    ipv6_address: str  # of the ENI; "" unless the load balancer is dualstack
    public_address: str  # "" of an internal load balancer
    mac: str


@dataclass(frozen=True, slots=True)
class NetworkNode(AddressedNode):
    """A Network Load Balancer's node in one zone, in which the kernel translates.

    What keeps the client's address goes to targets, and comes back, by its interface `fabric`: `number`, from 1 and its
    own in the whole lab, is the mark that such packets have in the namespaces of the targets' subnets.
    """

    number: int


@dataclass(frozen=True, slots=True)
class ApplicationNode(AddressedNode):
    """An Application Load Balancer's node in one zone, in which an engine ends connections and begins others."""


Node = GatewayNode | NetworkNode | ApplicationNode


@dataclass(frozen=True, slots=True)
class ResolverPlace:
    """Where the lab's resolver answers: in the router of a subnet, or on the internet."""

    namespace: str
    device: str  # by which its clients come
    addresses: tuple[str, ...]  # the first is the one in the clients' resolv.conf
    vpc: str  # "" for the internet
    subnet: str  # "internet" for the internet
    zone: str  # "" for the internet


@dataclass(frozen=True, slots=True)
class LoadBalancer:
    """A load balancer of any type: where it is, what it listens for and where that goes."""

    name: str
    type: str  # gateway | network | application
    vpc: str
    zones: tuple[str, ...]  # enabled ones
    attributes: dict[str, str]  # every AWS attribute key with its value as AWS writes it
    listeners: tuple[Listener, ...]
    scheme: str = "internal"  # internal | internet-facing
    ip_address_type: str = "ipv4"  # ipv4 | dualstack
    security_groups: tuple[str, ...] = ()

    @property
    def target_groups(self) -> tuple[str, ...]:
        """The names of the target groups that its listeners forward to, each once."""
        return tuple(dict.fromkeys(name for listener in self.listeners for name in listener.target_groups()))

    @property
    def target_group(self) -> str:
        """The name of the one target group of a gateway load balancer."""
        (name,) = self.target_groups
        return name

    @property
    def listener_attributes(self) -> dict[str, str]:
        """The attributes of the one listener of a gateway load balancer, by AWS key."""
        (listener,) = self.listeners
        return listener.attributes


@dataclass(frozen=True, slots=True)
class Tap:
    """An interface the capture listens on, named after the thing it is: client/eth0, vpce-fw-a, fw-a1/eth0."""

    name: str
    namespace: str
    device: str


@dataclass(frozen=True, slots=True)
class CaptureSettings:
    """What the lab's capture keeps: a ring of pcapng files."""

    enabled: bool = True
    file_size_mib: int = 64  # per file
    files: int = 4  # the oldest is overwritten
    snapshot_length: int = 9100  # bytes of a packet that are kept


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything that is decided about a lab."""

    lab: str
    source: str  # the topology file, as the user named it
    namespaces: tuple[Namespace, ...]
    links: tuple[Link, ...]
    vpcs: tuple[Vpc, ...]
    subnets: tuple[Subnet, ...]
    instances: tuple[Instance, ...]
    endpoints: tuple[Endpoint, ...]
    load_balancers: tuple[LoadBalancer, ...]
    target_groups: tuple[TargetGroup, ...]
    gateway_nodes: tuple[GatewayNode, ...]
    network_nodes: tuple[NetworkNode, ...]
    application_nodes: tuple[ApplicationNode, ...]
    programs: tuple[Program, ...]
    taps: tuple[Tap, ...]
    capture: CaptureSettings = CaptureSettings()
    datapath: str = "auto"  # auto | python | ebpf
    offload: bool = False
    shortcuts: bool = True  # eBPF programs may carry what bridges and route tables say (see `shortcuts`)
    emulation: dict[str, str | int | float | bool | None] = field(default_factory=dict)  # what AWS leaves open
    description: str = ""
    route_tables: dict[str, tuple[tuple[str, str], ...]] = field(default_factory=dict)  # name -> (destination, target)
    internet_cidr: str = ""  # "" without an internet
    security_groups: tuple[SecurityGroup, ...] = ()
    nat_gateways: tuple[NatGateway, ...] = ()
    transit_gateways: tuple[TransitGateway, ...] = ()
    resolver_places: tuple[ResolverPlace, ...] = ()
    # Where in the file a resource is decided about, by its name: of a subnet, an internet gateway and an attachment the
    # route table that it follows, or its own place without one; of everything else its own place.
    places: dict[str, Path] = field(default_factory=dict)
    version: int = VERSION  # of the form in which it is written down (see `encode`)

    @property
    def nodes(self) -> tuple[Node, ...]:
        """The nodes of all load balancers, of whatever type, the gateways' first."""
        return (*self.gateway_nodes, *self.addressed_nodes)

    @property
    def addressed_nodes(self) -> tuple[NetworkNode | ApplicationNode, ...]:
        """The nodes that clients know by their addresses: those of network and application load balancers."""
        return (*self.network_nodes, *self.application_nodes)

    @property
    def node_types(self) -> dict[str, str]:
        """The type of load balancer that each node is of, by the node's name."""
        types = {balancer.name: balancer.type for balancer in self.load_balancers}
        return {node.name: types[node.load_balancer] for node in self.nodes}

    def group_of(self, balancer: str) -> TargetGroup:
        """Return the one target group that the load balancer `balancer` forwards to.

        Raises AwsError for a name that no load balancer has, and for a load balancer with several groups, which a
        gateway load balancer never has.
        """
        groups = self.groups_of(balancer)
        if len(groups) != 1:
            names = ", ".join(group.name for group in groups) or "no target group"
            raise AwsError(f"load balancer {balancer} forwards to {names}: expected one target group")
        return groups[0]

    def groups_of(self, balancer: str) -> tuple[TargetGroup, ...]:
        """Return every target group that the load balancer `balancer` forwards to, each once.

        Raises AwsError for a name that no load balancer has.
        """
        for one in self.load_balancers:
            if one.name == balancer:
                groups = {group.name: group for group in self.target_groups}
                return tuple(groups[name] for name in one.target_groups)
        known = ", ".join(one.name for one in self.load_balancers) or "none"
        raise AwsError(f"no load balancer {balancer}; there are: {known}", "LoadBalancerNotFound")

    def balancers_of(self, group: str) -> tuple[LoadBalancer, ...]:
        """Return the load balancers that forward to the target group `group`; none for a group nobody uses."""
        return tuple(one for one in self.load_balancers if group in one.target_groups)

    def in_scope(self, node: Node) -> tuple[Target, ...]:
        """Return the targets among which a node chooses: those of its zone, with cross-zone load balancing all.

        A target group of a network or application load balancer may say otherwise than its load balancer.
        """
        (balancer,) = (one for one in self.load_balancers if one.name == node.load_balancer)
        found: list[Target] = []
        for group in self.groups_of(balancer.name):
            own = group.attributes.get(_CROSS_ZONE, USE_BALANCER)
            everywhere = (balancer.attributes[_CROSS_ZONE] if own == USE_BALANCER else own) == "true"
            found += (one for one in group.targets if everywhere or one.zone in (node.zone, EVERY_ZONE))
        return tuple(found)
