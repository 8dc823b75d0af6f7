"""The resolved plan: every name, address, route, MAC and MTU decided; frozen, printable, all that `net` and `run` need.

Two halves. The machine half (Namespace, Link) says what the kernel shall hold and knows no AWS word; `net` builds it.
The lab half (Instance, Endpoint, Node, TargetGroup, ...) says what it means; `run` and `cli` read it.
Addresses are text, networks are CIDR text, MACs are `02:..` text: a plan is JSON (see `encode`).
"""

from __future__ import annotations

from dataclasses import dataclass, field

from gwlbemu.core.elb.health import HealthCheck
from gwlbemu.errors import AwsError


# ---- the machine half ------------------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class Bridge:
    """A bridge inside a namespace. Its ports learn nothing and flood nothing but broadcast: see ForwardingEntry."""

    name: str
    mac: str
    mtu: int
    addresses: tuple[str, ...] = ()  # with prefix length, e.g. "10.0.1.1/24"


@dataclass(frozen=True, slots=True)
class End:
    """One end of a veth link."""

    namespace: str
    name: str  # interface name, at most 15 bytes
    mac: str
    mtu: int
    addresses: tuple[str, ...] = ()
    bridge: str | None = None  # the bridge of the same namespace that this end is a port of
    offload: bool = False  # False: segmentation and checksum offload are switched off, so that taps show real frames
    rate_mbit: float | None = None  # egress ceiling (tbf), for instance types


@dataclass(frozen=True, slots=True)
class Link:
    """A veth pair."""

    a: End
    b: End


@dataclass(frozen=True, slots=True)
class Route:
    """One line of a namespace's main table (or of `table`)."""

    destination: str  # CIDR
    device: str | None = None  # None with kind "blackhole"
    via: str | None = None
    kind: str = "unicast"  # unicast | blackhole
    table: int = 254
    source: str = ""  # the topology line it comes from, for people: "route table app-a: 0.0.0.0/0 -> vpce-fw-a"


@dataclass(frozen=True, slots=True)
class Neighbour:
    """A permanent neighbour entry: nobody asks by ARP."""

    device: str
    address: str
    mac: str


@dataclass(frozen=True, slots=True)
class ForwardingEntry:
    """A static bridge forwarding entry: `mac` is behind `port`."""

    bridge: str
    port: str
    mac: str


@dataclass(frozen=True, slots=True)
class AddressRewrite:
    """A rule that nft's language has no words for, appended to `chain` of the ruleset's `table` (family ip).

    Write `address` at `offset` of the transport header, and mend the Internet checksum at `checksum_offset` by it.
    """

    table: str
    chain: str
    offset: int
    address: str
    checksum_offset: int


@dataclass(frozen=True, slots=True)
class Namespace:
    """A network namespace; `name` is the full name under /run/netns, `resource` the name in the topology file."""

    name: str
    resource: str
    role: str  # fabric | internet | subnet | instance | internet-gateway | nat-gateway | transit-gateway | node
    forwarding: bool = False
    bridges: tuple[Bridge, ...] = ()
    routes: tuple[Route, ...] = ()
    neighbours: tuple[Neighbour, ...] = ()
    forwarding_entries: tuple[ForwardingEntry, ...] = ()
    nftables: str = ""  # a ruleset for `nft -f -`, or nothing
    address_rewrites: tuple[AddressRewrite, ...] = ()
    rules: tuple[tuple[str, int], ...] = ()  # policy rules (incoming interface, table)
    mark_rules: tuple[tuple[str, int, int], ...] = ()  # tried before `rules`: (incoming interface, packet mark, table)


# ---- the lab half ----------------------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class Program:
    """A process that runs inside an instance for as long as the lab is up."""

    instance: str
    namespace: str
    argv: tuple[str, ...]  # {python} and {state} are filled in by run: ("{python}", "-m", "appliances.firewall", ...)
    config: str = ""  # text of the file that the process is given as {config} (an appliance's rules), or nothing


@dataclass(frozen=True, slots=True)
class Instance:
    """An EC2 instance: one eth0 in one subnet."""

    name: str
    namespace: str
    vpc: str  # "" for an instance on the internet
    subnet: str  # "internet" for an instance on the internet
    zone: str
    address: str
    ipv6_address: str = ""
    public_address: str = ""
    mac: str = ""
    security_groups: tuple[str, ...] = ()
    source_dest_check: bool = True
    instance_type: str = ""
    appliance: bool = False


@dataclass(frozen=True, slots=True)
class Subnet:
    name: str
    vpc: str
    zone: str
    cidr: str
    ipv6_cidr: str
    route_table: str
    namespace: str


@dataclass(frozen=True, slots=True)
class Vpc:
    name: str
    cidr: str
    ipv6_cidr: str
    internet_gateway: str  # name or ""


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
    """A member of a target group. `id` is the instance's name, or the address for target type ip."""

    id: str
    address: str
    zone: str  # "all" for an address outside the VPC


@dataclass(frozen=True, slots=True)
class TargetGroup:
    name: str
    vpc: str
    target_type: str  # instance | ip
    health_check: HealthCheck
    attributes: dict[str, str]  # every AWS attribute key with its value as AWS writes it
    targets: tuple[Target, ...]


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
class LoadBalancer:
    name: str
    type: str  # gateway
    vpc: str
    zones: tuple[str, ...]
    target_group: str
    attributes: dict[str, str]
    listener_attributes: dict[str, str]


@dataclass(frozen=True, slots=True)
class Tap:
    """An interface the capture listens on, named after the thing it is: client/eth0, vpce-fw-a, fw-a1/eth0."""

    name: str
    namespace: str
    device: str


@dataclass(frozen=True, slots=True)
class CaptureSettings:
    enabled: bool = True
    file_size_mib: int = 64  # per file
    files: int = 4  # the oldest is overwritten
    snapshot_length: int = 9100


@dataclass(frozen=True, slots=True)
class Plan:
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
    programs: tuple[Program, ...]
    taps: tuple[Tap, ...]
    capture: CaptureSettings = CaptureSettings()
    datapath: str = "auto"  # auto | python | ebpf
    offload: bool = False
    shortcuts: bool = True  # eBPF programs may carry what bridges and route tables say (see `shortcuts`)
    emulation: dict[str, str | int | float | bool | None] = field(default_factory=dict)  # what AWS leaves open
    description: str = ""
    route_tables: dict[str, tuple[tuple[str, str], ...]] = field(default_factory=dict)  # name -> (destination, target)
    internet_cidr: str = ""

    def group_of(self, balancer: str) -> TargetGroup:
        """Return the target group that the load balancer `balancer` forwards to, where it can be only one.

        Raises AwsError for a name that no load balancer has.
        """
        for one in self.load_balancers:
            if one.name == balancer:
                return next(group for group in self.target_groups if group.name == one.target_group)
        known = ", ".join(one.name for one in self.load_balancers) or "none"
        raise AwsError(f"no load balancer {balancer}; there are: {known}", "LoadBalancerNotFound")

    def groups_of(self, balancer: str) -> tuple[TargetGroup, ...]:
        """Return every target group that the load balancer `balancer` forwards to, each once, in the file's order.

        Raises AwsError for a name that no load balancer has.
        """
        return (self.group_of(balancer),)

    def balancers_of(self, group: str) -> tuple[LoadBalancer, ...]:
        """Return the load balancers that forward to the target group `group`; none for a group nobody uses."""
        return tuple(one for one in self.load_balancers if one.target_group == group)
