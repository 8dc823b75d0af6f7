"""The machine half of a plan: what the kernel shall hold, which `net` builds; it knows no AWS word.

Addresses are text, networks are CIDR text, MACs are `02:..` text. The lab half, and the Plan that holds both, is in
`values`.
"""

from __future__ import annotations

from dataclasses import dataclass

from gwlbemu.topology.file.document import Path


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
    mtu: int  # bytes
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
class KernelRoute:
    """One route of a namespace, in its main table or in `table`."""

    destination: str  # CIDR
    device: str | None = None  # None with kind "blackhole"
    via: str | None = None
    kind: str = "unicast"  # unicast | blackhole | local: of this namespace itself
    table: int = 254
    source: str = ""  # the topology line it comes from, for people: "route table app-a: 0.0.0.0/0 -> vpce-fw-a"
    path: Path = ()  # of that line in the file; of the table, or of what has none, for an implicit local line


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
class OpenRule:
    """TCP or UDP packets that a port lets in from `network`, and their answers out, without a record of the flow."""

    network: str  # IPv4
    protocol: str  # tcp, udp
    first_port: int  # of the instance
    last_port: int


@dataclass(frozen=True, slots=True)
class InstancePort:
    """A bridge port that carries frames of one interface only: what its ruleset says, for those who have to obey it."""

    device: str
    mac: str  # of the interface at the other end
    address: str
    ipv6_address: str  # "" for none
    source_dest_check: bool  # every packet is from or for these addresses
    stateful: bool  # it has security groups: the ruleset has to see every packet that `open_rules` do not let through
    open_rules: tuple[OpenRule, ...] = ()
    returns: bool = False  # some packets from here go back to where their flow came from, whatever their address says


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
    # fabric | internet | subnet | instance | internet-gateway | nat-gateway | transit-gateway | node | network-node
    # application-node
    role: str
    forwarding: bool = False
    bridges: tuple[Bridge, ...] = ()
    routes: tuple[KernelRoute, ...] = ()
    neighbours: tuple[Neighbour, ...] = ()
    forwarding_entries: tuple[ForwardingEntry, ...] = ()
    nftables: str = ""  # a ruleset for `nft -f -`, or nothing
    address_rewrites: tuple[AddressRewrite, ...] = ()
    instance_ports: tuple[InstancePort, ...] = ()
    rules: tuple[tuple[str, int], ...] = ()  # policy rules (incoming interface, table)
    mark_rules: tuple[tuple[str, int, int], ...] = ()  # tried before `rules`: (incoming interface, packet mark, table)
