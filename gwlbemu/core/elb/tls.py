"""How a listener speaks TLS with its clients: what a node of any type of load balancer is told."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Tls:
    """Files are in the node's own folder, with paths from there.

    `certificates` are PEM files with a certificate, its chain and its key, the default one first. With a `trust_store`,
    a PEM file of authorities, a client has to show a certificate of one of them; "" asks for none.
    """

    certificates: tuple[str, ...]
    oldest_version: str = "1.2"  # of TLS: 1.0, 1.1, 1.2 or 1.3
    newest_version: str = "1.3"
    alpn: tuple[str, ...] = ()  # what is offered, the preferred protocol first
    trust_store: str = ""
    ignore_expiry: bool = False  # of client certificates
    advertise_authorities: bool = False  # tell clients whose certificates are wanted
    passthrough: bool = False  # ask for a client's certificate, judge none, hand it on to the target (ALB)
