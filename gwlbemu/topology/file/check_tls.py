"""What AWS refuses about the TLS keys of a listener; AWS's error code in brackets.

Sources: ELBv2 API, CreateListener (botocore's service model elbv2 2015-12-01); NLB guide, TLS listeners, ALPN policies,
Mutual TLS; ALB guide, HTTPS listeners, Mutual authentication. What is in the files is looked at when a lab is brought
up.
"""

from __future__ import annotations

from collections.abc import Iterator

from gwlbemu.core.elb.tls_policies import ALPN_POLICIES, POLICIES
from gwlbemu.topology.file.balancing import Listener, MutualAuthentication
from gwlbemu.topology.file.document import Path, Problem

_KEYS = ("certificates", "ssl_policy", "alpn_policy", "mutual_authentication")


def tls_problems(listener: Listener, path: Path) -> Iterator[Problem]:
    """Yield what is wrong with the TLS keys of a listener that stands at `path`."""
    if listener.protocol not in ("TLS", "HTTPS"):
        wanted = "HTTPS" if listener.protocol == "HTTP" else "TLS"
        for key in _KEYS:
            if getattr(listener, key) is not None:
                yield Problem(
                    (*path, key), f"this key is for {wanted} listeners: expected protocol {wanted} (ValidationError)"
                )
        return
    if listener.protocol == "HTTPS" and listener.alpn_policy is not None:
        yield Problem(
            (*path, "alpn_policy"),
            "an ALPN policy is for TLS listeners; HTTP/2 is by routing.http2.enabled: expected no such key "
            "(ValidationError)",
        )
        return
    if listener.ssl_policy is not None and listener.ssl_policy not in POLICIES:
        yield Problem(
            (*path, "ssl_policy"),
            f"there is no security policy {listener.ssl_policy}: expected one of {', '.join(POLICIES)} "
            "(SSLPolicyNotFound)",
        )
    if listener.alpn_policy is not None and listener.alpn_policy not in ALPN_POLICIES:
        yield Problem(
            (*path, "alpn_policy"),
            f"there is no ALPN policy {listener.alpn_policy}: expected one of {', '.join(ALPN_POLICIES)} "
            "(ALPNPolicyNotFound)",
        )
    if listener.mutual_authentication is not None:
        yield from _mutual(listener.mutual_authentication, listener.protocol, (*path, "mutual_authentication"))


def _mutual(mutual: MutualAuthentication, protocol: str, path: Path) -> Iterator[Problem]:
    if mutual.mode == "passthrough" and protocol == "HTTPS":
        for key in ("trust_store", "ignore_client_certificate_expiry", "advertise_trust_store_ca_names"):
            if key in mutual.model_fields_set:
                yield Problem(
                    (*path, key), "mode passthrough judges no certificate: expected no such key (ValidationError)"
                )
    elif mutual.mode == "passthrough":
        yield Problem(
            (*path, "mode"),
            "a Network Load Balancer supports mutual TLS in verify mode only: expected verify or off "
            "(InvalidConfigurationRequest)",
        )
    elif mutual.mode == "verify" and mutual.trust_store is None:
        yield Problem((*path, "trust_store"), "this key is missing: mode verify needs it (ValidationError)")
    elif mutual.mode == "off" and mutual.trust_store is not None:
        yield Problem((*path, "trust_store"), "mode off has no trust store: expected mode verify (ValidationError)")
