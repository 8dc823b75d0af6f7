"""The text as such: what it says of itself, what it leaves out, and the datagrams of its access log."""

from __future__ import annotations

import json
import socket
import time
from dataclasses import replace
from pathlib import Path

import pytest

from gwlbemu.core.elb.rules import REDIRECT, Action, Condition, Redirect, Rule
from gwlbemu.lab import engines
from gwlbemu.programs.application import text, text_log
from gwlbemu.programs.application.words import argument, plain, substitution, word
from gwlbemu.programs.haproxy.description import description_of
from tests.programs.application.http_lab import CLIENT, NODE, Http, engine, forward, listener, made, pool, running

WEB = pool("web", ("a", "127.0.2.1", 8000), ("b", "127.0.2.2", 8000))


def test_a_text_tells_of_everything_by_its_description() -> None:
    plain_one = engine(pools=[WEB])
    down = replace(WEB, servers=(replace(WEB.servers[0], takes_requests=False, weight=5), WEB.servers[1]))
    said = [
        text.text(plain_one),
        text.text(plain_one, access_log="access"),
        text.text(engine(pools=[down])),
        text.text(engine(listener(port=81), pools=[WEB])),
    ]
    assert len({description_of(each) for each in said}) == 4
    assert "  server a 127.0.2.1:8000 weight 5 disabled\n" in said[2]
    assert text.text(plain_one) == said[0]


def test_a_change_of_states_is_commands() -> None:
    before = engine(pools=[WEB])
    down = replace(WEB, servers=(replace(WEB.servers[0], takes_requests=False, weight=5), WEB.servers[1]))
    after = replace(before, pools=(down,))
    assert before.shape == after.shape
    assert list(text.changes(before, before)) == []
    assert list(text.changes(before, after)) == ["set server web/a weight 5", "set server web/a state maint"]
    assert list(text.changes(after, before)) == ["set server web/a weight 100", "set server web/a state ready"]
    assert list(text.ends(before, ["b", "z"])) == ["shutdown sessions server web/b"]


def test_a_plain_forward_has_nothing_that_it_does_not_use() -> None:
    _, _, said = text.text(engine(pools=[WEB])).partition("\nfrontend ")
    absent = (
        "cookie",
        "jwt",
        "log-format",
        "txn.rule",
        "txn.share",
        "ssl_",
        "set-pathq",
        "use-server",
        "fc_http_major",
    )
    assert said.startswith("HTTP:80\n")
    assert [each for each in absent if each in said] == []


def test_words_hold_what_is_in_them() -> None:
    assert word('a "b" $c \\ \n') == '"a \\"b\\" \\$c \\\\ \\n"'
    assert plain("100%") == '"100%%"'
    assert argument("it's") == "'it'\\''s'"
    assert substitution("(a)", r"$1\1$0") == r"regsub('(a)','\1\\1$0')"


@pytest.mark.namespace
@pytest.mark.skipif(engines.missing() is not None, reason="needs HAProxy")
def test_names_of_headers_and_cookies_may_have_every_character_of_a_token(tmp_path: Path) -> None:
    name = "a!#$%&'*+.^_`|~-1"
    attributes = {
        "stickiness.enabled": "true",
        "stickiness.type": "app_cookie",
        "stickiness.app_cookie.cookie_name": name,
    }
    api = pool("api", ("c", "127.0.2.3", 8000), attributes=attributes)
    rule = Rule(1, (Condition("http-header", ("yes",), header=name),), (forward("api"),))
    answers = {"c": lambda seen: made(200, b"c", f"Set-Cookie: {name}=x")}
    with running(tmp_path, engine(listener(rule), pools=[WEB, api]), answers) as lab:
        answer = lab.ask("/", f"{name}: yes")
        assert answer.body == b"c"
        assert any(each.startswith("AWSALBAPP-0=") for each in answer.values("Set-Cookie"))
        assert lab.ask("/", f"{name}: no").body != b"c"


@pytest.mark.namespace
@pytest.mark.skipif(engines.missing() is not None, reason="needs HAProxy")
@pytest.mark.contract("AL-21")
def test_a_datagram_of_json_tells_of_each_request(tmp_path: Path) -> None:
    moved = Action(REDIRECT, redirect=Redirect(301, host="new.example"))
    rules = [
        Rule(5, (Condition("path-pattern", ("/moved",)),), (moved,)),
        Rule(7, (Condition("path-pattern", ("/app*",)),), (forward("web"),)),
    ]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as log:
        log.bind(str(tmp_path / "access"))
        log.settimeout(20)
        balancer = engine(listener(*rules), pools=[replace(WEB, servers=WEB.servers[:1])])
        with running(tmp_path, balancer, access_log="access"), Http() as client:
            began = time.time()
            odd = 'User-Agent: \\"x" \t\x01é'
            seen = client.ask("/app?q='\"%[x]\\", odd, host="Web.example:81").seen
            told = json.loads(log.recv(65536))
            assert set(told) == set(text_log.FIELDS)
            assert began - 1 < int(told["received"]) / 1e6 <= int(told["answered"]) / 1e6 < time.time() + 1
            assert {
                "listener": "HTTP:80",
                "client": CLIENT,
                "client_port": str(client.source_port),
                "node": NODE,
                "node_port": "80",
                "target_group": "web",
                "server": "a",
                "target": "127.0.2.1",
                "target_port": "8000",
                "status": "200",
                "target_status": "200",
                "method": "GET",
                "version": "HTTP/1.1",
                "asked_url": "/app?q='\"%[x]\\",
                "asked_host": "Web.example:81",
                "trace": seen.value("X-Amzn-Trace-Id"),
                "rule": "7",
                "tls_version": "-",
            }.items() <= told.items()
            assert told["user_agent"].startswith('\\"x" ')
            assert int(told["bytes_sent"]) > 100
            client.ask("/moved")
            told = json.loads(log.recv(65536))
            assert (told["status"], told["target_status"], told["rule"]) == ("301", "-", "5")
            assert told["location"] == "http://new.example:80/moved"
            client.ask("/")
            assert json.loads(log.recv(65536))["rule"] == "-"
