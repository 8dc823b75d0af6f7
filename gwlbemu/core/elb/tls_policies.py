"""The security policies of TLS listeners: which versions of TLS each lets a client speak.

Names and versions: NLB guide, Security policies. Which ciphers a policy has is not kept apart here: those of the engine
for its versions are taken, so that policies which differ in nothing else (FS, Res, Ext, FIPS, PQ) are alike.
"""

from __future__ import annotations

from typing import NamedTuple


class Versions(NamedTuple):
    """The oldest and the newest version of TLS: 1.0, 1.1, 1.2 or 1.3."""

    oldest: str
    newest: str


DEFAULT = "ELBSecurityPolicy-2016-08"  # of every way to make a listener but AWS's console


def _named(versions: Versions, *names: str) -> dict[str, Versions]:
    return {f"ELBSecurityPolicy-{name}": versions for name in names}


_SINCE_2 = ("", "Res-", "Ext1-", "Ext2-")
POLICIES: dict[str, Versions] = {
    **_named(Versions("1.0", "1.2"), "2016-08", "TLS-1-0-2015-04", "FS-2018-06"),
    **_named(Versions("1.1", "1.2"), "TLS-1-1-2017-01", "FS-1-1-2019-08"),
    **_named(Versions("1.2", "1.2"), "TLS-1-2-2017-01", "TLS-1-2-Ext-2018-06"),
    **_named(Versions("1.2", "1.2"), "FS-1-2-2019-08", "FS-1-2-Res-2019-08", "FS-1-2-Res-2020-10"),
    **_named(Versions("1.0", "1.3"), "TLS13-1-0-2021-06", "TLS13-1-0-FIPS-2023-04"),
    **_named(Versions("1.0", "1.3"), "TLS13-1-0-PQ-2025-09", "TLS13-1-0-FIPS-PQ-2025-09"),
    **_named(Versions("1.1", "1.3"), "TLS13-1-1-2021-06", "TLS13-1-1-FIPS-2023-04"),
    **_named(Versions("1.2", "1.3"), *(f"TLS13-1-2-{kind}2021-06" for kind in _SINCE_2)),
    **_named(Versions("1.2", "1.3"), *(f"TLS13-1-2-{kind}FIPS-2023-04" for kind in (*_SINCE_2, "Ext0-"))),
    **_named(Versions("1.2", "1.3"), *(f"TLS13-1-2-{kind}PQ-2025-09" for kind in _SINCE_2)),
    **_named(Versions("1.2", "1.3"), *(f"TLS13-1-2-{kind}FIPS-PQ-2025-09" for kind in (*_SINCE_2, "Ext0-"))),
    **_named(Versions("1.3", "1.3"), "TLS13-1-3-2021-06", "TLS13-1-3-FIPS-2023-04"),
    **_named(Versions("1.3", "1.3"), "TLS13-1-3-PQ-2025-09", "TLS13-1-3-FIPS-PQ-2025-09"),
}
# NLB guide, ALPN policies: what is offered to clients, the preferred protocol first.
ALPN_POLICIES: dict[str, tuple[str, ...]] = {
    "None": (),
    "HTTP1Only": ("http/1.1", "http/1.0"),
    "HTTP2Only": ("h2",),
    "HTTP2Optional": ("http/1.1", "http/1.0", "h2"),
    "HTTP2Preferred": ("h2", "http/1.1", "http/1.0"),
}
