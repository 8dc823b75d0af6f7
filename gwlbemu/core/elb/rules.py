"""What a listener does with a packet or a request: actions, conditions, rules.

Names and meaning are those of the ELBv2 API (botocore, service model elbv2 2015-12-01: CreateListener, CreateRule). A
gateway load balancer has default actions alone, a network load balancer also conditions on the IP version; everything
else is an application load balancer's.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

FORWARD, REDIRECT, FIXED_RESPONSE, JWT_VALIDATION = "forward", "redirect", "fixed-response", "jwt-validation"
HOST_HEADER_REWRITE, URL_REWRITE = "host-header-rewrite", "url-rewrite"


@dataclass(frozen=True, slots=True)
class WeightedTargetGroup:
    """One target group of a forward action (TargetGroupTuple) and its share of what the action gets."""

    target_group: str  # name
    weight: int = 1  # 0 to 999, relative to those of the action's other groups


@dataclass(frozen=True, slots=True)
class Redirect:
    """Where a client is sent (RedirectActionConfig). Placeholders: #{protocol}, #{host}, #{port}, #{path}, #{query}."""

    status: int  # 301 | 302
    protocol: str = "#{protocol}"  # HTTP | HTTPS
    host: str = "#{host}"
    port: str = "#{port}"
    path: str = "/#{path}"
    query: str = "#{query}"


@dataclass(frozen=True, slots=True)
class FixedResponse:
    """What the load balancer answers by itself (FixedResponseActionConfig)."""

    status: int  # 2XX, 4XX or 5XX
    content_type: str = ""  # text/plain | text/css | text/html | application/javascript | application/json
    body: str = ""  # at most 1024 characters


@dataclass(frozen=True, slots=True)
class Claim:
    """A further claim of a token that is verified (JwtValidationActionAdditionalClaim)."""

    name: str
    format: str  # single-string | string-array | space-separated-values
    values: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class JwtValidation:
    """What a token in the Authorization header has to be (JwtValidationActionConfig): signed with RS256 by a key of the
    JWKS at `jwks_endpoint`, by `issuer`, not expired, with all `claims`.
    """

    jwks_endpoint: str
    issuer: str
    claims: tuple[Claim, ...] = ()


@dataclass(frozen=True, slots=True)
class Action:
    """What a rule, or a listener where no rule matches, does."""

    type: str  # FORWARD | REDIRECT | FIXED_RESPONSE | JWT_VALIDATION, which stands before one of the others
    target_groups: tuple[WeightedTargetGroup, ...] = ()  # of a forward action
    sticky: bool = False  # a client stays on one of the groups (TargetGroupStickinessConfig)
    sticky_seconds: int = 0  # for so long, of an application load balancer
    redirect: Redirect | None = None
    fixed_response: FixedResponse | None = None
    jwt_validation: JwtValidation | None = None


@dataclass(frozen=True, slots=True)
class Condition:
    """What a request has to match (RuleCondition): one of `values` or `regex_values` in its `field`, or the IP version
    of its source.

    `values` have wildcards * and ? but for http-request-method and source-ip (CIDRs). Of a query-string they are in
    `query`: key ("" for any) and value.
    """

    field: str  # http-header | http-request-method | host-header | path-pattern | query-string | source-ip
    values: tuple[str, ...] = ()
    ip_address_type: str = ""  # ipv4 | ipv6, of a network load balancer's rule (SourceIpConditionConfig)
    header: str = ""  # HttpHeaderName
    query: tuple[tuple[str, str], ...] = ()
    regex_values: tuple[str, ...] = ()  # of http-header, host-header, path-pattern


@dataclass(frozen=True, slots=True)
class Transform:
    """A rewrite of what is forwarded (RuleTransform): the first match of `regex` in the host header or the URL (path
    and query) becomes `replace`, in which $1 to $9 are the expression's groups.
    """

    type: str  # HOST_HEADER_REWRITE | URL_REWRITE
    regex: str
    replace: str


@dataclass(frozen=True, slots=True)
class Rule:
    """Actions for what meets every condition; the lowest priority is asked first."""

    priority: int  # 1 to 50000, each once per listener
    conditions: tuple[Condition, ...]
    actions: tuple[Action, ...]
    transforms: tuple[Transform, ...] = ()


def sticky_refusal(groups: int, sticky: bool, name: str, attributes: Mapping[str, str]) -> str:
    """Return why AWS refuses the stickiness of target group `name` in a forward action of so many groups, "" where it
    does not; `sticky` says whether the action's own is on. `attributes` are the group's, by AWS key.

    Source: ALB guide, Sticky sessions; what AWS answers in public issues (InvalidConfigurationRequest).
    """
    if groups < 2 or attributes.get("stickiness.enabled") != "true":
        return ""
    if attributes.get("stickiness.type") == "app_cookie":
        return f"target group {name} has stickiness.type app_cookie, which weighted target groups do not support"
    if not sticky:
        return (
            f"target group {name} is behind a rule with group stickiness disabled: enable "
            "target_group_stickiness_config before stickiness.enabled"
        )
    return ""
