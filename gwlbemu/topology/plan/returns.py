"""How answers of a network load balancer's targets find back to its node, where the client's address is kept.

The target answers the client, of whom its subnet's route table knows another way. So the subnet remembers, outside the
instance: its router marks what a node sends by the node's MAC on the fabric, the bridge port of the target remembers
the flow with the mark, and brings what belongs to it before the router with the same mark. A policy rule sends that to
the node. Each instance of a VPC with a network load balancer has such a port: it may be registered at any time. So
does each node of an application load balancer, where a target group is for those. What the port does not remember is
nobody's answer, and goes its usual way. Only TCP and UDP over IPv4 are remembered, with their fragments; an ICMP error
that a target sends about such a flow goes straight to the client.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from gwlbemu.topology.plan.rulesets import chain, table

FIRST_TABLE = 1000  # the route table of mark N is this plus N

# Seconds. Longer than every idle timeout (NLB guide: TCP at most 6000, UDP 120): the node is the one who forgets first.
_TCP, _TCP_OPENING, _TCP_CLOSED, _UDP = 6060, 120, 60, 180
_FLOWS = 262_144  # in a subnet, of each protocol: what one node's connection tracking holds
_FRAGMENTS, _REASSEMBLY = 10_000, 30  # datagrams whose first fragment was an answer; seconds
_DATAGRAM = "ip saddr . ip daddr . ip protocol . ip id"
# What the map of TCP flows knows beside the mark: whose FIN has been seen.
_MARK, _CLIENT_ENDED, _TARGET_ENDED = 0xFFFF, 0x10000, 0x20000
_ENDED = _CLIENT_ENDED | _TARGET_ENDED
_SYN, _END = "tcp flags & (fin | syn | rst | ack) == syn", "tcp flags & (fin | rst) != 0"


def returns(nodes: Mapping[str, int], ports: Iterable[str], router_mac: str) -> str:
    """Return the rules of a subnet: `nodes` are the marks of nodes by their MACs on the fabric, `ports` bridge ports.

    `router_mac` is the router's on the subnet's bridge.
    """
    marks = ", ".join(f"{mac} : {number}" for mac, number in nodes.items())
    lines = [f'iifname "fabric" meta mark set ether saddr map {{ {marks} }}']
    return table(
        "ip returns", chain("prerouting", "filter hook prerouting priority -150; policy accept;", lines)
    ) + table(
        "netdev returns",
        *_maps(),
        *(chain(f"udp_of_{number}", "", _remember_udp(number)) for number in nodes.values()),
        chain("remember", "", _remember(nodes.values())),
        chain("forget", "", _forget()),
        chain("tcp_answer", "", _tcp_answer()),
        chain("udp_answer", "", [f"update @udp_flows {{ {_flow('udp', 'sent')} : meta mark }}", "goto answer"]),
        chain("answer", "", _answer(router_mac)),
        *(text for port in ports for text in _port(port)),
    )


def _maps() -> Iterator[str]:
    key = "type ipv4_addr . ipv4_addr . inet_service . inet_service : mark"
    for name, what, size, seconds in (
        ("tcp_flows", key, _FLOWS, _TCP),
        ("udp_flows", key, _FLOWS, _UDP),
        ("fragments", f"typeof {_DATAGRAM} : meta mark", _FRAGMENTS, _REASSEMBLY),
    ):
        yield f"  map {name} {{ {what}; flags dynamic,timeout; size {size}; timeout {seconds}s; }}\n"


def _port(device: str) -> Iterator[str]:
    """The rules of a port, after those that say what it lets through (`port_rules`)."""
    yield chain(
        f"received_{device}",
        f'filter hook egress device "{device}" priority 10; policy accept;',
        ["meta mark != 0 goto remember", "goto forget"],
    )
    yield chain(
        f"sent_{device}",
        f'filter hook ingress device "{device}" priority 10; policy accept;',
        [
            *(f"meta mark set {_flow(each, 'sent')} map @{each}_flows goto {each}_answer" for each in ("tcp", "udp")),
            f"ip frag-off & 0x1fff != 0 meta mark set {_DATAGRAM} map @fragments goto answer",
        ],
    )


def _remember(marks: Iterable[int]) -> Iterator[str]:
    """What comes from a node. An entry is written anew where its mark changes: an update changes the timeout alone."""
    flow = _flow("tcp", "received")
    yield f"meta l4proto udp meta mark vmap {{ {', '.join(f'{mark} : goto udp_of_{mark}' for mark in marks)} }}"
    yield f"{_SYN} delete @tcp_flows {{ {flow} : meta mark }}"
    yield f"{_SYN} update @tcp_flows {{ {flow} timeout {_TCP_OPENING}s : meta mark }}"
    yield f"tcp flags & (fin | rst) == 0 add @tcp_flows {{ {flow} : meta mark }}"  # it began before these rules
    yield f"{_END} meta mark set {flow} map @tcp_flows"
    yield from _ended("received", _CLIENT_ENDED)


def _remember_udp(mark: int) -> Iterator[str]:
    """The same for UDP, which has no beginning: a client may go on by another node with each datagram."""
    flow = _flow("udp", "received")
    yield f"meta mark set {flow} map @udp_flows"
    yield f"meta mark {mark} update @udp_flows {{ {flow} : meta mark }} accept"
    yield f"delete @udp_flows {{ {flow} : meta mark }}"
    yield f"meta mark set {mark}"
    yield f"update @udp_flows {{ {flow} : meta mark }}"


def _forget() -> Iterator[str]:
    """What comes from elsewhere with the addresses and ports of a flow that was a node's: its answer is no longer."""
    yield f"{_SYN} delete @tcp_flows {{ {_flow('tcp', 'received')} : meta mark }}"
    yield f"delete @udp_flows {{ {_flow('udp', 'received')} : meta mark }}"


def _tcp_answer() -> Iterator[str]:
    yield from _ended("sent", _TARGET_ENDED)
    yield f"meta mark & {_ENDED:#x} != {_ENDED:#x} update @tcp_flows {{ {_flow('tcp', 'sent')} : meta mark }}"
    yield "goto answer"


def _ended(way: str, who: int) -> Iterator[str]:
    """A FIN of `who`, or a RST: once both have ended, the entry stays for a short time, whatever comes."""
    flow = _flow("tcp", way)
    yield f"tcp flags & (fin | rst) == fin meta mark set meta mark | {who:#x}"
    yield f"tcp flags & rst == rst meta mark set meta mark | {_ENDED:#x}"
    yield f"{_END} delete @tcp_flows {{ {flow} : meta mark }}"
    for ended, timeout in (("==", f" timeout {_TCP_CLOSED}s"), ("!=", "")):
        yield f"{_END} meta mark & {_ENDED:#x} {ended} {_ENDED:#x} update @tcp_flows {{ {flow}{timeout} : meta mark }}"


def _answer(router_mac: str) -> Iterator[str]:
    yield f"meta mark set meta mark & {_MARK:#x}"
    yield f"ip frag-off & 0x3fff == 0x2000 update @fragments {{ {_DATAGRAM} : meta mark }}"
    yield f"ether daddr set {router_mac}"


def _flow(protocol: str, way: str) -> str:
    """The key of a packet's flow, as it goes to the target: what an instance sends has it the other way round."""
    client, target = ("s", "d") if way == "received" else ("d", "s")
    return f"ip {client}addr . ip {target}addr . {protocol} {client}port . {protocol} {target}port"
