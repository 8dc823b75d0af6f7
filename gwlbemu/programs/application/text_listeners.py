"""A listener in HAProxy's language: what it takes, what it refuses, what it adds to a request before it goes on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from gwlbemu.core.application.engine import Engine
from gwlbemu.core.application.requests import DEFAULT_PORTS, MOST_FORWARDED
from gwlbemu.core.application.settings import Listener
from gwlbemu.core.elb.application_attributes import APPEND, REMOVE, RESPONSE_HEADERS, ApplicationAttributes
from gwlbemu.programs.application import cookies, pages, text_log, text_tls
from gwlbemu.programs.application.jwks import Key
from gwlbemu.programs.application.text_rules import Outcomes
from gwlbemu.programs.application.words import plain, substitution, when, word
from gwlbemu.programs.haproxy.tls import bind

# ALB guide, Quotas: bytes of a request's line, of one of its headers, of all of them
MOST_LINE, MOST_HEADER, MOST_HEADERS = 16384, 16384, 65536
_XFF, _TRACE = "x-forwarded-for", "x-amzn-trace-id"
_LONG = rf"(?m)^[^\r\n]{{{MOST_HEADER + 1}}}"
_ROOT = r"(^|;)\s*Root="
_FORWARDED = "{ var(txn.xff) -m found }"
_HAS_HOST = "{ req.hdr(host) -m found }"
_HAS_CAPITALS = "{ req.hdr(host) -m reg [A-Z] }"
_HAS_PORT = f"{{ req.hdr(host) -m reg {word(':[0-9]*$')} }}"


@dataclass(frozen=True, slots=True)
class Options:
    """What all listeners are told besides the engine. `mark` is the header of what the load balancer answers itself."""

    mark: str
    connect_milliseconds: int
    keep_alive_seconds: int  # how long a client's connection may last
    access_log: str
    keys: Mapping[str, Sequence[Key]]


@dataclass(frozen=True, slots=True)
class Frontend:
    """What the text says about one listener."""

    engine: Engine
    listener: Listener
    options: Options

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
        attributes = self.attributes
        outcomes = Outcomes(self.engine, self.listener, attributes, self.options.mark, self.options.keys)
        yield from self._binds()
        if self.options.access_log:
            yield from text_log.log(self.options.access_log)
        yield from self._refusals()
        yield from _expected(attributes.idle_seconds)
        yield from self._host()
        yield from outcomes.requests()
        if outcomes.forwards:
            yield from self._forwarded()
        if outcomes.forwards and self.listener.tls:
            yield from text_tls.headers(self.listener.tls, attributes)
        if outcomes.forwards and self.options.access_log:
            yield text_log.traced()
        yield from outcomes.destinations()
        if groups := outcomes.sticky_groups:
            yield from cookies.group_answers(self.engine.cookie_secret, groups)
        yield from self._answers()

    # ---- what it takes ----
    def _binds(self) -> Iterator[str]:
        alpn = ("h2", "http/1.1") if self.attributes.http2 else ("http/1.1",)
        for address in self.engine.addresses:
            place = f"[{address}]:{self.listener.port} v6only" if ":" in address else f"{address}:{self.listener.port}"
            tls = self.listener.tls
            yield f"bind {place}{f' {bind(tls, alpn)}' if tls else ''}"
        yield "option disable-h2-upgrade"
        yield "tcp-request connection set-var(sess.since) date"
        yield f"tcp-request connection set-var(sess.id) uuid,{substitution('-', '', 'g')},bytes(0,16)"
        if self.attributes.desync_mode == "monitor":
            yield "option accept-invalid-http-request"

    # ---- what it refuses ----
    def _refusals(self) -> Iterator[str]:
        """What is refused whatever the rules say (ALB guide, Troubleshoot your Application Load Balancers)."""
        versions = "1.1 1.0" if self.listener.protocol == "HTTP" else "1.1 2.0 1.0"
        large = f"{{ internal.htx.data gt {MOST_HEADER} }}"
        yield f"acl too-long req.hdrs -m reg {word(_LONG)}"
        yield f"acl too-long req.hdrs,length gt {MOST_HEADERS}"
        yield f"http-request set-var(txn.xff) req.fhdr({_XFF})"
        yield from self._refuse(505, f"!{{ req.ver {versions} }}")
        yield from self._refuse(405, "METH_TRACE")
        yield from self._refuse(400, f"!{_HAS_HOST} !HTTP_1.0")
        yield from self._refuse(463, f"{_FORWARDED} {{ req.hdr_cnt({_XFF}) gt {MOST_FORWARDED} }}")
        yield from self._refuse(414, f"{large} {{ url,length gt {MOST_LINE} }}")
        yield from self._refuse(400, f"{large} too-long")
        if self.attributes.desync_mode == "strictest":
            for header in ("content-length", "transfer-encoding"):
                yield from self._refuse(400, f"METH_GET {{ req.hdr({header}) -m found }}")
        if self.attributes.drop_invalid_headers:
            yield f"http-request del-header {word('[^-A-Za-z0-9]')} -m reg"

    def _refuse(self, code: int, condition: str) -> Iterator[str]:
        yield f"http-request return {pages.answer(code, self.options.mark)} if {condition}"

    # ---- what a target gets ----
    def _host(self) -> Iterator[str]:
        """ALB guide, Edit attributes, Host header preservation; ELB user guide, How Elastic Load Balancing works."""
        yield f"http-request set-header host {self.engine.dns_name}{when('HTTP_1.0', f'!{_HAS_HOST}')}"
        if not self.attributes.preserve_host:
            yield f"http-request set-header host %[req.hdr(host),lower]{when(_HAS_CAPITALS)}"
        if not self.attributes.preserve_host and self.listener.port not in DEFAULT_PORTS:
            yield f'http-request set-header host "%[req.hdr(host)]:{self.listener.port}"{when(f"!{_HAS_PORT}")}'

    def _forwarded(self) -> Iterator[str]:
        """ALB guide, HTTP headers and Application Load Balancers; Request tracing."""
        attributes = self.attributes
        if attributes.xff_mode == APPEND:
            yield from _append(attributes.xff_client_port, any(":" in each for each in self.engine.addresses))
        elif attributes.xff_mode == REMOVE:
            yield f"http-request del-header {_XFF}"
        yield f"http-request set-header x-forwarded-proto {self.listener.protocol.lower()}"
        yield f"http-request set-header x-forwarded-port {self.listener.port}"
        yield from _trace()

    # ---- what a client gets ----
    def _answers(self) -> Iterator[str]:
        """ALB guide, HTTP header modification; Edit attributes, HTTP client keepalive duration."""
        attributes = self.attributes
        for field, (_, name) in RESPONSE_HEADERS.items():
            if value := getattr(attributes, field):
                yield f"http-after-response set-header {name} {plain(value)}"
        if not attributes.server_header:
            yield "http-after-response del-header server"
        over = f"{{ date,sub(sess.since) ge {self.options.keep_alive_seconds} }}"
        yield f"http-after-response set-header connection close{when(over)}"
        yield from pages.afterwards(self.options.mark, self.options.connect_milliseconds)


def _expected(idle_seconds: int) -> Iterator[str]:
    """A client that waits for `100 Continue` gets it, and no target hears of it (ELB user guide)."""
    yield f"http-request wait-for-body time {idle_seconds}s at-least 1 if {{ req.hdr(expect) -m found }}"


def _append(with_port: bool, has_ipv6: bool) -> Iterator[str]:
    """The client's address after those that are there, in one line; one of IPv6 then stands in brackets."""
    joined = [
        substitution(rf"({_XFF}:[^\n]*\n)|[^\n]*\n", "$1", "g"),  # line after line
        substitution(rf"\s*{_XFF}: *", ", ", "g"),
        substitution(r"^, ", ""),
        substitution(r"\s+$", ""),
    ]
    port = ":%[src_port]" if with_port else ""
    for is_six in (True, False) if has_ipv6 else (False,):
        later = f"{'[%[src]]' if is_six else '%[src]'}{port}"
        alone = later if with_port else "%[src]"
        which = f"{'' if is_six else '!'}{{ src -m sub : }}" if has_ipv6 else ""
        yield f"tcp-request connection set-var-fmt(sess.alone) {word(alone)}{when(which)}"
        yield f"tcp-request connection set-var-fmt(sess.later) {word(later)}{when(which)}"
    several = f"{{ req.fhdr_cnt({_XFF}) gt 1 }}"
    yield f"http-request set-var(txn.xff) {word(','.join(('req.hdrs', *joined)))}{when(_FORWARDED, several)}"
    yield f"http-request set-header {_XFF} %[var(sess.alone)]{when(f'!{_FORWARDED}')}"
    yield f'http-request set-header {_XFF} "%[var(txn.xff)], %[var(sess.later)]"{when(_FORWARDED)}'


def _trace() -> Iterator[str]:
    """Root of a request that has none, else Self, which tells this load balancer; what else stands there stays.

    The first 16 digits behind the time are the connection's, the others the request's.
    """
    identity = "1-%[date,hex,bytes(8,8),lower]-%[var(sess.id)]%[rand,hex,bytes(8,8),lower]"
    had = "{ var(txn.rest) -m found }"
    rest = ",".join((f"req.fhdr({_TRACE})", substitution(r"(^|;)\s*Self=[^;]*", ""), substitution("^;", "")))
    yield f"http-request set-var(txn.rest) {word(rest)}"
    yield f'http-request set-header {_TRACE} "Root={identity}"'
    for field, condition in (("Self", ""), ("Root", "!")):
        root = f"{condition}{{ var(txn.rest) -m reg {word(_ROOT)} }}"
        yield f'http-request set-header {_TRACE} "{field}={identity};%[var(txn.rest)]" if {had} {root}'
