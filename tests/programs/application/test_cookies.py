"""Sticky sessions and the choice among targets, by HAProxy itself."""

from __future__ import annotations

import hmac
import time
from base64 import b64decode, urlsafe_b64decode, urlsafe_b64encode
from collections import Counter
from contextlib import ExitStack
from dataclasses import replace
from email.utils import parsedate_to_datetime
from http.cookies import SimpleCookie
from itertools import pairwise
from pathlib import Path

import pytest

from gwlbemu.core.application.engine import Engine, Pool
from gwlbemu.lab import engines
from gwlbemu.programs.application import cookies, keyed
from tests.programs.application.http_lab import Answer, Http, Lab, Seen, echo, engine, forward, listener, pool, running
from tests.waiting import wait_until

pytestmark = [
    pytest.mark.namespace,
    pytest.mark.skipif(engines.missing() is not None, reason="needs HAProxy"),
]
TARGETS = [(name, f"127.0.2.{number}", 8000) for number, name in enumerate("abcd", 1)]
LB_COOKIE = {"stickiness.enabled": "true", "stickiness.lb_cookie.duration_seconds": "100"}
APP_COOKIE = {
    "stickiness.enabled": "true",
    "stickiness.type": "app_cookie",
    "stickiness.app_cookie.cookie_name": "SID",
    "stickiness.app_cookie.duration_seconds": "100",
}
SECRET = b"a secret of the nodes"
WEEK = 7 * 86400


def _jar(answer: Answer) -> dict[str, str]:
    """Return the cookies of an answer."""
    return {name: one.value for line in answer.values("Set-Cookie") for name, one in SimpleCookie(line).items()}


def _sent(jar: dict[str, str]) -> str:
    return "Cookie: " + "; ".join(f"{name}={value}" for name, value in jar.items())


def _signed(kind: str, who: str, made_at: int, secret: bytes = SECRET) -> str:
    said = f"{who}|{made_at}|x".encode()
    key = b64decode(keyed.key(secret, kind))
    return f"{urlsafe_b64encode(said).decode().rstrip('=')}.{hmac.new(key, said, 'sha256').hexdigest().upper()}"


def _who(value: str) -> str:
    return urlsafe_b64decode(value.partition(".")[0] + "==").decode().partition("|")[0]


def _served(lab: Lab, *headers: str, count: int = 8) -> set[str]:
    return {lab.ask("/", *headers).seen.target for _ in range(count)}


def _without(before: Engine, *servers: str) -> Engine:
    """Return an engine in which these servers take no requests."""
    pools = [
        replace(each, servers=tuple(replace(one, takes_requests=one.name not in servers) for one in each.servers))
        for each in before.pools
    ]
    return replace(before, pools=tuple(pools))


def _sticky() -> Engine:
    return engine(pools=[pool("web", *TARGETS, attributes=LB_COOKIE)])


@pytest.mark.contract("AL-06")
def test_a_client_with_awsalb_stays_on_its_target(tmp_path: Path) -> None:
    with running(tmp_path, _sticky()) as lab:
        answer = lab.ask()
        first, jar, values = answer.seen.target, _jar(answer), set()
        assert set(jar) == {"AWSALB", "AWSALBCORS"}
        assert jar["AWSALB"] == jar["AWSALBCORS"]
        for _ in range(8):
            answer = lab.ask("/", _sent(jar))
            assert answer.seen.target == first
            jar = _jar(answer)
            values.add(jar["AWSALB"])
        assert len(values) == 8  # a new value each time
        assert _served(lab, f"Cookie: AWSALBCORS={jar['AWSALBCORS']}") == {first}
        assert _served(lab) == set("abcd")


@pytest.mark.contract("AL-06")
def test_the_attributes_of_awsalb(tmp_path: Path) -> None:
    with running(tmp_path, _sticky()) as lab:
        answer = lab.ask()
        own, cors = answer.values("Set-Cookie")
        for line, more in (own, ["Path=/"]), (cors, ["Path=/", "SameSite=None"]):
            _, expires, *rest = line.split("; ")
            assert rest == more  # no HttpOnly, no Domain, no Max-Age
            left = parsedate_to_datetime(expires.removeprefix("Expires=")).timestamp() - time.time()
            assert WEEK - 30 < left <= WEEK


@pytest.mark.contract("AL-06")
def test_a_cookie_that_is_not_good_or_too_old_gets_another_target(tmp_path: Path) -> None:
    with running(tmp_path, _sticky()) as lab:
        now = int(time.time())
        good = _signed("AWSALB", "c", now - 90)
        assert _served(lab, f"Cookie: AWSALB={good}") == {"c"}
        text, _, mac = good.partition(".")
        for bad in (
            _signed("AWSALB", "c", now - 101),
            _signed("AWSALB", "c", now, b"another secret"),
            _signed("AWSALBTG", "c", now),
            _signed("AWSALB", "no-such-server", now),
            f"{text}.{mac[:-1]}{'0' if mac[-1] != '0' else '1'}",
            f"{text[:-4]}AAAA.{mac}",
            text,
            "...",
            "%%%",
        ):
            assert _served(lab, f"Cookie: AWSALB={bad}") == set("abcd"), bad
            assert _who(_jar(lab.ask("/", f"Cookie: AWSALB={bad}"))["AWSALB"]) in "abcd"


@pytest.mark.contract("AL-06")
def test_a_client_of_a_dead_target_moves_and_stays_there(tmp_path: Path) -> None:
    with running(tmp_path, _sticky()) as lab:
        answer = lab.ask()
        first, jar = answer.seen.target, _jar(answer)
        before = lab.engine
        lab.change(_without(before, first))
        answer = lab.ask("/", _sent(jar))
        second, jar = answer.seen.target, _jar(answer)
        assert second != first
        lab.change(before)
        assert _served(lab, _sent(jar)) == {second}


@pytest.mark.contract("AL-06")
def test_another_node_with_the_same_secret_honours_a_cookie(tmp_path: Path) -> None:
    with running(tmp_path, _sticky()) as lab:
        answer = lab.ask()
    (tmp_path / "b").mkdir()
    with running(tmp_path / "b", replace(_sticky(), addresses=("127.0.1.2",))):
        for _ in range(6):
            with Http(address="127.0.1.2") as client:
                assert client.ask("/", _sent(_jar(answer))).seen.target == answer.seen.target


def _logs_in(seen: Seen) -> bytes:
    answer = echo(seen)
    if seen.url == "/login":
        return answer.replace(b"\r\n", f"\r\nSet-Cookie: SID={seen.target}; Path=/\r\n".encode(), 1)
    return answer


@pytest.mark.contract("AL-07")
def test_a_session_begins_with_the_targets_cookie_and_needs_both(tmp_path: Path) -> None:
    balancer = engine(pools=[pool("web", *TARGETS, attributes=APP_COOKIE)])
    with running(tmp_path, balancer, dict.fromkeys("abcd", _logs_in)) as lab:
        assert lab.ask().values("Set-Cookie") == []
        assert lab.ask("/", "Cookie: SID=x").values("Set-Cookie") == []
        answer = lab.ask("/login")
        first, jar = answer.seen.target, _jar(answer)
        assert jar == {"SID": first, "AWSALBAPP-0": jar["AWSALBAPP-0"]} | {
            f"AWSALBAPP-{n}": "_remove_" for n in (1, 2, 3)
        }
        assert _served(lab, _sent(jar)) == {first}
        assert _served(lab, f"Cookie: AWSALBAPP-0={jar['AWSALBAPP-0']}") == set("abcd")
        assert _served(lab, f"Cookie: SID={first}") == set("abcd")
        renewed = _jar(lab.ask("/", _sent(jar)))
        assert renewed["AWSALBAPP-0"] != jar["AWSALBAPP-0"]
        now = int(time.time())
        for age, served in (90, {"b"}), (101, set("abcd")):
            assert _served(lab, _sent({"SID": "x", "AWSALBAPP-0": _signed("AWSALBAPP", "b", now - age)})) == served


@pytest.mark.contract("AL-07")
def test_a_session_moves_for_good_when_its_target_is_dead(tmp_path: Path) -> None:
    balancer = engine(pools=[pool("web", *TARGETS, attributes=APP_COOKIE)])
    with running(tmp_path, balancer, dict.fromkeys("abcd", _logs_in)) as lab:
        answer = lab.ask("/login")
        first, jar = answer.seen.target, _jar(answer)
        lab.change(_without(balancer, first))
        answer = lab.ask("/", _sent(jar))
        second = answer.seen.target
        jar |= _jar(answer)
        lab.change(balancer)
        assert second != first
        assert _served(lab, _sent(jar)) == {second}


def _groups(sticky: str = "") -> list[Pool]:
    attributes = LB_COOKIE if sticky else {}
    return [pool("blue", *TARGETS[:2], attributes=attributes), pool("green", *TARGETS[2:], attributes=attributes)]


@pytest.mark.contract("AL-08")
def test_a_client_with_awsalbtg_stays_on_its_group(tmp_path: Path) -> None:
    shares = forward(("blue", 1), ("green", 1), sticky_seconds=100)
    with running(tmp_path, engine(listener(default=(shares,)), pools=_groups())) as lab:
        answer = next(got for got in iter(lab.ask, None) if got.seen.target in "cd")
        jar = _jar(answer)
        assert set(jar) == {"AWSALBTG", "AWSALBTGCORS"}
        assert _served(lab, _sent(jar), count=12) == set("cd")
        assert _jar(lab.ask("/", _sent(jar)))["AWSALBTG"] != jar["AWSALBTG"]
        now, green = int(time.time()), _who(jar["AWSALBTG"])
        assert "green" not in green
        assert _served(lab, f"Cookie: AWSALBTG={_signed('AWSALBTG', green, now - 90)}", count=12) == set("cd")
        for bad in (_signed("AWSALBTG", green, now - 101), _signed("AWSALB", green, now), "x"):
            while lab.ask("/", f"Cookie: AWSALBTG={bad}").seen.target in "cd":
                pass  # the group is chosen by chance again: a cookie that held would never end this


@pytest.mark.contract("AL-08")
def test_the_group_and_the_target_both_stay(tmp_path: Path) -> None:
    shares = forward(("blue", 1), ("green", 1), sticky_seconds=100)
    with running(tmp_path, engine(listener(default=(shares,)), pools=_groups("sticky"))) as lab:
        answer = lab.ask()
        jar = _jar(answer)
        assert set(jar) == {"AWSALB", "AWSALBCORS", "AWSALBTG", "AWSALBTGCORS"}
        assert _served(lab, _sent(jar), count=12) == {answer.seen.target}


@pytest.mark.contract("AL-05")
def test_round_robin_is_exact_over_kept_connections_of_many_clients(tmp_path: Path) -> None:
    with running(tmp_path, engine(pools=[pool("web", *TARGETS)])), ExitStack() as stack:
        clients = [stack.enter_context(Http()) for _ in range(10)]
        served = Counter(client.ask().seen.target for _ in range(8) for client in clients)
        assert served == dict.fromkeys("abcd", 20)


@pytest.mark.contract("AL-05")
def test_least_outstanding_requests_goes_to_who_has_fewest(tmp_path: Path) -> None:
    def waits(seen: Seen) -> bytes:
        if seen.url == "/held":
            wait_until(lambda: (tmp_path / "go").exists(), "the test")
        return echo(seen)

    attributes = {"load_balancing.algorithm.type": "least_outstanding_requests"}
    balancer = engine(pools=[pool("web", *TARGETS[:2], attributes=attributes)])
    with running(tmp_path, balancer, dict.fromkeys("ab", waits)) as lab, Http() as first, Http() as second:
        first.send(b"GET /held HTTP/1.1\r\nHost: x\r\n\r\n")
        held = wait_until(lambda: [each.name for each in lab.targets.values() if each.requests], "the held request")
        others = [second.ask().seen.target for _ in range(6)]
        (tmp_path / "go").touch()
        assert first.read().seen.target == held[0]
        assert set(others) == set("ab") - set(held)


@pytest.mark.contract("AL-05")
def test_weighted_random_gives_each_target_its_share_in_no_order(tmp_path: Path) -> None:
    attributes = {"load_balancing.algorithm.type": "weighted_random"}
    with running(tmp_path, engine(pools=[pool("web", *TARGETS, attributes=attributes)])), Http() as client:
        served = [client.ask().seen.target for _ in range(400)]
    # Six standard deviations of the binomial distribution: passes by chance all but once in 10^8 runs.
    assert all(abs(served.count(name) - 100) < 6 * 75**0.5 for name in "abcd")
    assert len(set(pairwise(served))) == 16  # round robin has four


def test_a_cookie_is_signed_with_a_key_of_its_kind() -> None:
    kinds = (cookies.BALANCER, cookies.GROUP, cookies.APPLICATION)
    assert len({keyed.key(SECRET, kind) for kind in kinds} | {keyed.key(b"other", "AWSALB")}) == 4
