"""Names that the file does not give: MAC addresses, interface names, endpoint ids; and those that it may not give.

Those that are made here are derived from the resource's own name and nothing else, not from the lab's name or the order
of the file: the same topology gives the same bytes on every run, so captures can be compared.
"""

from __future__ import annotations

import re
from base64 import b32encode
from hashlib import blake2b

NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9-]{0,30}[A-Za-z0-9])?")  # of a resource, and of a lab
NAME_EXPECTED = "a name of at most 32 letters, digits and hyphens, not beginning or ending with a hyphen"
LONGEST_DEVICE = 15  # IFNAMSIZ less the final zero
UPLINK = "uplink"  # joins a subnet's bridge to the fabric, for instances and NAT gateways that are route targets

_KERNEL = "the kernel's settings of a namespace have a folder of that name beside those of its interfaces"
# What no resource and no zone may be called, and why.
RESERVED = {
    "all": _KERNEL + ", and it is the zone of a target outside the VPC",
    "default": _KERNEL,
    "lo": "every namespace has an interface of that name",
    "eth0": "the interface of every instance and NAT gateway",
    "eni": "the interface of every load balancer node",
    "fabric": "the interface of every subnet towards its VPC",
    "subnet": "the bridge of every subnet",
    UPLINK: "a port of the bridge of a subnet",
    "internet": "the namespace in which the internet's instances are",
    "local": "the target of a route that stays in the VPC",
    "blackhole": "the target of a transit gateway's route that drops",
}
# The lab's own processes and sockets, in one folder with those of the instances' programs: no instance with a program
# and no load balancer node may be called so. One to come should have a dot in its name (`lab.resolver`): no resource
# can have one, so that no topology file of today has to change for it.
CAPTURE, DISCARDS = "capture", "discards"
RESOLVER, NEWS = "lab.resolver", "news"
RESERVED_FOR_PROCESSES = {
    CAPTURE: "the lab's capture",
    DISCARDS: "the socket by which nodes hand dropped packets to the lab's capture",
}


def mac(resource: str, interface: str) -> str:
    """Return the MAC address (02:.. text, locally administered, unicast) of one interface of a resource."""
    digest = blake2b(f"{resource}/{interface}".encode(), digest_size=5).digest()
    return ":".join(f"{byte:02x}" for byte in (0x02, *digest))


def device(resource: str) -> str:
    """Return the name of an interface that belongs to a resource: the resource's own where it fits into 15 bytes.

    Of a longer one the beginning and 40 bits of a hash: among 300 that begin alike, two are the same once in 20 million
    labs, and the checks refuse those.
    """
    if len(resource) <= LONGEST_DEVICE:
        return resource
    digest = b32encode(blake2b(resource.encode(), digest_size=5).digest()).decode().lower()
    return f"{resource[: LONGEST_DEVICE - 1 - len(digest)]}-{digest}"


def endpoint_id(endpoint: str) -> str:
    """Return the id (vpce-0 and 16 hex digits) of an endpoint whose id the file does not give (contract GV-07)."""
    return f"vpce-0{blake2b(endpoint.encode(), digest_size=8).hexdigest()}"


def load_balancer_dimension(word: str, load_balancer: str) -> str:
    """Return the value of CloudWatch's dimension LoadBalancer: word/name/16 hex digits (GWLB guide).

    `word` is AWS's for the type of load balancer: gateway, net or app.
    """
    return _with_id(f"{word}/{load_balancer}")


def target_group_dimension(target_group: str) -> str:
    """Return the value of CloudWatch's dimension TargetGroup: targetgroup/name/16 hex digits."""
    return _with_id(f"targetgroup/{target_group}")


def _with_id(path: str) -> str:
    return f"{path}/{blake2b(path.encode(), digest_size=8).hexdigest()}"


# Names in DNS. A load balancer's is AWS's `NAME-ID.elb.REGION.amazonaws.com` without the id, which nobody could know
# before the lab is up, and with a region that is none of AWS's. The domains of instances are ours: AWS's names of
# instances are made of addresses.
BALANCERS_DOMAIN, PRIVATE_DOMAIN, PUBLIC_DOMAIN = "elb.lab.amazonaws.com", "internal", "internet"


def load_balancer_dns_name(load_balancer: str) -> str:
    """Return the DNS name of a load balancer; with a zone and a dot before it, it is that zone's (NLB guide)."""
    return f"{load_balancer}.{BALANCERS_DOMAIN}".lower()


def private_dns_name(instance: str, vpc: str) -> str:
    """Return the name by which an instance is known in its VPC; behind the first dot stands what clients search in."""
    return f"{instance}.{vpc}.{PRIVATE_DOMAIN}".lower()


def public_dns_name(instance: str) -> str:
    """Return the name of an instance on the internet, or of one with a public address."""
    return f"{instance}.{PUBLIC_DOMAIN}".lower()


def namespace(lab: str, resource: str) -> str:
    """Return the name under /run/netns of a resource's network namespace."""
    return f"{lab}-{resource}"


def node(load_balancer: str, zone: str) -> str:
    """Return the name of a load balancer's node in a zone."""
    return f"{load_balancer}-node-{zone}"


def attachment(name: str, zone: str) -> str:
    """Return the name that a transit gateway's attachment has on its VPC's fabric in one zone."""
    return f"{name}-{zone}"


def uplink(subnet: str) -> str:
    """Return the name, on the fabric, of the port that leads to a subnet's bridge."""
    return f"{subnet}-{UPLINK}"
