"""What a target of an application load balancer is told of the client: addresses, protocol, port, trace id."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from gwlbemu.lab import engines
from tests.programs.application.http_lab import (
    CLIENT,
    NODE,
    Http,
    Lab,
    engine,
    listener,
    pool,
    running,
)

pytestmark = [
    pytest.mark.namespace,
    pytest.mark.skipif(engines.missing() is not None, reason="needs HAProxy"),
]
WEB = pool("web", ("a", "127.0.2.1", 8000), ("b", "127.0.2.2", 8000))


@pytest.fixture
def plain(tmp_path: Path) -> Iterator[Lab]:
    with running(tmp_path, engine(listener(), listener(port=8080), pools=[WEB])) as lab:
        yield lab


@pytest.mark.contract("AL-01")
def test_the_target_sees_the_nodes_address_and_a_connection_of_its_own(plain: Lab) -> None:
    with Http() as client:
        seen = client.ask().seen
        assert seen.peer[0] == NODE != CLIENT
        assert seen.peer[1] != client.source_port


@pytest.mark.contract("AL-02")
def test_protocol_and_port_are_those_that_the_client_used(plain: Lab) -> None:
    for port in (80, 8080):
        seen = plain.ask("/", "X-Forwarded-Proto: gopher", "X-Forwarded-Port: 70", port=port).seen
        assert seen.values("X-Forwarded-Proto") == ["http"]
        assert seen.values("X-Forwarded-Port") == [str(port)]


TABLE = [  # aws-behaviour 7.2: what the request had; append, preserve, remove
    ((), CLIENT, None, None),
    (("a",), f"a, {CLIENT}", "a", None),
    (("a, b",), f"a, b, {CLIENT}", "a, b", None),
    (("a, b", "c"), f"a, b, c, {CLIENT}", "a, b, c", None),
    (("a", "b", "c,d"), f"a, b, c,d, {CLIENT}", "a, b, c,d", None),
]


@pytest.mark.contract("AL-02")
@pytest.mark.parametrize("mode", ["append", "preserve", "remove"])
def test_forwarded_addresses_by_mode(mode: str, tmp_path: Path) -> None:
    balancer = engine(pools=[WEB], **{"routing.http.xff__header__processing.mode": mode})
    with running(tmp_path, balancer) as lab:
        for had, *expected in TABLE:
            wanted = expected[("append", "preserve", "remove").index(mode)]
            seen = lab.ask("/", "Accept: x", *(f"X-Forwarded-For: {each}" for each in had), "Z: y").seen
            assert seen.value("X-Forwarded-For") == wanted
            if mode == "append":
                assert len(seen.values("X-Forwarded-For")) == 1
            assert (seen.value("Accept"), seen.value("Z")) == ("x", "y")


@pytest.mark.contract("AL-02")
def test_forwarded_addresses_with_the_clients_port(tmp_path: Path) -> None:
    with running(tmp_path, engine(pools=[WEB], **{"routing.http.xff__client__port.enabled": "true"})):
        for had, before in ((), ""), (("X-Forwarded-For: a",), "a, "):
            with Http() as client:
                seen = client.ask("/", *had).seen
                assert seen.values("X-Forwarded-For") == [f"{before}{CLIENT}:{client.source_port}"]


@pytest.mark.contract("AL-02")
@pytest.mark.parametrize("with_port", [False, True])
def test_forwarded_addresses_of_ipv6(with_port: bool, tmp_path: Path) -> None:
    attributes = {"routing.http.xff__client__port.enabled": "true" if with_port else "false"}
    balancer = engine(pools=[WEB], **attributes)
    with running(tmp_path, replace(balancer, addresses=(NODE, "::1"))):
        for had, before in ((), ""), (("X-Forwarded-For: a",), "a, "):
            with Http(address="::1") as client:
                bare = "[::1]" if before or with_port else "::1"
                port = f":{client.source_port}" if with_port else ""
                assert client.ask("/", *had).seen.values("X-Forwarded-For") == [f"{before}{bare}{port}"]


@pytest.mark.contract("AL-02")
def test_more_than_thirty_addresses_are_refused_with_463(plain: Lab) -> None:
    before = plain.counter("elb_463")
    thirty = ", ".join(f"10.0.0.{number}" for number in range(30))
    assert plain.ask("/", f"X-Forwarded-For: {thirty}").seen.value("X-Forwarded-For") == f"{thirty}, {CLIENT}"
    for refused in ([f"X-Forwarded-For: {thirty}, z"], [f"X-Forwarded-For: {thirty}", "X-Forwarded-For: z"]):
        answer = plain.ask("/", *refused)
        assert (answer.status, answer.value("Server")) == (463, "awselb/2.0")
    assert plain.counter("elb_463") == before + 2


@pytest.mark.contract("AL-02")
def test_headers_are_spelled_as_usual(plain: Lab) -> None:
    names = [name for name, _ in plain.ask("/", "user-agent: x").seen.headers]
    assert names[:2] == ["Host", "User-Agent"]
    assert set(names[2:]) == {"X-Forwarded-For", "X-Forwarded-Proto", "X-Forwarded-Port", "X-Amzn-Trace-Id"}


IDENTITY = r"1-[0-9a-f]{8}-[0-9a-f]{24}"


@pytest.mark.contract("AL-03")
@pytest.mark.parametrize(
    ("had", "expected"),
    [
        (None, f"Root={IDENTITY}"),
        ("Root=1-67891233-abcdef012345678912345678", f"Self={IDENTITY};Root=1-67891233-abcdef012345678912345678"),
        ("Root=1-2-3;CalledFrom=app", f"Self={IDENTITY};Root=1-2-3;CalledFrom=app"),
        ("Self=1-2-4;Root=1-2-3;CalledFrom=app", f"Self={IDENTITY};Root=1-2-3;CalledFrom=app"),
        ("Root=1-2-3;Self=1-2-4;CalledFrom=app", f"Self={IDENTITY};Root=1-2-3;CalledFrom=app"),
        ("Root=1-2-3;Self=1-2-4", f"Self={IDENTITY};Root=1-2-3"),
        ("CalledFrom=app", f"Root={IDENTITY};CalledFrom=app"),
    ],
)
def test_trace_ids(had: str | None, expected: str, plain: Lab) -> None:
    found = set()
    for _ in range(3):
        seen = plain.ask("/", *([f"X-Amzn-Trace-Id: {had}"] if had else [])).seen
        (value,) = seen.values("X-Amzn-Trace-Id")
        assert re.fullmatch(expected, value), value
        found.add(value)
    assert len(found) == 3
