"""What a topology file may say about a listener's rules and actions, in the words of the ELBv2 API.

Which of it a type of load balancer has is checked in `check_gateway`, `check_network` and `check_application`.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, model_validator

from gwlbemu.core.elb import rules as core
from gwlbemu.topology.file.document import Path
from gwlbemu.topology.file.fields import Model, Name

_ContentType = Literal["text/plain", "text/css", "text/html", "application/javascript", "application/json"]
_MOST_BODY = 1024  # ELBv2 API, FixedResponseActionMessage


_ActionType = Literal["forward", "redirect", "fixed-response", "jwt-validation"]


def _known_action(value: object) -> object:
    if value in ("authenticate-oidc", "authenticate-cognito"):
        raise ValueError(
            f"{value} is not emulated, there is no identity provider here: expected 'forward', 'redirect', "
            "'fixed-response' or 'jwt-validation'"
        )
    return value


class WeightedTargetGroup(Model):
    """A target group of a forward action, and its share of what the action gets (TargetGroupTuple)."""

    target_group: Name
    weight: int = Field(default=1, ge=0, le=999)


class TargetGroupStickiness(Model):
    """Whether a client stays on one of a forward action's groups (TargetGroupStickinessConfig): known by its source
    address to a network load balancer, by a cookie for `duration_seconds` to an application load balancer.
    """

    enabled: bool = False
    duration_seconds: int | None = Field(default=None, ge=1, le=604800)


class ForwardConfig(Model):
    """The target groups of a forward action."""

    target_groups: tuple[WeightedTargetGroup, ...] = Field(min_length=1)
    target_group_stickiness_config: TargetGroupStickiness = TargetGroupStickiness()


class RedirectConfig(Model):
    """Where a client is sent (RedirectActionConfig); #{protocol}, #{host}, #{port}, #{path}, #{query} stay."""

    status_code: Literal["HTTP_301", "HTTP_302"]
    protocol: str = Field(default="#{protocol}", pattern=r"^(HTTPS?|#\{protocol\})$")
    host: str = Field(default="#{host}", min_length=1, max_length=128)
    port: str = "#{port}"
    path: str = Field(default="/#{path}", min_length=1, max_length=128, pattern="^/")
    query: str = Field(default="#{query}", max_length=128)


class FixedResponseConfig(Model):
    """What the load balancer answers by itself (FixedResponseActionConfig)."""

    status_code: str = Field(pattern=r"^[245]\d\d$")
    content_type: _ContentType | None = None
    message_body: str | None = Field(default=None, max_length=_MOST_BODY)


class AdditionalClaim(Model):
    """A further claim that a token has to have (JwtValidationActionAdditionalClaim)."""

    name: str = Field(min_length=1)
    format: Literal["single-string", "string-array", "space-separated-values"]
    values: tuple[str, ...] = Field(min_length=1, max_length=10)


class JwtValidationConfig(Model):
    """What a token in the Authorization header has to be (JwtValidationActionConfig)."""

    jwks_endpoint: str = Field(min_length=1, max_length=256)
    issuer: str = Field(min_length=1, max_length=256)
    additional_claims: tuple[AdditionalClaim, ...] = Field(default=(), max_length=10)


class Action(Model):
    """Forward to one `target_group`, or to several with weights (`forward_config`); of an application load balancer
    also redirect, answer, or verify a token before one of these.
    """

    type: Annotated[_ActionType, BeforeValidator(_known_action, json_schema_input_type=_ActionType)]
    target_group: Name | None = None
    forward_config: ForwardConfig | None = None
    redirect_config: RedirectConfig | None = None
    fixed_response_config: FixedResponseConfig | None = None
    jwt_validation_config: JwtValidationConfig | None = None

    @model_validator(mode="after")
    def _one_way_to_say_it(self) -> Action:
        if self.type == core.FORWARD:
            wanted: tuple[str, ...] = ("target_group", "forward_config")
        else:
            wanted = (f"{self.type.replace('-', '_')}_config",)
        given = {key for key in type(self).model_fields if key != "type" and getattr(self, key) is not None}
        if len(given) != 1 or not given <= set(wanted):
            raise ValueError(
                f"expected exactly one of the keys {' and '.join(wanted)}"
                if len(wanted) > 1
                else f"an action of type {self.type} has the key {wanted[0]} and no other"
            )
        return self

    def weighted_target_groups(self) -> list[tuple[Path, WeightedTargetGroup]]:
        """Return the target groups with their weights, and where each name stands, from the action on."""
        if self.target_group is not None:
            return [(("target_group",), WeightedTargetGroup(target_group=self.target_group))]
        groups = enumerate(self.forward_config.target_groups if self.forward_config else ())
        return [(("forward_config", "target_groups", number, "target_group"), one) for number, one in groups]


class Values(Model):
    """What a condition compares with: one of `values` (wildcards * and ?), or of `regex_values`."""

    values: tuple[str, ...] = ()
    regex_values: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _something(self) -> Values:
        if bool(self.values) == bool(self.regex_values):
            raise ValueError("expected exactly one of the keys values and regex_values")
        return self


class HttpHeaderConfig(Values):
    """A header of the request (HttpHeaderConditionConfig)."""

    http_header_name: str = Field(min_length=1, max_length=40)


class MethodConfig(Model):
    """The request's method, without wildcards (HttpRequestMethodConditionConfig)."""

    values: tuple[str, ...] = Field(min_length=1)


class QueryValue(Model):
    """A parameter of the query (QueryStringKeyValuePair); without `key` that of any name."""

    key: str | None = None
    value: str


class QueryStringConfig(Model):
    """Parameters of the query (QueryStringConditionConfig)."""

    values: tuple[QueryValue, ...] = Field(min_length=1)


class SourceIpConfig(Model):
    """What is asked of the source address (SourceIpConditionConfig): networks, of a network load balancer's rule its
    IP version.
    """

    values: tuple[str, ...] | None = Field(default=None, min_length=1)
    ip_address_type: Literal["ipv4", "ipv6"] | None = None

    @model_validator(mode="after")
    def _something(self) -> SourceIpConfig:
        if (self.values is None) == (self.ip_address_type is None):
            raise ValueError("expected exactly one of the keys values and ip_address_type")
        return self


class Condition(Model):
    """What a request has to match (RuleCondition): one of `values` in its `field`, or what the field's own key says.

    Of a network load balancer's listener only `{field: source-ip, source_ip_config: {ip_address_type: ipv6}}`.
    """

    field: Literal["http-header", "http-request-method", "host-header", "path-pattern", "query-string", "source-ip"]
    values: tuple[str, ...] | None = Field(default=None, min_length=1)
    regex_values: tuple[str, ...] | None = Field(default=None, min_length=1)
    host_header_config: Values | None = None
    path_pattern_config: Values | None = None
    http_header_config: HttpHeaderConfig | None = None
    http_request_method_config: MethodConfig | None = None
    query_string_config: QueryStringConfig | None = None
    source_ip_config: SourceIpConfig | None = None

    @model_validator(mode="after")
    def _one_way_to_say_it(self) -> Condition:
        own = f"{self.field.replace('-', '_')}_config"
        given = {key for key in type(self).model_fields if key != "field" and getattr(self, key) is not None}
        short = {"values", "regex_values"} if self.field in ("host-header", "path-pattern") else {"values"}
        allowed = {own} if self.field in ("http-header", "query-string") else {own, *short}
        if len(given) != 1 or not given <= allowed:
            keys = ", ".join(sorted(allowed))
            raise ValueError(f"a condition with field {self.field} has exactly one of the keys {keys}")
        return self


class Rewrite(Model):
    """The first match of `regex` becomes `replace`, in which $1 to $9 are the expression's groups (RewriteConfig)."""

    regex: str = Field(min_length=1, max_length=1024)
    replace: str = Field(max_length=1024)


class RewriteConfig(Model):
    """The rewrites of a transform: one (HostHeaderRewriteConfig, UrlRewriteConfig)."""

    rewrites: tuple[Rewrite, ...] = Field(min_length=1, max_length=1)


class Transform(Model):
    """A rewrite of the host header or the URL of what is forwarded (RuleTransform)."""

    type: Literal["host-header-rewrite", "url-rewrite"]
    host_header_rewrite_config: RewriteConfig | None = None
    url_rewrite_config: RewriteConfig | None = None

    @model_validator(mode="after")
    def _its_own_key(self) -> Transform:
        wanted = f"{self.type.replace('-', '_')}_config"
        given = {key for key in type(self).model_fields if key != "type" and getattr(self, key) is not None}
        if given != {wanted}:
            raise ValueError(f"a transform of type {self.type} has the key {wanted} and no other")
        return self

    @property
    def rewrite(self) -> Rewrite:
        """Its rewrite."""
        config = self.host_header_rewrite_config or self.url_rewrite_config
        assert config is not None
        return config.rewrites[0]


class Rule(Model):
    """Actions for what meets every condition; the lowest priority is asked first."""

    priority: int = Field(ge=1, le=50000)
    conditions: tuple[Condition, ...] = Field(min_length=1)
    actions: tuple[Action, ...] = Field(min_length=1)
    transforms: tuple[Transform, ...] = ()
