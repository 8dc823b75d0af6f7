"""A VPC carries no VLANs: what an instance sends with a tag is dropped and counted at the bridge port it arrives at.

The kernel takes the outermost tag off and keeps it aside before any rule is asked, and nft shows the frame as it was on
the wire. A shortcut hands tagged frames to the kernel (`vpc.c`), so that they come here with shortcuts, too.
"""

from __future__ import annotations

TABLE = "netdev vlan_tags"
_PRIORITY = -10  # before every other rule of the port
_TAGS = "{ 0x8100, 0x88a8 }"  # IEEE 802.1Q: a customer's tag, a provider's


def vlan_tags(device: str) -> str:
    """Return the rules of the bridge port `device`; `TABLE` has a counter `tagged_DEVICE`. Linux 5.16, nft 1.0.6."""
    return (
        f"table {TABLE} {{\n"
        f"  counter tagged_{device} {{ }}\n"
        f"  chain from_{device} {{\n"
        f'    type filter hook ingress device "{device}" priority {_PRIORITY}; policy accept;\n'
        f"    @ll,96,16 {_TAGS} counter name tagged_{device} drop\n"
        "  }\n}\n"
    )
