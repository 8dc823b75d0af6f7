"""The TLS keys of a listener: what is taken, and what AWS refuses, by key."""

from __future__ import annotations

from typing import Any

import pytest

from gwlbemu.topology.plan.listeners import Tls
from tests.topology.builder import plan_of
from tests.topology.file.test_network import LISTENER, listener, network, told

STORE = {"mode": "verify", "trust_store": "clients.pem"}
MUTUAL = f"{LISTENER}.mutual_authentication"


def tls(**more: Any) -> Any:
    return network(listeners=[listener("TLS", 443, **more)])


@pytest.mark.parametrize(
    ("change", "key", "words"),
    [
        (network(listeners=[listener(certificates=["a.pem"])]), f"{LISTENER}.certificates", "expected protocol TLS"),
        (network(listeners=[listener(ssl_policy="x")]), f"{LISTENER}.ssl_policy", "expected protocol TLS"),
        (tls(ssl_policy="ELBSecurityPolicy-2099-01"), f"{LISTENER}.ssl_policy", "(SSLPolicyNotFound)"),
        (tls(alpn_policy="HTTP3Only"), f"{LISTENER}.alpn_policy", "(ALPNPolicyNotFound)"),
        (tls(certificates=[]), f"{LISTENER}.certificates", "expected at least one entry"),
        (tls(mutual_authentication={"mode": "passthrough"}), f"{MUTUAL}.mode", "verify mode only"),
        (tls(mutual_authentication={"mode": "verify"}), f"{MUTUAL}.trust_store", "this key is missing"),
        (tls(mutual_authentication=STORE | {"mode": "off"}), f"{MUTUAL}.trust_store", "expected mode verify"),
    ],
)
def test_what_aws_refuses_of_a_tls_listener_is_refused_by_key(change: Any, key: str, words: str) -> None:
    assert words in told(change, key)


@pytest.mark.contract("NL-09", "NL-14")
def test_a_listener_has_the_certificates_policies_and_trust_store_that_are_given() -> None:
    given = tls(
        certificates=["a.pem", "lab"],
        ssl_policy="ELBSecurityPolicy-TLS13-1-3-2021-06",
        alpn_policy="HTTP2Preferred",
        mutual_authentication=STORE | {"advertise_trust_store_ca_names": "on"},
    )
    (found,) = plan_of(given).load_balancers[1].listeners
    assert found.tls == Tls(
        ("a.pem", "lab"), "ELBSecurityPolicy-TLS13-1-3-2021-06", "HTTP2Preferred", "clients.pem", False, True
    )


def test_without_them_a_listener_has_aws_defaults_and_a_certificate_of_the_labs_own() -> None:
    (found,) = (
        plan_of(tls(mutual_authentication={"mode": False})).load_balancers[1].listeners
    )  # `off`, as YAML reads it
    assert found.tls == Tls(("lab",), "ELBSecurityPolicy-2016-08", "None", "", False, False)
