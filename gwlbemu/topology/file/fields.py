"""The small words of a topology file: names, addresses, networks, ports; each with its refusal.

Values stay text, as the user wrote them (an IPv6 address is brought into its short form); networks are understood with
netaddr in the checks and in `resolve`.
"""

from __future__ import annotations

import re
from typing import Annotated, Literal

from netaddr import AddrFormatError, IPAddress, IPNetwork
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from gwlbemu.topology.names import NAME, NAME_EXPECTED, RESERVED


class Model(BaseModel):
    """Base of every model of the file: unknown keys refused, no silent conversion ("80" is not 80), frozen."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


PROTOCOLS = ("tcp", "udp", "icmp", "gre", "esp", "any")  # by name in a firewall's rule; icmp is ICMPv6, too
# By name or number in a security group's rule (EC2 API, IpPermission: IpProtocol; "-1" is all).
_GROUP_PROTOCOLS = {"tcp": "6", "udp": "17", "icmp": "1", "icmpv6": "58", "all": "-1"}
# Numbers of protocols that people know by name (IANA, Protocol Numbers), for those that have none in a rule.
_NUMBERS = {
    "igmp": 2, "ipip": 4, "ipv6": 41, "gre": 47, "esp": 50, "ah": 51, "icmpv6": 58, "icmp6": 58, "ospf": 89,
    "etherip": 97, "pim": 103, "vrrp": 112, "l2tp": 115, "sctp": 132, "udplite": 136,
}  # fmt: skip
_ENDPOINT_ID = re.compile(r"vpce-0[0-9a-f]{16}")


def _name(text: str) -> str:
    if not NAME.fullmatch(text):
        raise ValueError(f"expected {NAME_EXPECTED}")
    if text in RESERVED:
        raise ValueError(f"the name {text} has a meaning of its own here ({RESERVED[text]}): choose another one")
    return text


def _security_group_name(text: str) -> str:
    if not NAME.fullmatch(text):
        raise ValueError(f"expected {NAME_EXPECTED}")
    if text == "default":  # EC2: InvalidGroup.Reserved
        raise ValueError("the name default is that of a VPC's own security group: choose another one")
    return text


def _network(version: int, example: str, shortest: int, longest: int) -> AfterValidator:
    wanted = f"expected an IPv{version} network such as {example}"

    def check(text: str) -> str:
        try:
            network = IPNetwork(text, version=version)
        except (AddrFormatError, ValueError):
            raise ValueError(wanted) from None
        if "/" not in text:
            raise ValueError(f"{wanted}, with a prefix length")
        if not shortest <= network.prefixlen <= longest:
            raise ValueError(f"expected a prefix length from /{shortest} to /{longest}")
        if network in IPNetwork("169.254.0.0/16") or network in IPNetwork("fe80::/10"):
            raise ValueError(f"{text} is link-local: expected another network")
        if network.ip != network.network:
            raise ValueError(f"{wanted}; {text} has host bits, did you mean {network.cidr}?")
        return str(network.cidr)

    return AfterValidator(check)


def _address(version: int, example: str) -> AfterValidator:
    def check(text: str) -> str:
        try:
            return str(IPAddress(text, version=version))
        except (AddrFormatError, ValueError):
            raise ValueError(f"expected an IPv{version} address such as {example}") from None

    return AfterValidator(check)


def _destination(text: str) -> str:
    for version in (4, 6):
        try:
            network = IPNetwork(text, version=version)
        except (AddrFormatError, ValueError):
            continue
        if "/" in text and network.ip == network.network:
            return str(network.cidr)
    raise ValueError("expected a network such as 0.0.0.0/0, 10.0.1.0/24 or ::/0, without host bits")


def _endpoint_id(text: str) -> str:
    if not _ENDPOINT_ID.fullmatch(text):
        raise ValueError("expected vpce-0 and 16 lower-case hex digits, such as vpce-00123456789abcdef")
    return text


def _port_range(text: str) -> str:
    first, dash, last = text.partition("-")
    if not first.isdecimal() or (dash and not last.isdecimal()):
        raise ValueError("expected a port such as 80, or a range such as 8000-8010")
    if not 0 <= int(first) <= int(last or first) <= 65535:
        raise ValueError("expected ports from 0 to 65535, the lower one first")
    return text


def _listed(value: object) -> object:
    return value if isinstance(value, tuple) else (value,)


def _protocol(text: str) -> str:
    if text in PROTOCOLS or _is_number(text):
        return text
    *names, every = PROTOCOLS
    raise ValueError(_refused_protocol(text, names, every))


def _group_protocol(value: object) -> object:
    if not isinstance(value, (str, int)) or isinstance(value, bool):
        return value
    text = str(value)
    for name, number in _GROUP_PROTOCOLS.items():
        if text in (name, number):
            return name
    if _is_number(text):
        return str(int(text))
    *names, every = _GROUP_PROTOCOLS
    raise ValueError(_refused_protocol(text, names, every))


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) <= 3 and int(text) <= 255


def _refused_protocol(text: str, names: list[str], every: str) -> str:
    """What to write instead; never in the first place what lets every protocol through."""
    if text.lower() in _NUMBERS:
        return f"{text} goes by its number here: expected {_NUMBERS[text.lower()]}"
    return f"expected {', '.join(names)}, or a number from 0 to 255 ({every} would be every protocol); got {text}"


def _text(value: object) -> object:
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


def _attribute(value: object) -> object:
    """AWS writes every attribute as text: true is "true", 350 is "350"."""
    if isinstance(value, bool):
        return str(value).lower()
    return str(value) if isinstance(value, int) else value


Name = Annotated[str, AfterValidator(_name)]
SecurityGroupName = Annotated[str, AfterValidator(_security_group_name)]  # no namespace and no interface has it
Zone = Annotated[str, AfterValidator(_name)]
VpcCidr = Annotated[str, _network(4, "10.0.0.0/16", 16, 28)]
SubnetCidr = Annotated[str, _network(4, "10.0.1.0/24", 16, 28)]
InternetCidr = Annotated[str, _network(4, "198.51.100.0/24", 8, 29)]
Ipv6Cidr = Annotated[str, _network(6, "2001:db8:0:1::/64", 16, 64)]
Address = Annotated[str, _address(4, "10.0.1.10")]
Ipv6Address = Annotated[str, _address(6, "2001:db8:0:1::a")]
Destination = Annotated[str, AfterValidator(_destination)]
EndpointId = Annotated[str, AfterValidator(_endpoint_id)]
_PlainText = BeforeValidator(_text, json_schema_input_type=str | int)
Ports = Annotated[str, _PlainText, AfterValidator(_port_range)]
AttributeValue = Annotated[str, BeforeValidator(_attribute, json_schema_input_type=str | int | bool)]
# One value, or a list of them.
_OneOrMany = BeforeValidator(_listed, json_schema_input_type=str | int | list[str | int])
Texts = Annotated[tuple[Annotated[str, _PlainText], ...], _OneOrMany]
GroupProtocol = Annotated[
    str,
    BeforeValidator(
        _group_protocol,
        json_schema_input_type=Literal["tcp", "udp", "icmp", "icmpv6", "all"]
        | Annotated[int, Field(ge=-1, le=255)]
        | Annotated[str, Field(pattern="^(-1|[0-9]{1,3})$")],
    ),
]
Protocols = Annotated[tuple[Annotated[str, _PlainText, AfterValidator(_protocol)], ...], _OneOrMany]
PortList = Annotated[tuple[Ports, ...], _OneOrMany]
