"""A target group in HAProxy's language: its servers, how one is chosen, what is answered where none is registered."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from gwlbemu.core.application.engine import Engine, Pool, Server
from gwlbemu.core.application.settings import GRPC, HTTP1
from gwlbemu.core.elb.application_attributes import (
    LB_COOKIE,
    LEAST_OUTSTANDING,
    ROUND_ROBIN,
    WEIGHTED_RANDOM,
    ApplicationAttributes,
)
from gwlbemu.programs.application import cookies, pages

MOST_ANSWER_HEADERS = 32768  # bytes; ALB guide, Quotas
_ALGORITHMS = {ROUND_ROBIN: "roundrobin", LEAST_OUTSTANDING: "leastconn", WEIGHTED_RANDOM: "random(1)"}


@dataclass(frozen=True, slots=True)
class Backend:
    """What the text says about one target group."""

    engine: Engine
    pool: Pool
    mark: str

    @property
    def name(self) -> str:
        """The name of the backend: the target group's."""
        return self.pool.name

    @property
    def attributes(self) -> ApplicationAttributes:
        """Those of the target group."""
        return ApplicationAttributes.from_text(target_group=self.pool.attributes)

    def lines(self) -> Iterator[str]:
        """Yield the lines of the section, in the order in which HAProxy takes them."""
        if not self.pool.registered:
            if self._serves_http2:
                yield pages.whole(ApplicationAttributes.from_text(self.engine.attributes).idle_seconds)
            yield f"http-request return {pages.answer(503, self.mark)}"
            return
        yield from self._mismatches()
        yield f"balance {_ALGORITHMS[self.attributes.algorithm]}"
        yield f"source {self.engine.addresses[0]}"
        yield "http-request set-var(txn.begun) date(0,ms)"
        yield from self._stickiness()
        large = f"{{ internal.htx.data gt {MOST_ANSWER_HEADERS} }} {{ res.hdrs,length gt {MOST_ANSWER_HEADERS} }}"
        yield f"http-response return {pages.answer(502, self.mark)} if {large}"
        for server in self.pool.servers:
            yield self._server(server)

    @property
    def _serves_http2(self) -> bool:
        return any(each.tls for each in self.engine.listeners)

    def _mismatches(self) -> Iterator[str]:
        """ALB guide, Troubleshoot, HTTP 464. Over HTTP/1.1 nobody speaks gRPC."""
        refused = f"http-request return {pages.answer(464, self.mark)}"
        if self.pool.protocol_version != HTTP1:
            yield f"{refused} if {{ fc_http_major lt 2 }}"
        if self.pool.protocol_version == GRPC:
            yield f"{refused} if !METH_POST"
        if self.pool.protocol_version == HTTP1 and self._serves_http2:
            yield f"{refused} if {{ fc_http_major 2 }} {{ req.hdr(content-type) -m beg application/grpc }}"

    def _stickiness(self) -> Iterator[str]:
        attributes = self.attributes
        if attributes.sticky and attributes.stickiness_type == LB_COOKIE:
            yield from cookies.balancer(self.engine.cookie_secret, attributes.lb_cookie_seconds)
        elif attributes.sticky:
            yield from cookies.application(
                self.engine.cookie_secret, attributes.app_cookie_name, attributes.app_cookie_seconds
            )

    def _server(self, server: Server) -> str:
        words = [f"server {server.name} {server.address}:{server.port} weight {server.weight}"]
        if self.pool.protocol == "HTTPS":
            words.append(f"ssl verify none{'' if self.pool.protocol_version == HTTP1 else ' alpn h2'}")
        elif self.pool.protocol_version != HTTP1:
            words.append("proto h2")
        return " ".join(words if server.takes_requests else [*words, "disabled"])
