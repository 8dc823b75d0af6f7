"""The access log of a listener in HAProxy's language: a datagram with a JSON object per request, for AWS's line.

All values of `FIELDS` are text, "-" where there is none: times are microseconds since 1970,
HAProxy's timers milliseconds, -1 where it did not come to that. `end` is HAProxy's termination state (its manual, 8.5).
"""

from __future__ import annotations

from collections.abc import Iterator

from gwlbemu.programs.application.words import word

LONGEST_LINE = 65535  # bytes of a datagram

_OF_REQUESTS = {  # variables that are set while the request is at hand
    "received": "date(0,us)",
    "asked_url": "url",
    "asked_host": "req.hdr(host)",
    "user_agent": "req.fhdr(user-agent)",
    "upgrade": "req.hdr(upgrade)",
    "content_type": "req.hdr(content-type)",
}
_TEXTS = (*list(_OF_REQUESTS)[1:], "trace", "location", "rewritten", "url")  # to be made JSON's
FIELDS = {
    "listener": "%f",
    "client": "%ci",
    "client_port": "%cp",
    "node": "%fi",
    "node_port": "%fp",
    "target_group": "%b",
    "server": "%s",
    "target": "%si",
    "target_port": "%sp",
    "received": "%[var(txn.received)]",
    "answered": "%[date(0,us)]",
    "waiting": "%TR",
    "queueing": "%Tw",
    "connecting": "%Tc",
    "answering": "%Tr",
    "sending": "%Td",
    "active": "%Ta",
    "status": "%ST",
    "target_status": "%[var(txn.target_status)]",
    "bytes_received": "%U",
    "bytes_sent": "%B",
    "method": "%HM",
    "version": "%HV",
    "rule": "%[var(txn.rule)]",
    "tls_cipher": "%[ssl_fc_cipher]",
    "tls_version": "%[ssl_fc_protocol]",
    "tls_name": "%[ssl_fc_sni,json(utf8s)]",
    "token": "%[var(txn.checked)]",
    "end": "%ts",
} | {name: f"%[var(txn.{name}),json(utf8s)]" for name in _TEXTS}


def log(path: str) -> Iterator[str]:
    """Yield the lines of a listener that logs to the socket at `path`, before all its rules."""
    written = ",".join(f'"{name}":"{value}"' for name, value in FIELDS.items())
    yield f"log {word(f'unix@{path}')} len {LONGEST_LINE} format raw local0"
    yield f"log-format {word('{' + written + '}')}"
    yield from (f"http-request set-var(txn.{name}) {sample}" for name, sample in _OF_REQUESTS.items())
    yield "http-response set-var(txn.target_status) status"


def traced() -> str:
    """Return the line that keeps the trace id, once it is made."""
    return "http-request set-var(txn.trace) req.fhdr(x-amzn-trace-id)"
