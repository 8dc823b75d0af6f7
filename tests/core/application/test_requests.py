"""The oracle: which rule a request meets, and what is done with it."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gwlbemu.core.application.engine import Engine, Pool
from gwlbemu.core.application.patterns import query_pattern, rewritten, wildcards
from gwlbemu.core.application.requests import REFUSED, Outcome, Request, is_spoken, matches, outcome
from gwlbemu.core.application.settings import Listener
from gwlbemu.core.elb.rules import (
    FIXED_RESPONSE,
    FORWARD,
    HOST_HEADER_REWRITE,
    JWT_VALIDATION,
    REDIRECT,
    URL_REWRITE,
    Action,
    Condition,
    FixedResponse,
    JwtValidation,
    Redirect,
    Rule,
    Transform,
    WeightedTargetGroup,
)

ENGINE = Engine(("10.0.9.10",), "web.example", b"secret", {})
ANY_PATH = Condition("path-pattern", ("*",))


def forward(*groups: str) -> Action:
    return Action(FORWARD, tuple(WeightedTargetGroup(each) for each in groups))


def listener(*rules: Rule, port: int = 80, protocol: str = "HTTP") -> Listener:
    return Listener(protocol, port, rules, (forward("default"),), {})


def asked(
    target: str = "/", host: str = "www.example.com", rules: tuple[Rule, ...] = (), port: int = 80, preserved: str = ""
) -> Outcome:
    attributes = {"routing.http.preserve_host_header.enabled": preserved} if preserved else {}
    request = Request("GET", target, (("Host", host),))
    return outcome(replace(ENGINE, attributes=attributes), listener(*rules, port=port), request)


def meets(condition: Condition, request: Request, host: str = "www.example.com") -> bool:
    return matches((condition,), host, request)


def header(*lines: str, name: str = "X-Kind") -> Request:
    return Request(headers=tuple((name, each) for each in lines))


@pytest.mark.contract("AL-04")
@pytest.mark.parametrize(
    ("pattern", "host", "expected"),
    [
        ("www.example.com", "www.example.com", True),
        ("WWW.Example.com", "www.eXample.COM:8080", True),
        ("*.example.com", "a.b.example.com", True),
        ("*.example.com", "example.com", False),
        ("??.example.com", "ab.example.com", True),
        ("?.example.com", "ab.example.com", False),
        ("www.example.com", "wwwxexample.com", False),
    ],
)
def test_a_host_is_compared_without_case_and_port(pattern: str, host: str, expected: bool) -> None:
    rules = (Rule(1, (Condition("host-header", (pattern,)),), (forward("hit"),)),)
    assert (asked(host=host, rules=rules).groups[0].target_group == "hit") is expected


@pytest.mark.contract("AL-04")
@pytest.mark.parametrize(
    ("pattern", "target", "expected"),
    [
        ("/img/*", "/img/", True),
        ("/img/*", "/img/a/b?x=y", True),
        ("/img/*", "/IMG/a", False),
        ("/img/*/pics", "/img/2/3/pics", True),
        ("/a?c", "/abc", True),
        ("/a?c", "/ac", False),
        ("/a", "/a?b=c", True),
        ("*b=c*", "/a?b=c", False),
        ("/a.b", "/aXb", False),
    ],
)
def test_a_path_is_compared_with_case_and_without_the_query(pattern: str, target: str, expected: bool) -> None:
    assert meets(Condition("path-pattern", (pattern,)), Request(target=target)) is expected


@pytest.mark.contract("AL-04")
def test_a_header_is_searched_in_order_without_case() -> None:
    condition = Condition("http-header", ("*Chrome*", "curl/?"), header="x-kind")
    assert meets(condition, header("a chrome b"))
    assert meets(condition, header("nothing", "CURL/8"))
    assert not meets(condition, header("curl/88"))
    assert not meets(condition, header("curl/8", name="X-Other"))


@pytest.mark.contract("AL-04")
def test_a_method_is_exact_and_a_source_is_in_a_network() -> None:
    assert meets(Condition("http-request-method", ("GET", "PUT")), Request("PUT"))
    assert not meets(Condition("http-request-method", ("GET",)), Request("get"))
    networks = Condition("source-ip", ("10.1.0.0/16", "2001:db8::/32"))
    assert meets(networks, Request(source="10.1.2.3"))
    assert meets(networks, Request(source="2001:db8::7"))
    assert not meets(networks, Request(source="10.2.2.3", headers=(("X-Forwarded-For", "10.1.2.3"),)))


@pytest.mark.contract("AL-04")
@pytest.mark.parametrize(
    ("key", "value", "query", "expected"),
    [
        ("version", "v1", "a=b&version=v1", True),
        ("version", "v1", "VERSION=V1&a=b", True),
        ("version", "v1", "xversion=v1", False),
        ("version", "v1", "version=v12", False),
        ("", "*example*", "q=an-example-of", True),
        ("", "flag", "flag", True),
        ("", "flag", "a=flag", True),
        ("", "flag", "flag=a", False),
        ("v?", "*", "v1=", True),
        ("", "a*c", "x=ab&y=bc", False),
        ("", r"a\*c", "x=abc", False),
        ("", r"a\*c", "x=a*c", True),
        ("", r"a\?c", "x=a?c", True),
        ("k", "v", "", False),
    ],
)
def test_a_query_has_parameters_compared_without_case(key: str, value: str, query: str, expected: bool) -> None:
    condition = Condition("query-string", query=((key, value),))
    assert meets(condition, Request(target=f"/p?{query}")) is expected


@pytest.mark.contract("AL-04")
def test_regular_expressions_are_found_anywhere_with_case() -> None:
    assert meets(Condition("path-pattern", regex_values=("/v[0-9]+/",)), Request(target="/api/v12/x"))
    assert not meets(Condition("path-pattern", regex_values=("^/v[0-9]+/",)), Request(target="/api/v12/x"))
    assert meets(Condition("host-header", regex_values=(r"^(www|api)\.",)), Request())
    assert meets(Condition("http-header", regex_values=("(a|b)$",), header="X-Kind"), header("xyb"))
    assert not meets(Condition("http-header", regex_values=("(a|b)$",), header="X-Kind"), header("xyB"))


@pytest.mark.contract("AL-04")
def test_the_lowest_priority_whose_conditions_all_hold_decides() -> None:
    rules = (
        Rule(1, (Condition("path-pattern", ("/a",)), Condition("host-header", ("no.example",))), (forward("one"),)),
        Rule(2, (Condition("path-pattern", ("/b", "/a")),), (forward("two"),)),
        Rule(3, (ANY_PATH,), (forward("three"),)),
    )
    assert [asked(path, rules=rules).groups[0].target_group for path in ("/a", "/b", "/c")] == ["two", "two", "three"]
    made = asked("/c", rules=rules[:2])
    assert (made.rule, made.groups[0].target_group) == (None, "default")


@pytest.mark.contract("AL-04")
def test_groups_without_weight_get_nothing() -> None:
    groups = (WeightedTargetGroup("blue", 0), WeightedTargetGroup("green", 3))
    rule = Rule(1, (ANY_PATH,), (Action(FORWARD, groups),))
    assert asked(rules=(rule,)).groups == groups[1:]
    nothing = replace(rule, actions=(Action(FORWARD, groups[:1]),))
    assert (asked(rules=(nothing,)).groups, asked(rules=(nothing,)).status) == ((), 503)


@pytest.mark.contract("AL-23")
@pytest.mark.parametrize(
    ("redirect", "expected"),
    [
        (Redirect(301, protocol="HTTPS", port="443"), "https://www.example.com:443/a/b?c=d"),
        (Redirect(302, host="x.#{host}"), "http://x.www.example.com:80/a/b?c=d"),
        (Redirect(302, path="/new/#{path}"), "http://www.example.com:80/new/a/b?c=d"),
        (Redirect(302, query="#{query}&e=f"), "http://www.example.com:80/a/b?c=d&e=f"),
        (Redirect(302, query=""), "http://www.example.com:80/a/b"),
        (Redirect(302, path="/#{host}/#{port}"), "http://www.example.com:80/www.example.com/80?c=d"),
    ],
)
def test_a_redirect_has_placeholders_and_always_a_port(redirect: Redirect, expected: str) -> None:
    rule = Rule(1, (ANY_PATH,), (Action(REDIRECT, redirect=redirect),))
    made = asked("/a/b?c=d", "WWW.example.com:8080", (rule,))
    assert (made.action, made.status, made.location) == (REDIRECT, redirect.status, expected)


@pytest.mark.contract("AL-23")
def test_a_fixed_response_is_as_it_was_told() -> None:
    fixed = FixedResponse(404, "text/plain", "no such thing")
    made = asked(rules=(Rule(1, (ANY_PATH,), (Action(FIXED_RESPONSE, fixed_response=fixed),)),))
    assert (made.status, made.content_type, made.body) == (404, "text/plain", "no such thing")


@pytest.mark.contract("AL-15")
def test_a_token_is_asked_for_before_anything_is_done() -> None:
    token = JwtValidation("https://idp.example/keys", "idp")
    rule = Rule(1, (ANY_PATH,), (Action(JWT_VALIDATION, jwt_validation=token), forward("g")))
    made = asked(rules=(rule,))
    assert (made.action, made.status, made.groups) == (JWT_VALIDATION, 401, ())
    request = Request(headers=(("Host", "a.example"), ("Authorization", "Bearer abc.def.ghi")))
    made = outcome(ENGINE, listener(rule), request)
    assert (made.action, made.token, made.groups[0].target_group) == (FORWARD, token, "g")


@pytest.mark.contract("AL-14")
def test_transforms_rewrite_what_is_forwarded_and_no_decision() -> None:
    transforms = (
        Transform(HOST_HEADER_REWRITE, r"^mywebsite-(.+)\.com$", "internal.dev.$1.myweb.com"),
        Transform(URL_REWRITE, r"^/dp/([A-Za-z0-9]+)/?$", "/product.php?id=$1"),
    )
    rules = (
        Rule(1, (Condition("path-pattern", ("/dp/*",)),), (forward("g"),), transforms),
        Rule(2, (Condition("path-pattern", ("/product.php",)),), (forward("other"),)),
    )
    made = asked("/dp/B09G3HRMW", "mywebsite-example.com", rules)
    assert made.groups[0].target_group == "g"
    assert (made.host, made.url) == ("internal.dev.example.myweb.com", "/product.php?id=B09G3HRMW")
    made = asked("/dp/a/b", "other.com", rules)
    assert (made.host, made.url) == ("other.com", "/dp/a/b")
    assert asked("/product.php", "mywebsite-example.com", rules).host == "mywebsite-example.com"


@pytest.mark.contract("AL-14")
@pytest.mark.parametrize(
    ("regex", "replacement", "text", "expected"),
    [
        ("b", "X", "abab", "aXab"),
        ("(a)(b)?(c)", "<$3$2$1>", "zacz", "z<ca>z"),
        ("a", "$9$0", "a", "$0"),
        ("a", r"\1", "a", r"\1"),
    ],
)
def test_the_first_match_is_replaced(regex: str, replacement: str, text: str, expected: str) -> None:
    assert rewritten(regex, replacement, text) == expected


@pytest.mark.contract("AL-23")
@pytest.mark.parametrize(
    ("port", "host", "preserved", "expected"),
    [
        (80, "Example.com", "false", "example.com"),
        (80, "example.com:80", "false", "example.com:80"),
        (8080, "example.com", "false", "example.com:8080"),
        (8080, "example.com:8080", "false", "example.com:8080"),
        (8080, "Example.com", "true", "Example.com"),
        (8080, "[2001:db8::1]", "false", "[2001:db8::1]:8080"),
    ],
)
def test_the_host_header_gets_the_listeners_port_unless_it_is_preserved(
    port: int, host: str, preserved: str, expected: str
) -> None:
    assert asked("/", host, port=port, preserved=preserved).host == expected


@pytest.mark.contract("AL-23")
def test_without_a_host_the_request_is_for_the_load_balancer() -> None:
    assert outcome(ENGINE, listener(), Request(version="1.0")).host == "web.example"


@pytest.mark.contract("AL-02")
def test_more_than_thirty_forwarded_addresses_and_trace_are_refused() -> None:
    thirty = ", ".join(f"10.0.0.{n}" for n in range(30))
    request = Request(headers=(("Host", "a.example"), ("X-Forwarded-For", thirty)))
    assert outcome(ENGINE, listener(), request).status == 0
    request = replace(request, headers=(*request.headers, ("x-forwarded-for", "10.0.1.1")))
    made = outcome(ENGINE, listener(), request)
    assert (made.action, made.status) == (REFUSED, 463)
    assert outcome(ENGINE, listener(), Request("TRACE")).status == 405


@pytest.mark.contract("AL-18")
def test_a_request_has_to_fit_the_groups_protocol_version() -> None:
    grpc = Request("POST", headers=(("Content-Type", "application/grpc+proto"),), version="2")
    requests = (Request(), Request(version="2"), grpc)
    spoken = {
        version: [is_spoken(Pool("g", "HTTP", version, {}, (), 0), each) for each in requests]
        for version in ("HTTP1", "HTTP2", "GRPC")
    }
    assert spoken == {
        "HTTP1": [True, True, False],
        "HTTP2": [False, True, True],
        "GRPC": [False, False, True],
    }


def fits(pattern: str, text: str) -> bool:
    """Whether wildcards fit, letter by letter."""
    if not pattern:
        return not text
    if pattern[0] == "*":
        return any(fits(pattern[1:], text[n:]) for n in range(len(text) + 1))
    return bool(text) and pattern[0] in ("?", text[0]) and fits(pattern[1:], text[1:])


@pytest.mark.contract("AL-04")
@given(st.text("ab.*?+\\", max_size=6), st.text("ab.+\\", max_size=6))
def test_wildcards_mean_what_they_say(pattern: str, text: str) -> None:
    assert bool(re.fullmatch(wildcards(pattern), text)) is fits(pattern, text)


@pytest.mark.contract("AL-04")
@given(st.text("ab*?", max_size=3), st.text("ab*?", min_size=1, max_size=3), st.text("ab=&", max_size=8))
def test_a_query_condition_finds_a_parameter(key: str, value: str, query: str) -> None:
    found = False
    for parameter in query.split("&"):
        name, equals, rest = parameter.partition("=")
        if key:
            found |= bool(equals) and fits(key, name) and fits(value, rest)
        else:
            found |= fits(value, parameter) or (bool(equals) and fits(value, rest))
    assert bool(re.search(query_pattern(key, value), query)) is found


@pytest.mark.contract("AL-04")
@given(st.lists(st.sampled_from(["/a", "/b", "/*", "/?", "*"]), max_size=6), st.sampled_from(["/a", "/b", "/ab", "/"]))
def test_the_first_rule_that_fits_decides(patterns: list[str], path: str) -> None:
    rules = tuple(
        Rule(n, (Condition("path-pattern", (each,)),), (forward(f"g{n}"),)) for n, each in enumerate(patterns)
    )
    expected = next((f"g{n}" for n, each in enumerate(patterns) if fits(each, path)), "default")
    assert asked(path, rules=rules).groups[0].target_group == expected
