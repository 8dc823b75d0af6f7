"""A listener in HAProxy's language: what it takes, what it refuses, what it adds to a request before it goes on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from gwlbemu.core.application.engine import Engine
from gwlbemu.core.application.settings import Listener
from gwlbemu.core.elb.application_attributes import APPEND, REMOVE, ApplicationAttributes
from gwlbemu.programs.application import pages
from gwlbemu.programs.application.jwks import Key
from gwlbemu.programs.application.words import substitution, word

MOST_FORWARDED = 30  # ALB guide, Troubleshoot: HTTP 463
# ALB guide, Quotas: bytes of a request's line, of one of its headers, of all of them
MOST_LINE, MOST_HEADER, MOST_HEADERS = 16384, 16384, 65536
_XFF, _TRACE = "x-forwarded-for", "x-amzn-trace-id"
_LONG = rf"(?m)^[^\r\n]{{{MOST_HEADER + 1}}}"
_ROOT = r"(^|;)\s*Root="
_PORTS = {"HTTP": 80, "HTTPS": 443}


@dataclass(frozen=True, slots=True)
class Frontend:
    """What the text says about one listener. `mark` is the header that tells the load balancer's own answers."""

    engine: Engine
    listener: Listener
    mark: str
    connect_milliseconds: int
    access_log: str
    keys: Mapping[str, Sequence[Key]]

    @property
    def name(self) -> str:
        """The name of the frontend: the listener's."""
        return self.listener.name

    @property
    def attributes(self) -> ApplicationAttributes:
        """Those of the load balancer and of the listener."""
        return ApplicationAttributes.from_text(load_balancer=self.engine.attributes, listener=self.listener.attributes)

    def lines(self) -> Iterator[str]:
        """Yield the lines of the section, in the order in which HAProxy takes them."""
        yield from self._binds()
        yield from self._refusals()
        yield from self._outcomes()
        yield from self._forwarded()
        yield from self._answers()

    # ---- what it takes ----
    def _binds(self) -> Iterator[str]:
        for address in self.engine.addresses:
            place = f"[{address}]:{self.listener.port} v6only" if ":" in address else f"{address}:{self.listener.port}"
            yield f"bind {place}"
        if self.listener.protocol == "HTTP":
            yield "option disable-h2-upgrade"

    # ---- what it refuses ----
    def _refusals(self) -> Iterator[str]:
        """What is refused whatever the rules say (ALB guide, Troubleshoot your Application Load Balancers)."""
        versions = "1.1 1.0" if self.listener.protocol == "HTTP" else "1.1 2.0 1.0"
        large = f"{{ internal.htx.data gt {MOST_HEADER} }}"
        yield from self._refuse(505, f"!{{ req.ver {versions} }}")
        yield from self._refuse(405, "METH_TRACE")
        yield from self._refuse(400, "HTTP_1.1 !{ req.hdr(host) -m found }")
        yield from self._refuse(463, f"{{ req.hdr_cnt({_XFF}) gt {MOST_FORWARDED} }}")
        yield from self._refuse(414, f"{large} {{ url,length gt {MOST_LINE} }}")
        yield from self._refuse(400, f"{large} {{ req.hdrs -m reg {word(_LONG)} }}")
        yield from self._refuse(400, f"{large} {{ req.hdrs,length gt {MOST_HEADERS} }}")

    def _refuse(self, code: int, condition: str) -> Iterator[str]:
        yield f"http-request return {pages.answer(code, self.mark)} if {condition}"

    # ---- what its rules say ----
    def _outcomes(self) -> Iterator[str]:
        for action in self.listener.default_actions:
            for group in action.target_groups:
                yield f"default_backend {group.target_group}"

    # ---- what a target gets ----
    def _forwarded(self) -> Iterator[str]:
        """ALB guide, HTTP headers and Application Load Balancers; Request tracing."""
        attributes = self.attributes
        if attributes.xff_mode == APPEND:
            yield from _append(attributes.xff_client_port)
        elif attributes.xff_mode == REMOVE:
            yield f"http-request del-header {_XFF}"
        yield f"http-request set-header x-forwarded-proto {self.listener.protocol.lower()}"
        yield f"http-request set-header x-forwarded-port {self.listener.port}"
        yield from _trace()
        yield "http-request set-var(txn.begun) date(0,ms)"

    # ---- what a client gets ----
    def _answers(self) -> Iterator[str]:
        yield from pages.afterwards(self.mark, self.connect_milliseconds)


def _append(with_port: bool) -> Iterator[str]:
    """The client's address after those that are there, in one line; one of IPv6 then stands in brackets."""
    several, some, six = f"{{ req.fhdr_cnt({_XFF}) gt 1 }}", f"{{ req.fhdr({_XFF}) -m found }}", "{ src -m sub : }"
    joined = [
        substitution(rf"({_XFF}:[^\n]*\n)|[^\n]*\n", "$1", "g"),  # line after line
        substitution(rf"\s*{_XFF}: *", ", ", "g"),
        substitution(r"^, ", ""),
        substitution(r"\s+$", ""),
    ]
    yield f"http-request set-var(txn.xff) req.fhdr({_XFF}) if {some}"
    yield f"http-request set-var(txn.xff) {word(','.join(('req.hdrs', *joined)))} if {several}"
    for condition, before in ((some, "%[var(txn.xff)], "), (f"!{some}", "")):
        for is_six in (True, False) if with_port or before else (None,):
            address = "[%[src]]" if is_six else "%[src]"
            port = ":%[src_port]" if with_port else ""
            which = "" if is_six is None else f" {six}" if is_six else f" !{six}"
            yield f"http-request set-var-fmt(txn.for) {word(before + address + port)} if {condition}{which}"
    yield f"http-request set-header {_XFF} %[var(txn.for)]"


def _trace() -> Iterator[str]:
    """Root of a request that has none, else Self, which tells this load balancer; what else stands there stays."""
    identity = "1-%[date,hex,bytes(8,8),lower]-%[uuid,bytes(24,12)]%[uuid,bytes(24,12)]"
    had, has = "{ var(txn.rest) -m found }", f"{{ req.hdr({_TRACE}) -m found }}"
    rest = ",".join((f"req.fhdr({_TRACE})", substitution(r"(^|;)\s*Self=[^;]*", ""), substitution("^;", "")))
    yield f"http-request set-var(txn.rest) {word(rest)} if {has}"
    yield f'http-request set-header {_TRACE} "Root={identity}" if !{has}'
    for field, condition in (("Self", ""), ("Root", "!")):
        root = f"{condition}{{ var(txn.rest) -m reg {word(_ROOT)} }}"
        yield f'http-request set-header {_TRACE} "{field}={identity};%[var(txn.rest)]" if {had} {root}'
