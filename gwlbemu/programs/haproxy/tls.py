"""How a listener speaks TLS with its clients, in HAProxy's language."""

from __future__ import annotations

from collections.abc import Sequence

from gwlbemu.core.elb.tls import Tls

_CERTIFICATE_HAS_EXPIRED = 10  # X509_V_ERR_CERT_HAS_EXPIRED


def bind(tls: Tls, alpn: Sequence[str]) -> str:
    """Return the words of a bind line that offers these protocols, the preferred one first, none where there is none.

    Versions before 1.2 need ciphers that OpenSSL counts as unsafe by now.
    """
    words = ["ssl", *(f"crt {each}" for each in tls.certificates)]
    words.append(f"ssl-min-ver TLSv{tls.oldest_version} ssl-max-ver TLSv{tls.newest_version}")
    if tls.oldest_version < "1.2":
        words.append("ciphers DEFAULT:@SECLEVEL=0")
    if alpn:
        words.append(f"alpn {','.join(alpn)}")
    if tls.passthrough:  # an authority has to be named; no client is told or judged by it
        words.append(f"ca-verify-file {tls.certificates[0]} verify optional crt-ignore-err all ca-ignore-err all")
    elif tls.trust_store:
        # Names of authorities are told to clients out of ca-file alone.
        names = "ca-file" if tls.advertise_authorities else "ca-verify-file"
        words.append(f"{names} {tls.trust_store} verify required")
        if tls.ignore_expiry:
            words.append(f"crt-ignore-err {_CERTIFICATE_HAS_EXPIRED} ca-ignore-err {_CERTIFICATE_HAS_EXPIRED}")
    return " ".join(words)
