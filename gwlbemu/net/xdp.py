"""Whether an interface has an XDP program, and of which kind."""

from __future__ import annotations


def xdp_mode(device: str) -> str:
    """Return "xdp" (the driver's), "xdpgeneric" or "" for none, of an interface of the calling thread's namespace.

    Raises OSError when the kernel does not tell.
    """
    from pyroute2 import IPRoute, NetlinkError  # 0.15 s

    try:
        with IPRoute() as route:
            for link in route.get_links(ifname=device):
                told = link.get_attr("IFLA_XDP")
                return str(told.get_attr("IFLA_XDP_ATTACHED") or "") if told else ""
    except NetlinkError as error:
        raise OSError(error.code, str(error)) from error
    return ""
