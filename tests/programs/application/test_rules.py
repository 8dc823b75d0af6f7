"""Rules of listeners, by HAProxy itself: held to `core.application.requests` with random rules and requests."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

import pytest

from gwlbemu.core.application.requests import Request, outcome
from gwlbemu.core.application.settings import Listener
from gwlbemu.core.elb.rules import (
    FIXED_RESPONSE,
    FORWARD,
    HOST_HEADER_REWRITE,
    REDIRECT,
    URL_REWRITE,
    Action,
    Condition,
    FixedResponse,
    Redirect,
    Rule,
    Transform,
)
from gwlbemu.lab import engines
from tests.programs.application.http_lab import CLIENT, Http, engine, forward, listener, pool, running

pytestmark = [
    pytest.mark.namespace,
    pytest.mark.skipif(engines.missing() is not None, reason="needs HAProxy"),
]
POOLS = [
    pool("web", ("a", "127.0.2.1", 8000)),
    pool("app", ("b", "127.0.2.2", 8000)),
    pool("api", ("c", "127.0.2.3", 8000)),
    pool("empty"),
]
HOSTS = ["web.example", "Api.Web.example", "api.web.example", "shop.example:8080", "x", "[::1]:80", "10.0.0.1:81"]
PATHS = [
    "/",
    "/img/a.png",
    "/IMG/a.png",
    "/api/v1/items",
    "/api/v22/items",
    "/a%20b",
    "/a'b\"c",
    "/(x)[1]",
    "/a$b,c",
    "/-x",
]
QUERIES = [
    "",
    "?",
    "?version=1",
    "?a=b&Version=2",
    "?x&y=z",
    "?q=a*b",
    "?a=b%3D&c",
    "?a=%[src]&b='",
    "?next=http://x/?y",
]
HEADERS = [
    (),
    ("User-Agent: Chrome/1.0",),
    ('User-Agent: chrome (x) "y" $z',),
    ("X-Tag: a, b", "X-Tag: canary"),
    ("X-Tag: Can%ary",),
]
METHODS = ["GET", "POST", "HEAD", "PUT", "M-SEARCH"]
VALUES = [  # field, header, values: one condition each
    ("host-header", "", ("web.example",)),
    ("host-header", "", ("*.web.EXAMPLE", "x")),
    ("host-header", "", ("sh?p.*",)),
    ("host-header", "", ("*",)),
    ("host-header", "", ("[::1]",)),
    ("path-pattern", "", ("/img/*",)),
    ("path-pattern", "", ("/api/v?/*", "/-x")),
    ("path-pattern", "", ("*b*",)),
    ("path-pattern", "", ("/a$b,c",)),
    ("path-pattern", "", ("/(x)[1]", "/a'b\"c")),
    ("http-header", "user-agent", ("*chrome*",)),
    ("http-header", "User-Agent", ("Chrome/?.0", '* "y" $?')),
    ("http-header", "X-Tag", ("canary",)),
    ("http-header", "X-Tag", ("a, *",)),
    ("http-header", "x-tag", ("can%ary",)),
    ("http-request-method", "", ("POST", "M-SEARCH")),
    ("http-request-method", "", ("get", "HEAD")),
    ("source-ip", "", ("127.0.9.0/24", "2001:db8::/32")),
    ("source-ip", "", ("10.0.0.0/8",)),
]
EXPRESSIONS = [
    ("host-header", "", r"^(.+)\.example$"),
    ("host-header", "", r"[0-9]+\.0"),
    ("host-header", "", "API"),
    ("path-pattern", "", r"^/api/v[0-9]+/"),
    ("path-pattern", "", r"(png|20b)$"),
    ("path-pattern", "", "IMG"),
    ("http-header", "X-Tag", r"^C[a-z]+"),
]
PARAMETERS = [
    (("version", "1"),),
    (("VERSION", "?"), ("", "z*")),
    (("", "*"),),
    (("q", r"a\*b"),),
    (("a*", "b"),),
    (("a", "%[src]"), ("b", "'")),
]
CONDITIONS = [
    *(Condition(field, values, header=header) for field, header, values in VALUES),
    *(Condition(field, regex_values=(regex,), header=header) for field, header, regex in EXPRESSIONS),
    *(Condition("query-string", query=query) for query in PARAMETERS),
]
TRANSFORMS = [
    Transform(HOST_HEADER_REWRITE, r"^(.+)\.example$", "$1.internal"),
    Transform(HOST_HEADER_REWRITE, "web", "A'b"),
    Transform(URL_REWRITE, r"^/api/v([0-9]+)/(.*)", "/$2/version-$1"),
    Transform(URL_REWRITE, r"(a)(x)?", r"[$1$2$3\1%[src]]"),
    Transform(URL_REWRITE, r"\?.*", ""),
    Transform(URL_REWRITE, "^", "/prefix"),
]
ACTIONS = [
    forward("web"),
    forward("app"),
    forward("empty"),
    forward(("web", 0)),
    forward(("api", 3), ("web", 0)),
    Action(REDIRECT, redirect=Redirect(301, "HTTPS", port="443")),
    Action(
        REDIRECT, redirect=Redirect(302, host="new.#{host}", path="/x/#{path}/#{port}", query="old=#{query}&p=100%")
    ),
    Action(REDIRECT, redirect=Redirect(302, path="/'\"$[ ]", query="")),
    Action(FIXED_RESPONSE, fixed_response=FixedResponse(404, "text/plain", "no \"such\"\n'thing' %[src] $HOME \\ é")),
    Action(FIXED_RESPONSE, fixed_response=FixedResponse(200, "application/json", '{"a": 1}')),
    Action(FIXED_RESPONSE, fixed_response=FixedResponse(503)),
]


def _rules(chance: random.Random) -> tuple[Rule, ...]:
    priorities = sorted(chance.sample(range(1, 50000), chance.randint(0, 7)))
    return tuple(
        Rule(
            priority,
            tuple(chance.sample(CONDITIONS, chance.choice((1, 1, 1, 2, 3)))),
            (chance.choice(ACTIONS),),
            tuple(
                chance.sample(TRANSFORMS[:2], chance.randint(0, 1))
                + chance.sample(TRANSFORMS[2:], chance.randint(0, 1))
            ),
        )
        for priority in priorities
    )


def _listener(chance: random.Random, port: int) -> Listener:
    return listener(*_rules(chance), default=(chance.choice(ACTIONS),), port=port)


@pytest.mark.contract("AL-04", "AL-14", "AL-23")
@pytest.mark.parametrize("preserve", [False, True])
def test_haproxy_does_what_the_oracle_says(preserve: bool, tmp_path: Path) -> None:
    chance = random.Random(f"rules {preserve}")
    ports = [80, 443, *range(8000, 8030)]
    attributes = {"routing.http.preserve__host__header.enabled": str(preserve).lower()}
    balancer = engine(*(_listener(chance, port) for port in ports), pools=POOLS, **attributes)
    asked = 0
    with running(tmp_path, balancer) as lab:
        for each in balancer.listeners:
            with Http(each.port) as client:
                for _ in range(40):
                    host, method = chance.choice(HOSTS), chance.choice(METHODS)
                    target, headers = chance.choice(PATHS) + chance.choice(QUERIES), chance.choice(HEADERS)
                    pairs = [line.split(": ", 1) for line in (f"Host: {host}", *headers)]
                    request = Request(method, target, tuple((name, value) for name, value in pairs), CLIENT)
                    _hold(client, balancer, each, request, headers)
                    asked += 1
        assert asked == 40 * len(ports)
        assert lab.counter("elb_400") == 0


def _hold(client: Http, balancer: object, where: Listener, request: Request, headers: tuple[str, ...]) -> None:
    wanted = outcome(balancer, where, request)  # type: ignore[arg-type]
    got = client.ask(request.target, *headers, method=request.method, host=request.values("Host")[0])
    told = f"{where}\n{request}\n{wanted}\n{got}"
    if wanted.action == FORWARD and not wanted.status:
        (group,) = {each.target_group for each in wanted.groups}
        if group == "empty":
            assert got.status == 503, told
            return
        assert got.status == 200, told
        if request.method != "HEAD":
            assert got.seen.target == {"web": "a", "app": "b", "api": "c"}[group], told
            assert (got.seen.value("Host"), got.seen.url) == (wanted.host, wanted.url), told
        return
    assert (got.status, got.value("Server")) == (wanted.status, "awselb/2.0"), told
    assert got.value("Location") == (wanted.location or None), told
    if wanted.action == FIXED_RESPONSE and wanted.body and request.method != "HEAD":
        assert (got.body.decode(), got.value("Content-Type")) == (wanted.body, wanted.content_type), told


@pytest.mark.contract("AL-04")
def test_requests_are_shared_by_weight(tmp_path: Path) -> None:
    shares = forward(("web", 200), ("app", 100), ("api", 0), ("empty", 0), ("other", 700))
    pools = [*POOLS, pool("other", ("d", "127.0.2.4", 8000))]
    with running(tmp_path, engine(listener(default=(shares,)), pools=pools)), Http() as client:
        counted = dict.fromkeys("abcd", 0)
        for _ in range(1000):
            counted[client.ask().seen.target] += 1
    # Six standard deviations of the binomial distribution: passes by chance all but once in 10^8 runs.
    for name, share in {"a": 0.2, "b": 0.1, "d": 0.7}.items():
        assert abs(counted[name] - 1000 * share) < 6 * (1000 * share * (1 - share)) ** 0.5
    assert counted["c"] == 0


@pytest.mark.contract("AL-23")
def test_a_redirect_has_awss_page_and_is_counted(tmp_path: Path) -> None:
    to = Action(REDIRECT, redirect=Redirect(301, "HTTPS", port="443"))
    with running(tmp_path, engine(listener(default=(to,)), pools=[])) as lab:
        got = lab.ask("/a/b?c=d")
        assert (got.status, got.reason, got.value("Content-Type")) == (301, "Moved Permanently", "text/html")
        assert got.value("Location") == "https://web.example:443/a/b?c=d"
        assert b"<center><h1>301 Moved Permanently</h1></center>\r\n" in got.body
        assert (lab.counter("redirects"), lab.counter("fixed_responses")) == (1, 0)
        got = lab.ask("/" + "a" * 8200)
        assert (got.status, lab.counter("redirects"), lab.counter("redirects_too_long")) == (507, 1, 1)


@pytest.mark.contract("AL-23")
def test_the_host_of_a_request_without_one_is_the_load_balancers_name(tmp_path: Path) -> None:
    with running(tmp_path, engine(listener(), listener(port=8080), pools=POOLS)) as lab:
        assert lab.ask(version="1.0", host=None).seen.value("Host") == "web-1234.elb.example"
        assert lab.ask(version="1.0", host=None, port=8080).seen.value("Host") == "web-1234.elb.example:8080"
        assert lab.ask(host=None).status == 400


def test_states_and_weights_change_without_a_new_text(tmp_path: Path) -> None:
    two = pool("web", ("a", "127.0.2.1", 8000), ("b", "127.0.2.2", 8000))
    before = engine(pools=[two])
    with running(tmp_path, before) as lab, Http() as client:
        assert {client.ask().seen.target for _ in range(4)} == {"a", "b"}
        servers = (replace(two.servers[0], takes_requests=False), two.servers[1])
        lab.change(replace(before, pools=(replace(two, servers=servers),)))
        assert {client.ask().seen.target for _ in range(4)} == {"b"}
        servers = (replace(two.servers[0], weight=25), two.servers[1])
        lab.change(replace(before, pools=(replace(two, servers=servers),)))
        seen = [client.ask().seen.target for _ in range(50)]
        assert (seen.count("a"), seen.count("b")) == (10, 40)
