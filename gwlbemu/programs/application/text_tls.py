"""What a target is told of TLS with the client, in HAProxy's language.

ALB guide, HTTP headers; Mutual authentication with TLS (the headers' names and forms); HTTP header modification (their
other names). In mode passthrough a target gets the client's own certificate; AWS sends the whole chain that was shown.
"""

from __future__ import annotations

from collections.abc import Iterator

from gwlbemu.core.elb.application_attributes import ApplicationAttributes
from gwlbemu.core.elb.tls import Tls
from gwlbemu.programs.application.words import substitution, when, word


def headers(tls: Tls, attributes: ApplicationAttributes) -> Iterator[str]:
    """Yield the rules for what a target is told."""
    if attributes.tls_headers:
        yield _header(attributes.tls_version_header, "%[ssl_fc_protocol]")
        yield _header(attributes.cipher_suite_header, "%[ssl_fc_cipher]")
    if tls.passthrough:
        has_one = "{ ssl_c_used }"
        yield f"http-request del-header {word(attributes.clientcert_header)}{when(f'!{has_one}')}"
        yield f"{_header(attributes.clientcert_header, _pem())}{when(has_one)}"
    elif tls.trust_store:
        times = (f"{name}=%[ssl_c_{name.lower()},{_iso8601()}]" for name in ("NotBefore", "NotAfter"))
        yield _header(attributes.serial_number_header, "%[ssl_c_serial,hex]")
        yield _header(attributes.issuer_header, "%[ssl_c_i_dn(,0,rfc2253)]")
        yield _header(attributes.subject_header, "%[ssl_c_s_dn(,0,rfc2253)]")
        yield _header(attributes.validity_header, ";".join(times))
        yield _header(attributes.leaf_header, _pem())


def _header(name: str, value: str) -> str:
    return f"http-request set-header {word(name)} {word(value)}"


def _pem() -> str:
    """The client's certificate as PEM, URL-encoded with +, = and / as they are."""
    lines = f"%[ssl_c_der,base64,{substitution('(.{64})(?=.)', '$1%0A', 'g')}]"
    return f"-----BEGIN%%20CERTIFICATE-----%%0A{lines}%%0A-----END%%20CERTIFICATE-----%%0A"


def _iso8601() -> str:
    """The converters from a certificate's time, whose year has two digits before 2050."""
    whole = substitution("^([0-9]{12}Z)$", "20$1")
    return f"{whole},{substitution('^(....)(..)(..)(..)(..)(..)Z$', '$1-$2-$3T$4:$5:$6Z')}"
