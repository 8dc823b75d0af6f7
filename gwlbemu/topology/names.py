"""Names that the file does not give: MAC addresses, interface names, endpoint ids.

All are derived from the resource's own name and nothing else, not from the lab's name or the order of the file: the
same topology gives the same bytes on every run, so captures can be compared.
"""

from __future__ import annotations

from hashlib import blake2b

LONGEST_DEVICE = 15  # IFNAMSIZ less the final zero


def mac(resource: str, interface: str) -> str:
    """A locally administered unicast MAC for one interface of a resource."""
    digest = blake2b(f"{resource}/{interface}".encode(), digest_size=5).digest()
    return ":".join(f"{byte:02x}" for byte in (0x02, *digest))


def device(resource: str) -> str:
    """The name of an interface that belongs to a resource: the resource's own where it fits."""
    if len(resource) <= LONGEST_DEVICE:
        return resource
    digest = blake2b(resource.encode(), digest_size=2).hexdigest()
    return f"{resource[: LONGEST_DEVICE - 5]}-{digest}"


def endpoint_id(endpoint: str) -> str:
    """An endpoint id for an endpoint whose id the file does not give (contract GV-07)."""
    return f"vpce-0{blake2b(endpoint.encode(), digest_size=8).hexdigest()}"


def load_balancer_dimension(word: str, load_balancer: str) -> str:
    """The value of CloudWatch's dimension LoadBalancer: word/name/16 hex digits.

    `word` is AWS's for the type of load balancer: gateway, net or app.
    """
    return _with_id(f"{word}/{load_balancer}")


def target_group_dimension(target_group: str) -> str:
    """The value of CloudWatch's dimension TargetGroup: targetgroup/name/16 hex digits."""
    return _with_id(f"targetgroup/{target_group}")


def _with_id(path: str) -> str:
    return f"{path}/{blake2b(path.encode(), digest_size=8).hexdigest()}"


def namespace(lab: str, resource: str) -> str:
    """The name under /run/netns."""
    return f"{lab}-{resource}"


def node(load_balancer: str, zone: str) -> str:
    """The name of a load balancer's node in a zone."""
    return f"{load_balancer}-node-{zone}"
