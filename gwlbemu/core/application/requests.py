"""What becomes of a request at a listener: the oracle of a node's engine.

Documented (ALB guide, Listener rules, Condition types, Action types, Transforms; ELBv2 API, RuleCondition): rules are
asked by ascending priority, the default actions last; all conditions of a rule have to be met, each by one of its
values; host names and values of headers and queries are compared without regard to case, paths and methods with it; a
header that stands there several times is searched in order; the path is compared without the query; a transform whose
expression does not match changes nothing; placeholders of redirects.

Choices of ours: a port in the Host header is no part of the host name, and stays behind a rewritten one; see `patterns`
for regular expressions and queries; a forward whose weights are all 0 is answered 503; what is refused whatever a rule
says (TRACE, more than 30 addresses in X-Forwarded-For) is refused before rules are asked.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable
from dataclasses import dataclass, replace

from gwlbemu.core.application.engine import Engine, Pool
from gwlbemu.core.application.patterns import query_pattern, rewritten, wildcards
from gwlbemu.core.application.settings import GRPC, HTTP1, HTTP2, Listener
from gwlbemu.core.elb.application_attributes import ApplicationAttributes
from gwlbemu.core.elb.rules import (
    FIXED_RESPONSE,
    FORWARD,
    HOST_HEADER_REWRITE,
    JWT_VALIDATION,
    REDIRECT,
    URL_REWRITE,
    Action,
    Condition,
    JwtValidation,
    Redirect,
    Rule,
    Transform,
    WeightedTargetGroup,
)

REFUSED = "refused"  # the action of a request that no rule is asked about
MOST_FORWARDED = 30  # addresses in X-Forwarded-For (ALB guide, Troubleshoot, HTTP 463)
DEFAULT_PORTS = (80, 443)


@dataclass(frozen=True, slots=True)
class Request:
    """A request as a client sends it: `target` is path and query, `headers` have their names as they were written."""

    method: str = "GET"
    target: str = "/"
    headers: tuple[tuple[str, str], ...] = ()
    source: str = "192.0.2.1"
    version: str = "1.1"  # of HTTP: 1.0, 1.1 or 2

    @property
    def path(self) -> str:
        """The target without its query."""
        return self.target.partition("?")[0]

    @property
    def query(self) -> str:
        """What stands behind the first question mark."""
        return self.target.partition("?")[2]

    def values(self, header: str) -> list[str]:
        """Return the values of a header, one for each time that it stands there."""
        return [value for name, value in self.headers if name.lower() == header.lower()]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What is done with a request, by a `rule` or, with None, by the listener's default actions.

    `status` is the load balancer's own answer, 0 of a request that goes to one of `groups`, all of which have a weight;
    the target is told `host` and `url`. `token` is what the bearer token of the request has to be; if it is not, the
    answer is 401 instead.
    """

    action: str  # FORWARD | REDIRECT | FIXED_RESPONSE | JWT_VALIDATION | REFUSED
    rule: Rule | None = None
    status: int = 0
    groups: tuple[WeightedTargetGroup, ...] = ()
    host: str = ""
    url: str = ""
    location: str = ""  # of a redirect
    content_type: str = ""  # of a fixed response
    body: str = ""
    token: JwtValidation | None = None


def outcome(engine: Engine, listener: Listener, request: Request) -> Outcome:
    """Return what a node does with a request to one of its listeners."""
    if request.method == "TRACE":
        return Outcome(REFUSED, status=405)
    if sum(value.count(",") + 1 for value in request.values("X-Forwarded-For")) > MOST_FORWARDED:
        return Outcome(REFUSED, status=463)
    name, port = _host(engine, request)
    rule = next((each for each in listener.rules if matches(each.conditions, name, request)), None)
    made = Outcome(FORWARD, rule)
    for action in listener.default_actions if rule is None else rule.actions:
        if action.jwt_validation is not None:
            made = replace(made, token=action.jwt_validation)
            if not any(re.match(r"bearer +\S", each, re.IGNORECASE) for each in request.values("Authorization")):
                return replace(made, action=JWT_VALIDATION, status=401)
        else:
            made = _done(made, action, listener, request, name)
    if made.action != FORWARD:
        return made
    host = _forwarded_host(engine, listener, made.rule, name, port, request)
    return replace(made, host=host, url=_url(made.rule, request))


def matches(conditions: Iterable[Condition], host: str, request: Request) -> bool:
    """Return whether a request to the host name `host` (lower case, no port) meets every condition."""
    return all(_meets(each, host, request) for each in conditions)


def is_spoken(pool: Pool, request: Request) -> bool:
    """Return whether a target group of this protocol version takes the request, which is answered 464 if not.

    Source: ALB guide, Troubleshoot, HTTP 464.
    """
    is_grpc = any(each.startswith("application/grpc") for each in request.values("Content-Type"))
    if pool.protocol_version == GRPC:
        return request.version == "2" and request.method == "POST"
    if pool.protocol_version == HTTP2:
        return request.version == "2"
    assert pool.protocol_version == HTTP1
    return not (is_grpc and request.version == "2")


def _done(made: Outcome, action: Action, listener: Listener, request: Request, host: str) -> Outcome:
    if action.redirect is not None:
        location = _location(action.redirect, listener, request, host)
        return replace(made, action=REDIRECT, status=action.redirect.status, location=location)
    if action.fixed_response is not None:
        fixed = action.fixed_response
        return replace(
            made, action=FIXED_RESPONSE, status=fixed.status, content_type=fixed.content_type, body=fixed.body
        )
    groups = tuple(each for each in action.target_groups if each.weight)
    return replace(made, action=FORWARD, groups=groups, status=0 if groups else 503)


# ---- conditions ----
def _meets(condition: Condition, host: str, request: Request) -> bool:
    field = condition.field
    if field == "source-ip":
        address = ipaddress.ip_address(request.source)
        return any(address in ipaddress.ip_network(each, strict=False) for each in condition.values)
    if field == "http-request-method":
        return request.method in condition.values
    if field == "query-string":
        patterns = (query_pattern(key, value) for key, value in condition.query)
        return any(re.search(each, request.query, re.IGNORECASE) for each in patterns)
    texts = {"host-header": [host], "path-pattern": [request.path]}.get(field)
    if texts is None:
        texts = request.values(condition.header)
    case = re.NOFLAG if field == "path-pattern" else re.IGNORECASE
    return any(
        any(re.fullmatch(wildcards(each), text, case | re.DOTALL) for each in condition.values)
        or any(re.search(each, text) for each in condition.regex_values)
        for text in texts
    )


# ---- what a target or a client is told ----
def _host(engine: Engine, request: Request) -> tuple[str, str]:
    """Return the host name of a request in lower case, and its port with the colon, if there is one."""
    given = (request.values("Host") or [engine.dns_name])[0].lower()
    found = re.fullmatch(r"(.*?)(:[0-9]*)?", given, re.DOTALL)
    assert found is not None
    if found[2] and ":" in found[1] and not found[1].endswith("]"):
        return given, ""  # an IPv6 address without brackets
    return found[1], found[2] or ""


def _forwarded_host(
    engine: Engine, listener: Listener, rule: Rule | None, name: str, port: str, request: Request
) -> str:
    """ALB guide, Edit attributes, Host header preservation; ELB user guide, How Elastic Load Balancing works."""
    attributes = ApplicationAttributes.from_text(load_balancer=engine.attributes)
    rewrite = _transform(rule, HOST_HEADER_REWRITE)
    if rewrite is not None and (changed := rewritten(rewrite.regex, rewrite.replace, name)) != name:
        name = changed
    elif attributes.preserve_host and (given := request.values("Host")):
        return given[0]
    if not attributes.preserve_host and not port and listener.port not in DEFAULT_PORTS:
        port = f":{listener.port}"
    return name + port


def _url(rule: Rule | None, request: Request) -> str:
    rewrite = _transform(rule, URL_REWRITE)
    return request.target if rewrite is None else rewritten(rewrite.regex, rewrite.replace, request.target)


def _transform(rule: Rule | None, kind: str) -> Transform | None:
    return next((each for each in (rule.transforms if rule else ()) if each.type == kind), None)


def _location(redirect: Redirect, listener: Listener, request: Request, host: str) -> str:
    """Return the whole URL, as AWS writes it: always with its port."""
    parts = {
        "protocol": listener.protocol.lower(),
        "host": host,
        "port": str(listener.port),
        "path": request.path.removeprefix("/"),
        "query": request.query,
    }

    def filled(template: str) -> str:
        return re.sub(r"#\{(protocol|host|port|path|query)\}", lambda found: parts[found[1]], template)

    query = filled(redirect.query)
    protocol, name, port = filled(redirect.protocol).lower(), filled(redirect.host), filled(redirect.port)
    return f"{protocol}://{name}:{port}{filled(redirect.path)}{'?' if query else ''}{query}"
