"""gwlbemu: a packet-level emulator of AWS load balancing, the Gateway Load Balancer first.

from gwlbemu import Lab

with Lab("topologies/two-zones.yaml") as lab:
    print(lab.exec("client", ["curl", "-s", "http://203.0.113.10/"]).stdout)
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gwlbemu.public import Lab

__all__ = ["Lab"]


def __getattr__(name: str) -> object:
    # Imported when it is asked for: the packet path imports this package and needs none of it.
    if name == "Lab":
        from gwlbemu.public import Lab

        return Lab
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
