"""What an application load balancer answers by itself, and when, by HAProxy itself."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from gwlbemu.core.elb.rules import FIXED_RESPONSE, Action, Condition, FixedResponse, Rule
from gwlbemu.lab import engines
from gwlbemu.programs.application import pages, text
from tests.programs.application.http_lab import (
    Answer,
    Http,
    Lab,
    Seen,
    echo,
    engine,
    forward,
    listener,
    made,
    pool,
    running,
)
from tests.waiting import wait_until

pytestmark = [
    pytest.mark.namespace,
    pytest.mark.skipif(engines.missing() is not None, reason="needs HAProxy"),
]
WEB = pool("web", ("a", "127.0.2.1", 8000))
TITLES = {
    400: "400 Bad Request",
    405: "405 Method Not Allowed",
    408: "408 Request Time-out",
    414: "414 Request-URI Too Large",
    502: "502 Bad Gateway",
    503: "503 Service Temporarily Unavailable",
    504: "504 Gateway Time-out",
    505: "505 HTTP Version Not Supported",
}


def _is_page(answer: Answer, code: int) -> None:
    """Check that an answer is the load balancer's own page for this code, as AWS writes it."""
    title = TITLES[code]
    lines = [
        "<html>",
        f"<head><title>{title}</title></head>",
        "<body>",
        f"<center><h1>{title}</h1></center>",
        "</body>",
    ]
    assert f"{answer.status} {answer.reason}" == title
    assert answer.body.decode() == "".join(f"{line}\r\n" for line in (*lines, "</html>"))
    assert (answer.value("Server"), answer.value("Content-Type")) == ("awselb/2.0", "text/html")
    names = {name for name, _ in answer.headers}
    assert names <= {"Server", "Date", "Content-Type", "Content-Length", "Connection"}


def _by_path(seen: Seen) -> bytes | None:
    match seen.url.partition("?")[0]:
        case "/reset":
            return None
        case "/garbage":
            return b"what?\r\n\r\n"
        case "/long":
            return made(200, b"", f"X-Long: {'a' * 33000}")
        case "/nearly":
            return made(200, b"", *(f"X-Long: {'a' * 8000}" for _ in range(3)))
        case "/own":
            return made(int(seen.url.partition("?")[2]), b"mine", "Server: mine")
    return echo(seen)


@contextmanager
def _running(folder: Path, **more: Any) -> Iterator[Lab]:
    with running(folder, engine(pools=[WEB]), {"a": _by_path}, **more) as lab:
        yield lab


@pytest.mark.contract("AL-11")
@pytest.mark.parametrize("path", ["/reset", "/garbage", "/long"])
def test_a_target_that_breaks_off_or_says_nothing_sensible_is_502(path: str, tmp_path: Path) -> None:
    with _running(tmp_path) as lab:
        _is_page(lab.ask(path), 502)
        assert lab.counter("elb_502") == 1
        assert lab.ask("/nearly").status == 200


@pytest.mark.contract("AL-11")
def test_a_target_that_refuses_connections_is_502(tmp_path: Path) -> None:
    with running(tmp_path, engine(pools=[pool("web", ("nobody", "127.0.2.9", 9))])) as lab:
        _is_page(lab.ask(), 502)
        assert (lab.counter("elb_502"), lab.counter("elb_503")) == (1, 0)


@pytest.mark.contract("AL-11")
def test_a_group_without_targets_is_503(tmp_path: Path) -> None:
    with running(tmp_path, engine(pools=[pool("web")])) as lab, Http() as client:
        for _ in range(2):  # over one connection
            _is_page(client.ask(), 503)
        assert (lab.counter("elb_502"), lab.counter("elb_503")) == (0, 2)


@pytest.mark.contract("AL-11")
def test_a_target_that_takes_no_connection_in_time_is_504(tmp_path: Path) -> None:
    assert text.CONNECT_SECONDS == 10
    # A socket whose queue is full leaves new connections without an answer.
    with socket.socket() as silent:
        silent.bind(("127.0.2.9", 8000))
        silent.listen(0)
        with socket.create_connection(("127.0.2.9", 8000)):
            balancer = engine(pools=[pool("web", ("silent", "127.0.2.9", 8000))])
            with running(tmp_path, balancer, connect_seconds=0.3) as lab:
                began = time.monotonic()
                _is_page(lab.ask(), 504)
                assert time.monotonic() - began >= 0.28
                assert lab.counter("elb_504") == 1


def _waits(folder: Path) -> Callable[[Seen], bytes | None]:
    def answer(seen: Seen) -> bytes | None:
        if seen.url == "/held":
            wait_until(lambda: (folder / "go").exists(), "the test")
        return echo(seen)

    return answer


@pytest.mark.contract("AL-11")
def test_a_target_that_does_not_answer_within_the_idle_timeout_is_504(tmp_path: Path) -> None:
    balancer = engine(pools=[WEB], **{"idle__timeout.timeout__seconds": "1"})
    with running(tmp_path, balancer, {"a": _waits(tmp_path)}) as lab:
        began = time.monotonic()
        _is_page(lab.ask("/held"), 504)
        assert 1 <= time.monotonic() - began < 15
        assert lab.counter("elb_504") == 1
        (tmp_path / "go").touch()


@pytest.mark.contract("AL-22")
def test_requests_that_are_ended_are_502(tmp_path: Path) -> None:
    with running(tmp_path, engine(pools=[WEB]), {"a": _waits(tmp_path)}) as lab, Http() as client:
        client.send(b"GET /held HTTP/1.1\r\nHost: x\r\n\r\n")
        wait_until(lambda: lab.targets["a"].requests, "the request")
        assert list(text.ends(lab.engine, ["other"])) == []
        for command in text.ends(lab.engine, ["a"]):
            lab.command(command)
        _is_page(client.read(), 502)
        (tmp_path / "go").touch()


@pytest.mark.contract("AL-11")
def test_a_client_that_goes_while_it_waits_is_460(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as log:
        log.bind(str(tmp_path / "access"))
        log.settimeout(20)
        balancer = engine(pools=[WEB])
        with running(tmp_path, balancer, {"a": _waits(tmp_path)}, access_log="access") as lab:
            with Http() as client:
                client.send(b"GET /held HTTP/1.1\r\nHost: x\r\n\r\n")
                wait_until(lambda: lab.targets["a"].requests, "the request")
            line = json.loads(log.recv(65536))
            assert (line["status"], line["target_status"], line["asked_url"]) == ("460", "-", "/held")
            assert lab.counter("elb_460") == 1
            (tmp_path / "go").touch()


@pytest.mark.contract("AL-11")
def test_what_is_refused_whatever_the_rules_say(tmp_path: Path) -> None:
    with _running(tmp_path) as lab:
        _is_page(lab.ask(method="TRACE"), 405)
        _is_page(lab.ask(version="1.2"), 505)
        _is_page(lab.ask(version="2.0"), 505)
        _is_page(lab.ask(host=None), 400)
        assert {code: lab.counter(f"elb_{code}") for code in (400, 405, 505)} == {400: 1, 405: 1, 505: 2}
        assert lab.ask(host=None, version="1.0").status == 200


@pytest.mark.contract("AL-23")
def test_limits_of_headers(tmp_path: Path) -> None:
    with _running(tmp_path) as lab:
        _is_page(lab.ask("/" + "a" * 16384), 414)
        assert lab.ask("/" + "a" * 16000).status == 200
        _is_page(lab.ask("/", f"X: {'a' * 16384}"), 400)
        some = [f"X-{number}: {'a' * 16000}" for number in range(5)]
        assert lab.ask("/", *some[:3]).status == 200
        _is_page(lab.ask("/", *some[:3], f"Y: {'a' * 9000}", f"Z: {'a' * 9000}"), 400)
        # What does not even fit into a buffer is HAProxy's own to refuse.
        assert lab.ask("/", *some, *some).status == 400


@pytest.mark.contract("AL-11")
def test_what_is_no_http_is_400_and_a_client_that_stops_gets_408(tmp_path: Path) -> None:
    with running(tmp_path, engine(pools=[WEB], **{"idle__timeout.timeout__seconds": "1"})):
        for raw in b"GARBAGE\r\n\r\n", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n":
            with Http() as client:
                client.send(raw)
                assert client.read().status == 400
        with Http() as client:
            client.send(b"GET / HTTP/1.1\r\nHo")
            assert client.read().status == 408


@pytest.mark.contract("AL-11")
def test_errors_of_targets_stay_theirs(tmp_path: Path) -> None:
    with _running(tmp_path) as lab:
        for code in 400, 404, 500, 502, 503, 504:
            answer = lab.ask(f"/own?{code}")
            assert (answer.status, answer.body, answer.value("Server")) == (code, b"mine", "mine")
        assert all(lab.counter(name) == 0 for name in pages.COUNTERS)


@pytest.mark.contract("AL-20")
def test_an_idle_connection_ends_after_the_idle_timeout(tmp_path: Path) -> None:
    balancer = engine(pools=[WEB], **{"idle__timeout.timeout__seconds": "1"})
    with running(tmp_path, balancer), Http() as client:
        assert client.ask().status == 200
        began = time.monotonic()
        assert client.is_closed()
        assert 0.9 < time.monotonic() - began < 15


@pytest.mark.contract("AL-23")
def test_expect_is_answered_at_once_and_taken_away(tmp_path: Path) -> None:
    with _running(tmp_path) as lab, Http() as client:
        client.send(b"POST / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n")
        assert client.read().status == 100
        assert lab.targets["a"].requests == []
        client.send(b"abc")
        seen = client.read().seen
        assert (seen.body, seen.value("Expect")) == (b"abc", None)


@pytest.mark.contract("AL-23")
def test_a_fixed_response_is_counted(tmp_path: Path) -> None:
    fixed = Action(FIXED_RESPONSE, fixed_response=FixedResponse(503, "text/plain", "closed"))
    rule = Rule(1, (Condition("path-pattern", ("/closed",)),), (fixed,))
    with running(tmp_path, engine(listener(rule, default=(forward("web"),)), pools=[WEB])) as lab, Http() as client:
        answers = [client.ask(path) for path in ("/closed", "/", "/closed")]
        assert [each.status for each in answers] == [503, 200, 503]
        assert answers[0].body == b"closed"
        assert (lab.counter("fixed_responses"), lab.counter("elb_503")) == (2, 0)


@pytest.mark.contract("AL-23")
@pytest.mark.parametrize("drops", [False, True])
def test_header_names_that_are_not_valid_are_dropped_by_attribute(drops: bool, tmp_path: Path) -> None:
    attributes = {"routing.http.drop__invalid__header__fields.enabled": str(drops).lower()}
    with running(tmp_path, engine(pools=[WEB], **attributes)) as lab:
        seen = lab.ask("/", "X_Under: 1", "X-Good-1: 2", "X.Dot: 3").seen
        assert seen.value("X-Good-1") == "2"
        assert (seen.value("X_Under"), seen.value("X.Dot")) == ((None, None) if drops else ("1", "3"))


@pytest.mark.contract("AL-23")
@pytest.mark.parametrize("mode", ["monitor", "defensive", "strictest"])
def test_what_is_refused_by_desync_mitigation_mode(mode: str, tmp_path: Path) -> None:
    with running(tmp_path, engine(pools=[WEB], **{"routing.http.desync__mitigation__mode": mode})) as lab:
        assert lab.ask().status == 200
        assert lab.ask("/", "Content-Length: 0").status == (400 if mode == "strictest" else 200)
        assert lab.ask("/", body=b"x", method="POST").status == 200
        # A character that a request line may not have
        assert lab.ask("/{a}\\|\x80").status == (200 if mode == "monitor" else 400)
