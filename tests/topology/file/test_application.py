"""Application load balancers in a topology file: what is taken, and what AWS refuses, by key."""

from __future__ import annotations

from typing import Any

import pytest

from gwlbemu.core.elb.rules import Claim, Condition, FixedResponse, JwtValidation, Redirect, Transform
from gwlbemu.topology.file.schema import json_schema
from gwlbemu.topology.plan.values import Plan
from tests.topology.builder import Data, plan_of
from tests.topology.file.test_network import complaints, forward, told

LB, LISTENER, GROUP = "load_balancers[1]", "load_balancers[1].listeners[0]", "target_groups[1]"
RULE, ACTION = f"{LISTENER}.rules[0]", f"{LISTENER}.default_actions[0]"


def group(name: str = "webs", **more: Any) -> dict[str, Any]:
    return {"name": name, "vpc": "app", "protocol": "HTTP", "port": 80, "targets": ["web"]} | more


def listener(protocol: str = "HTTP", port: int = 80, **more: Any) -> dict[str, Any]:
    return {"protocol": protocol, "port": port, "default_actions": [forward("webs")]} | more


def application(*groups: dict[str, Any], **more: Any) -> Any:
    """The base topology and an application load balancer `front` of its VPC app, with one listener and one group."""

    def change(data: Data) -> None:
        vpc = data["vpcs"][0]
        vpc["ipv6_cidr"] = "2001:db8::/56"
        vpc["subnets"][0]["ipv6_cidr"] = "2001:db8::/64"
        front = {"name": "front", "type": "application", "subnets": ["app-a", "app-b"], "listeners": [listener()]}
        data["load_balancers"].append({key: value for key, value in (front | more).items() if value is not None})
        data["target_groups"] += groups or (group(),)

    return change


def with_actions(*actions: dict[str, Any], protocol: str = "HTTP", groups: tuple[dict[str, Any], ...] = ()) -> Any:
    return application(*groups, listeners=[listener(protocol, default_actions=list(actions))])


def with_rule(**more: Any) -> Any:
    rule = {"priority": 1, "conditions": [{"field": "path-pattern", "values": ["/x"]}], "actions": [forward("webs")]}
    return application(listeners=[listener(rules=[rule | more])])


def condition(field: str, *values: str, **more: Any) -> Any:
    return with_rule(conditions=[{"field": field, "values": list(values)} | more])


def redirect(**config: Any) -> dict[str, Any]:
    return {"type": "redirect", "redirect_config": {"status_code": "HTTP_301"} | config}


def rewrite(kind: str, regex: str, replace: str) -> dict[str, Any]:
    return {"type": kind, f"{kind.replace('-', '_')}_config": {"rewrites": [{"regex": regex, "replace": replace}]}}


JWT: dict[str, Any] = {
    "type": "jwt-validation",
    "jwt_validation_config": {"jwks_endpoint": "https://idp.example/keys", "issuer": "https://idp.example"},
}
FIXED = {"type": "fixed-response", "fixed_response_config": {"status_code": "404"}}
WEIGHTED = forward(webs=1, other=3)
STICKY = {"enabled": True, "duration_seconds": 60}


def sticky(action: dict[str, Any], **config: Any) -> dict[str, Any]:
    return {
        "type": "forward",
        "forward_config": action["forward_config"] | {"target_group_stickiness_config": config},
    }


def cases(found: list[tuple[str, Any, str, str]]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize(("change", "key", "words"), [each[1:] for each in found], ids=[e[0] for e in found])


BALANCERS = [
    ("one zone", application(subnets=["app-a"]), f"{LB}.subnets", "two different Availability Zones"),
    ("an address of choice", application(subnets=[{"subnet": "app-a", "address": "10.0.1.9"}, "app-b"]),
     f"{LB}.subnets[0].address", "AWS's to assign"),
    ("an IPv6 address of choice", application(
        ip_address_type="dualstack", subnets=[{"subnet": "app-a", "ipv6_address": "2001:db8::9"}, "app-b"]),
     f"{LB}.subnets[0].ipv6_address", "AWS's to assign"),
    ("a public address of choice", application(subnets=[{"subnet": "app-a", "public_address": "203.0.113.9"}, "app-b"]),
     f"{LB}.subnets[0].public_address", "AWS's to assign"),
    ("a small subnet", application(subnets=["ep-a", "app-b"]), f"{LB}.subnets[0].subnet", "expected at least a /27"),
    ("dualstack without IPv6", application(ip_address_type="dualstack"), f"{LB}.subnets[1].subnet", "has no ipv6_cidr"),
    ("no such security group", application(security_groups=["x"]), f"{LB}.security_groups[0]",
     "(InvalidSecurityGroup)"),
    ("the short listener", application(listeners=None, listener={"target_group": "webs"}), f"{LB}.listener",
     "expected the key listeners instead"),
    ("51 listeners", application(listeners=[listener(port=number) for number in range(1, 52)]),
     f"{LB}.listeners", "(TooManyListeners)"),
    ("a port twice", application(listeners=[listener(), listener("HTTPS")]),
     f"{LB}.listeners[1].port", "(DuplicateListener)"),
    ("no protocol", application(listeners=[{"port": 80, "default_actions": [forward("webs")]}]),
     f"{LISTENER}.protocol", "this key is missing"),
    ("a network load balancer's protocol", application(listeners=[listener("TCP")]),
     f"{LISTENER}.protocol", "TCP is for Network Load Balancers: expected HTTP or HTTPS (UnsupportedProtocol)"),
    ("a network load balancer's group", application(group(protocol="TCP")), f"{ACTION}.target_group",
     "expected HTTP or HTTPS (IncompatibleProtocols)"),
    ("cross-zone off", application(attributes={"load_balancing.cross_zone.enabled": False}),
     f"{LB}.attributes['load_balancing.cross_zone.enabled']", "expected true"),
    ("an absent attribute", application(attributes={"waf.fail_open.enabled": True}),
     f"{LB}.attributes['waf.fail_open.enabled']", "there is no web application firewall here"),
]  # fmt: skip
TLS = [
    ("a certificate of an HTTP listener", application(listeners=[listener(certificates=["lab"])]),
     f"{LISTENER}.certificates", "this key is for HTTPS listeners"),
    ("an ALPN policy", application(listeners=[listener("HTTPS", alpn_policy="HTTP2Only")]),
     f"{LISTENER}.alpn_policy", "routing.http2.enabled"),
    ("no such policy", application(listeners=[listener("HTTPS", ssl_policy="x")]),
     f"{LISTENER}.ssl_policy", "(SSLPolicyNotFound)"),
    ("verify without a store", application(listeners=[listener("HTTPS", mutual_authentication={"mode": "verify"})]),
     f"{LISTENER}.mutual_authentication.trust_store", "mode verify needs it"),
    ("passthrough with a store", application(listeners=[listener("HTTPS", mutual_authentication={
        "mode": "passthrough", "trust_store": "x.pem"})]),
     f"{LISTENER}.mutual_authentication.trust_store", "judges no certificate"),
]  # fmt: skip
RULES = [
    ("a priority twice", application(listeners=[listener(rules=[
        {"priority": 1, "conditions": [{"field": "path-pattern", "values": [f"/{n}"]}], "actions": [forward("webs")]}
        for n in range(2)])]),
     f"{LISTENER}.rules[1].priority", "(PriorityInUse)"),
    ("101 rules", application(listeners=[listener(rules=[
        {"priority": n, "conditions": [{"field": "path-pattern", "values": [f"/{n}"]}], "actions": [forward("webs")]}
        for n in range(1, 102)])]),
     f"{LB}.listeners", "101 rules: expected at most 100 (TooManyRules)"),
    ("six values", condition("path-pattern", *"abcdef"), f"{RULE}.conditions",
     "6 condition values: expected at most 5"),
    ("seven wildcards", condition("path-pattern", "/*?*?*?*"), f"{RULE}.conditions", "7 wildcards: expected at most 6"),
    ("two paths", with_rule(conditions=[{"field": "path-pattern", "values": ["/a"]}] * 2), f"{RULE}.conditions[1]",
     "at most one condition with field path-pattern"),
    ("a path of 129", condition("path-pattern", "/" + 128 * "a"), f"{RULE}.conditions[0].values[0]", "at most 128"),
    ("a path with a blank", condition("path-pattern", "/a b"), f"{RULE}.conditions[0].values[0]", "no path pattern"),
    ("a host with a port", condition("host-header", "a.example:80"), f"{RULE}.conditions[0].values[0]",
     "expected letters"),
    ("a host without a dot", condition("host-header", "example"), f"{RULE}.conditions[0].values[0]", "has no dot"),
    ("a method in small letters", condition("http-request-method", "get"), f"{RULE}.conditions[0].values[0]",
     "capital"),
    ("an address", condition("source-ip", "192.0.2.1"), f"{RULE}.conditions[0].values[0]", "such as 192.0.2.1/32"),
    ("host bits", condition("source-ip", "192.0.2.1/24"), f"{RULE}.conditions[0].values[0]", "without host bits"),
    ("an IP version", with_rule(conditions=[{"field": "source-ip", "source_ip_config": {"ip_address_type": "ipv6"}}]),
     f"{RULE}.conditions[0].source_ip_config.ip_address_type", "for Network Load Balancers"),
    ("the Host header", with_rule(conditions=[{"field": "http-header", "http_header_config": {
        "http_header_name": "Host", "values": ["x"]}}]),
     f"{RULE}.conditions[0].http_header_config.http_header_name", "expected field host-header"),
    ("a regular expression", with_rule(conditions=[{"field": "path-pattern", "regex_values": ["/(a"]}]),
     f"{RULE}.conditions[0].regex_values[0]", "is no regular expression"),
    ("a flag of Python's", with_rule(conditions=[{"field": "path-pattern", "regex_values": ["(?a)x"]}]),
     f"{RULE}.conditions[0].regex_values[0]", "'(?' does not mean the same to Python and PCRE2"),
    ("a POSIX class", with_rule(conditions=[{"field": "path-pattern", "regex_values": ["[[:alpha:]]"]}]),
     f"{RULE}.conditions[0].regex_values[0]", "does not mean the same"),
    ("a transform twice", with_rule(transforms=[rewrite("url-rewrite", "a", "b")] * 2), f"{RULE}.transforms[1].type",
     "one transform url-rewrite"),
    ("a transform's expression", with_rule(transforms=[rewrite("url-rewrite", "[", "b")]),
     f"{RULE}.transforms[0].url_rewrite_config.rewrites[0].regex", "is no regular expression"),
    ("a group that is not there", with_rule(transforms=[rewrite("host-header-rewrite", "(a)", "$2")]),
     f"{RULE}.transforms[0].host_header_rewrite_config.rewrites[0].replace", "$2 is no group"),
]  # fmt: skip
ACTIONS = [
    ("no such group", with_actions(forward("nobody")), f"{ACTION}.target_group",
     "there is no target group nobody (TargetGroupNotFound)"),
    ("OpenID Connect", with_actions({"type": "authenticate-oidc"}, forward("webs")), f"{ACTION}.type",
     "authenticate-oidc is not emulated"),
    ("Cognito", with_actions({"type": "authenticate-cognito"}, forward("webs")), f"{ACTION}.type",
     "authenticate-cognito is not emulated"),
    ("two that end", with_actions(forward("webs"), FIXED), f"{LISTENER}.default_actions[1]", "(TooManyActions)"),
    ("a token and nothing", with_actions(JWT, protocol="HTTPS"), f"{LISTENER}.default_actions", "after jwt-validation"),
    ("a token afterwards", with_actions(FIXED, JWT, protocol="HTTPS"), f"{LISTENER}.default_actions[1]", "before the"),
    ("a token without TLS", with_actions(JWT, FIXED), f"{ACTION}.type", "needs an HTTPS listener"),
    ("keys without TLS", with_actions(
        {"type": "jwt-validation", "jwt_validation_config": {"jwks_endpoint": "http://x/", "issuer": "x"}}, FIXED,
        protocol="HTTPS"),
     f"{ACTION}.jwt_validation_config.jwks_endpoint", "begins with https://"),
    ("six groups", with_actions(forward(a=1, b=1, c=1, d=1, e=1, f=1), groups=tuple(group(each) for each in "abcdef")),
     f"{ACTION}.forward_config.target_groups", "(TooManyTargetGroups)"),
    ("a group twice", with_actions({"type": "forward", "forward_config": {
        "target_groups": [{"target_group": "webs"}, {"target_group": "webs"}]}}),
     f"{ACTION}.forward_config.target_groups[1].target_group", "is in the action already"),
    ("no duration", with_actions(sticky(WEIGHTED, enabled=True), groups=(group(), group("other"))),
     f"{ACTION}.forward_config.target_group_stickiness_config.duration_seconds", "this key is missing"),
    ("a sticky group without", with_actions(
        WEIGHTED, groups=(group(attributes={"stickiness.enabled": True}), group("other"))),
     f"{ACTION}.forward_config.target_groups[0].target_group", "(InvalidConfigurationRequest)"),
    ("an application's cookie among several", with_actions(sticky(WEIGHTED, **STICKY), groups=(group(attributes={
        "stickiness.enabled": True, "stickiness.type": "app_cookie", "stickiness.app_cookie.cookie_name": "id"}),
        group("other"))),
     f"{ACTION}.forward_config.target_groups[0].target_group", "weighted target groups do not support"),
    ("gRPC without TLS", application(group(protocol_version="GRPC")), f"{ACTION}.target_group",
     "expected an HTTPS listener (InvalidLoadBalancerAction)"),
    ("a redirect to itself", with_actions(redirect(port="80", protocol="HTTP")), f"{ACTION}.redirect_config",
     "changes at least one of protocol, host, port and path"),
    ("a redirect to HTTP", with_actions(redirect(protocol="HTTP", port="80"), protocol="HTTPS"),
     f"{ACTION}.redirect_config.protocol", "HTTPS can't be redirected to HTTP"),
    ("a redirect's port", with_actions(redirect(port="70000")), f"{ACTION}.redirect_config.port", "from 1 to 65535"),
    ("a redirect's placeholder", with_actions(redirect(path="/#{name}")), f"{ACTION}.redirect_config.path",
     "'#{name}' can't stand here: expected #{host}, #{path}, #{port}"),
    ("a placeholder of another place", with_actions(redirect(host="#{path}")), f"{ACTION}.redirect_config.host",
     "expected #{host}"),
    ("a status of redirects", with_actions(redirect(status_code="HTTP_307")), f"{ACTION}.redirect_config.status_code",
     "'HTTP_301' or 'HTTP_302'"),
]  # fmt: skip


def attribute(key: str, value: object, **more: Any) -> tuple[Any, str]:
    return application(group(attributes={key: value, **more})), f"{GROUP}.attributes"


GROUPS = [
    ("a function", application(group(target_type="lambda", targets=[])), f"{GROUP}.target_type", "Lambda functions"),
    ("targets of type alb", application(group(target_type="alb")), f"{GROUP}.protocol", "need protocol TCP"),
    ("a protocol version of TCP", application(group(), group("tcp", protocol="TCP", protocol_version="HTTP2")),
     "target_groups[2].protocol_version", "for HTTP and HTTPS"),
    ("a TCP health check", application(group(health_check={"protocol": "TCP"})), f"{GROUP}.health_check",
     "HTTP, HTTPS"),
    ("a matcher of 500", application(group(health_check={"matcher": "200-500"})), f"{GROUP}.health_check.matcher",
     "from 200 to 499"),
    ("a matcher of gRPC", application(group(protocol_version="GRPC", health_check={"matcher": "200"}),
                                      listeners=[listener("HTTPS")]),
     f"{GROUP}.health_check.matcher", "from 0 to 99"),
    ("1001 targets", application(group(targets=[{"id": "web", "port": number} for number in range(1, 1002)])),
     f"{GROUP}.targets", "1001 targets: expected at most 1000"),
    ("a reserved cookie", *attribute("stickiness.app_cookie.cookie_name", "AWSALBAPP-0"),
     "AWSALB, AWSALBAPP, AWSALBTG (InvalidConfigurationRequest)"),
    ("no cookie", *attribute("stickiness.enabled", True, **{"stickiness.type": "app_cookie"}), "this key is missing"),
    ("stickiness of one zone", *attribute("stickiness.enabled", True, **{"load_balancing.cross_zone.enabled": False}),
     "expected false while"),
    ("slow start of 29 s", *attribute("slow_start.duration_seconds", 29), "0 or 30 to 900"),
    ("slow start by load", *attribute(
        "slow_start.duration_seconds", 30, **{"load_balancing.algorithm.type": "least_outstanding_requests"}),
     "expected 0 with"),
    ("anomaly mitigation", application(group(attributes={"load_balancing.algorithm.anomaly_mitigation": "on"})),
     f"{GROUP}.attributes['load_balancing.algorithm.anomaly_mitigation']", "anomaly mitigation is not emulated"),
    ("a network load balancer's key", application(group(attributes={"preserve_client_ip.enabled": True})),
     f"{GROUP}.attributes['preserve_client_ip.enabled']", "is not recognized"),
]  # fmt: skip


@cases(BALANCERS + TLS)
def test_what_aws_refuses_of_an_application_load_balancer_is_refused(change: Any, key: str, words: str) -> None:
    assert words in told(change, key)


@pytest.mark.contract("AL-04", "AL-14")
@cases(RULES)
def test_what_aws_refuses_of_a_rule_is_refused(change: Any, key: str, words: str) -> None:
    assert words in told(change, key)


@pytest.mark.contract("AL-04", "AL-08", "AL-15", "AL-23")
@cases(ACTIONS)
def test_what_aws_refuses_of_an_action_is_refused(change: Any, key: str, words: str) -> None:
    assert words in told(change, key)


@pytest.mark.contract("AL-07", "AL-09", "AL-10", "AL-19")
@cases(GROUPS)
def test_what_aws_refuses_of_a_target_group_is_refused(change: Any, key: str, words: str) -> None:
    assert words in told(change, key)


def test_an_internet_facing_one_needs_an_internet_gateway() -> None:
    def change(data: Data) -> None:
        application(scheme="internet-facing")(data)
        app = data["vpcs"][0]
        del app["internet_gateway"]
        app["instances"][0].pop("public_address")
        app["route_tables"] = [{"name": name} for name in ("app-a", "ep-a")]

    assert "has no internet_gateway" in told(change, f"{LB}.scheme")


def test_everything_wrong_is_told_at_once() -> None:
    wrong = application(
        group(attributes={"slow_start.duration_seconds": 5}),
        subnets=["app-a"],
        listeners=[listener(default_actions=[redirect()]), listener("HTTPS", 80, default_actions=[JWT])],
    )
    keys = {line.split(": ")[1] for line in complaints(wrong)}
    assert keys >= {
        f"{LB}.subnets",
        f"{ACTION}.redirect_config",
        f"{LB}.listeners[1].port",
        f"{LB}.listeners[1].default_actions",
        f"{GROUP}.attributes",
    }


def test_network_and_gateway_load_balancers_take_no_other_action_than_forward() -> None:
    def change(data: Data) -> None:
        application()(data)
        data["target_groups"].append({"name": "tcp", "vpc": "app", "protocol": "TCP", "port": 80})
        listeners = [{"protocol": "TCP", "port": 80, "default_actions": [FIXED]}]
        data["load_balancers"].append({"name": "net", "type": "network", "subnets": ["app-a"], "listeners": listeners})

    assert "'fixed-response'" in told(change, "load_balancers[2].listeners[0].default_actions[0].type")


@pytest.mark.contract("AL-04", "AL-14", "AL-15", "AL-23")
def test_what_a_file_says_of_rules_is_in_the_plan() -> None:
    claim = {"additional_claims": [{"name": "scope", "format": "space-separated-values", "values": ["read"]}]}
    rules = [
        {
            "priority": 20,
            "conditions": [
                {"field": "http-header", "http_header_config": {"http_header_name": "X-A", "values": ["b*"]}},
                {
                    "field": "query-string",
                    "query_string_config": {"values": [{"key": "v", "value": "1"}, {"value": "x"}]},
                },
                {"field": "source-ip", "values": ["192.0.2.0/24", "2001:db8::/32"]},
            ],
            "actions": [
                {"type": "jwt-validation", "jwt_validation_config": JWT["jwt_validation_config"] | claim},
                redirect(host="new.#{host}", query=""),
            ],
        },
        {
            "priority": 10,
            "conditions": [{"field": "host-header", "host_header_config": {"regex_values": ["^api[.]"]}}],
            "actions": [sticky(WEIGHTED, **STICKY)],
            "transforms": [rewrite("url-rewrite", "^/api/(.*)", "/$1")],
        },
    ]
    fixed = {
        "type": "fixed-response",
        "fixed_response_config": {"status_code": "404", "content_type": "text/plain", "message_body": "no"},
    }
    front = listener("HTTPS", 443, rules=rules, default_actions=[fixed])
    plan = plan_of(application(group(), group("other"), listeners=[front]))
    (found,) = plan.load_balancers[1].listeners
    first, second = found.rules
    assert (first.priority, second.priority) == (10, 20)  # as they are asked
    assert first.conditions == (Condition("host-header", regex_values=("^api[.]",)),)
    assert first.transforms == (Transform("url-rewrite", "^/api/(.*)", "/$1"),)
    (weighted,) = first.actions
    assert [(one.target_group, one.weight) for one in weighted.target_groups] == [("webs", 1), ("other", 3)]
    assert (weighted.sticky, weighted.sticky_seconds) == (True, 60)
    assert second.conditions == (
        Condition("http-header", ("b*",), header="X-A"),
        Condition("query-string", query=(("v", "1"), ("", "x"))),
        Condition("source-ip", ("192.0.2.0/24", "2001:db8::/32")),
    )
    token, moved = second.actions
    claims = (Claim("scope", "space-separated-values", ("read",)),)
    assert token.jwt_validation == JwtValidation("https://idp.example/keys", "https://idp.example", claims)
    assert moved.redirect == Redirect(301, host="new.#{host}", query="")
    assert found.default_actions[0].fixed_response == FixedResponse(404, "text/plain", "no")
    assert found.tls is not None
    assert found.tls.certificates == ("lab",)


def behind(*targets: str, port: int = 80, **more: Any) -> Any:
    """The application load balancer `front` behind a network load balancer `net`."""

    def change(data: Data) -> None:
        application()(data)
        albs = {"name": "albs", "vpc": "app", "protocol": "TCP", "port": port, "target_type": "alb"}
        data["target_groups"].append(albs | {"targets": list(targets)} | more)
        tcp = [{"protocol": "TCP", "port": 80, "default_actions": [forward("albs")]}]
        data["load_balancers"].append(
            {"name": "net", "type": "network", "subnets": ["app-a", "app-b"], "listeners": tcp}
        )

    return change


ALBS = "target_groups[2]"


@pytest.mark.contract("NL-10")
@cases(
    [
        (
            "another type",
            behind("net"),
            f"{ALBS}.targets[0]",
            "no Application Load Balancer of VPC app: expected front",
        ),
        ("no listener", behind("front", port=81), f"{ALBS}.targets[0]", "has no listener on port 81"),
        ("a TCP check", behind("front", health_check={"protocol": "TCP"}), f"{ALBS}.health_check.protocol", "HTTP or"),
        ("a second one", behind("front", "front"), f"{ALBS}.targets[1]", "has one Application Load Balancer"),
    ]
)
def test_what_aws_refuses_of_an_application_load_balancer_as_a_target_is_refused(
    change: Any, key: str, words: str
) -> None:
    lines = [line for line in complaints(change) if line.split(": ")[1] == key]
    assert any(words in line for line in lines), lines


@pytest.mark.contract("AL-09")
@pytest.mark.parametrize(
    ("version", "path", "matcher"), [(None, "/", "200"), ("HTTP2", "/", "200"), ("GRPC", "/AWS.ALB/healthcheck", "12")]
)
def test_the_defaults_of_its_health_checks_are_those_of_the_guide(version: str | None, path: str, matcher: str) -> None:
    more = {} if version is None else {"protocol_version": version}
    found = _group(plan_of(application(group(**more), listeners=[listener("HTTPS", 443)])))
    check = found.health_check
    assert found.protocol_version == version or (version is None and found.protocol_version == "HTTP1")
    assert (check.protocol, check.path, check.matcher, check.port) == ("HTTP", path, matcher, 0)
    assert (check.interval_seconds, check.timeout_seconds) == (30, 5)
    assert (check.healthy_threshold_count, check.unhealthy_threshold_count) == (5, 2)


def _group(plan: Plan) -> Any:
    return next(each for each in plan.target_groups if each.name == "webs")


def test_the_schema_names_what_only_application_load_balancers_have() -> None:
    found: Any = json_schema()
    definitions = found["$defs"]
    assert "jwt-validation" in definitions["Action"]["properties"]["type"]["enum"]
    assert (
        "idle_timeout.timeout_seconds"
        in (definitions["LoadBalancer"]["properties"]["attributes"]["propertyNames"]["enum"])
    )
    assert definitions["TargetGroup"]["properties"]["target_type"]["enum"] == ["instance", "ip", "alb"]
