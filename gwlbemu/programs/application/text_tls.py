"""TLS of an HTTPS listener in HAProxy's language, and what a target is told of it.

ALB guide, HTTP headers; Mutual authentication with TLS (the headers' names and forms); HTTP header modification (their
other names). In mode passthrough a target gets the client's own certificate; AWS sends the whole chain that was shown.
"""

from __future__ import annotations

from collections.abc import Iterator

from gwlbemu.core.elb.application_attributes import ApplicationAttributes
from gwlbemu.core.elb.tls import Tls
from gwlbemu.programs.application.words import substitution, when, word

_HTTP1, _HTTP2 = "http/1.1", "h2"
_CERTIFICATE_HAS_EXPIRED = 10  # X509_V_ERR_CERT_HAS_EXPIRED


def bind(tls: Tls, *, http2: bool) -> str:
    """Return the words of a bind line. Versions before 1.2 need ciphers that OpenSSL counts as unsafe by now."""
    words = ["ssl", *(f"crt {each}" for each in tls.certificates)]
    words.append(f"ssl-min-ver TLSv{tls.oldest_version} ssl-max-ver TLSv{tls.newest_version}")
    if tls.oldest_version < "1.2":
        words.append("ciphers DEFAULT:@SECLEVEL=0")
    words.append(f"alpn {f'{_HTTP2},' if http2 else ''}{_HTTP1}")
    if tls.passthrough:  # an authority has to be named; no client is told or judged by it
        words.append(f"ca-verify-file {tls.certificates[0]} verify optional crt-ignore-err all ca-ignore-err all")
    elif tls.trust_store:
        names = "ca-file" if tls.advertise_authorities else "ca-verify-file"
        words.append(f"{names} {tls.trust_store} verify required")
        if tls.ignore_expiry:
            words.append(f"crt-ignore-err {_CERTIFICATE_HAS_EXPIRED} ca-ignore-err {_CERTIFICATE_HAS_EXPIRED}")
    return " ".join(words)


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
