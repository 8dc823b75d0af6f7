"""`gwlbemu http`: requests from inside a lab, by the bundled client and by curl with the same cookies."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from gwlbemu import Lab
from gwlbemu.cli.http import http_lines
from gwlbemu.cli.main import main
from gwlbemu.errors import SettingError
from gwlbemu.trials.web.answers import HttpAnswer, HttpReport, ReceivedCookie
from gwlbemu.trials.web.requests import MOST, http
from tests.lab.fronts import ONLY_A, PUBLIC, front

URL = f"http://{PUBLIC['a']}"


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with Lab(front(lab="web-client")) as lab:
        yield lab


@pytest.mark.namespace
def test_who_answered_is_told_with_zone_and_what_the_target_saw(lab: Lab) -> None:
    report = lab.http("client", f"{URL}:{ONLY_A}/x?y")
    (answer,) = report.answers
    assert (answer.status, answer.target, answer.zone, answer.address) == (200, "web-a", "a", PUBLIC["a"])
    assert (answer.seen["path"], answer.seen["peer_address"]) == ("/x?y", "198.51.100.10")
    assert answer.seen["peer_port"] == answer.source_port
    assert (report.ok, report.targets, report.zones) == (True, {"web-a": 1}, {"a": 1})


@pytest.mark.namespace
def test_each_request_has_a_connection_of_its_own_or_all_have_one(lab: Lab) -> None:
    several = lab.http("client", f"{URL}/", count=4)
    assert len({each.source_port for each in several.answers}) == 4
    one = lab.http("client", f"{URL}/", count=4, keep_alive=True)
    assert {each.connection for each in one.answers} == {1}
    assert len(one.targets) == 1


@pytest.mark.namespace
def test_cookies_persist_in_a_file_that_curl_has_in_common(lab: Lab, tmp_path: Path) -> None:
    jar = tmp_path / "jar"
    first = lab.http("client", f"{URL}/login", cookies=jar)
    (cookie,) = first.answers[0].cookies_set
    assert first.answers[0].cookies_sent == {}
    second = lab.http("client", f"{URL}/", cookies=jar)
    assert second.answers[0].cookies_sent == {"session": cookie.value}
    assert second.answers[0].seen["headers"]["Cookie"] == f"session={cookie.value}"
    said = lab.exec("client", ["curl", "-s", "-b", str(jar), "-c", str(jar), f"{URL}/login?json&cookie=other"]).stdout
    assert json.loads(said)["headers"]["Cookie"] == f"session={cookie.value}"
    third = lab.http("client", f"{URL}/", cookies=jar).answers[0]
    assert third.cookies_sent.keys() == {"session", "other"}
    assert lab.http("client", f"{URL}/").answers[0].cookies_sent == {}


@pytest.mark.namespace
@pytest.mark.parametrize(
    ("url", "error"),
    [
        ("http://198.51.100.10:9/", "connection refused"),
        ("http://nowhere.internal/", "nowhere.internal has no address"),
        (f"https://{PUBLIC['a']}:80/", "TLS: "),
    ],
)
def test_why_there_is_no_answer_is_told(lab: Lab, url: str, error: str, capsys: pytest.CaptureFixture[str]) -> None:
    (answer,) = lab.http("client", url).answers
    assert (answer.status, answer.error[: len(error)]) == (0, error)
    assert main(["http", "--lab", lab.name, "client", url]) == 1
    assert "no answer" in capsys.readouterr().out


@pytest.mark.namespace
def test_a_cookie_file_of_another_form_is_refused_and_stays(
    lab: Lab, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    jar = tmp_path / "jar"
    jar.write_text("no cookies\n")
    assert main(["http", "--lab", lab.name, "client", f"{URL}/", "--cookies", str(jar)]) == 3
    assert "the cookie file: line 1: expected 7 fields" in capsys.readouterr().err
    assert jar.read_text() == "no cookies\n"


@pytest.mark.namespace
def test_the_command_prints_json_with_the_distribution(lab: Lab, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["http", "--lab", lab.name, "client", f"{URL}:{ONLY_A}/", "--count", "3", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert (said["targets"], said["zones"], said["ok"], len(said["answers"])) == ({"web-a": 3}, {"a": 3}, True, 3)


@pytest.mark.namespace
@pytest.mark.parametrize(
    "url", ["ftp://x/", "http://", "x", "http://x:99999/", "http://x:0/", "http://x/a b", "http://x/é"]
)
def test_what_is_no_url_is_refused(lab: Lab, url: str) -> None:
    with pytest.raises(SettingError, match=r"URL|expected http://HOST/PATH"):
        lab.http("client", url)


@pytest.mark.namespace
def test_the_count_is_bounded(lab: Lab) -> None:
    with pytest.raises(SettingError, match="expected 1 to 10,000"):
        http(lab.running, "client", f"{URL}/", count=MOST + 1)


def answer(number: int, target: str, zone: str, **others: object) -> HttpAnswer:
    return HttpAnswer(number, 200, "OK", target=target, zone=zone, address="10.0.0.1", port=80, **others)  # type: ignore[arg-type]


def test_cookies_headers_and_bars_are_told() -> None:
    cookie = ReceivedCookie("AWSALB", "abc", "web", "/", 1_796_491_040, True, False, False, "None")
    seen = {
        "peer_address": "10.0.101.254", "peer_port": 5,
        "headers": {"X-Forwarded-For": "198.51.100.10", "X-Amzn-Trace-Id": "Root=1-2-3", "Accept": "x"},
    }  # fmt: skip
    answers = (
        answer(1, "web-a", "a", cookies_sent={"s": "1"}, cookies_set=(cookie,), seen=seen),
        answer(2, "web-b", "b"), answer(3, "web-b", "b"), answer(4, "", ""),
        HttpAnswer(5, error="connection refused"),
    )  # fmt: skip
    report = HttpReport("client", "http://web/", 6, answers)
    assert report.targets == {"web-b": 2, "web-a": 1, "": 1}
    own = HttpAnswer(1, 503, headers=(("Server", "awselb/2.0"),))
    assert "503  the load balancer  " in next(iter(http_lines(HttpReport("client", "http://web/", 1, (own,)))))
    lines = list(http_lines(report))
    assert "      sent      cookie s=1" in lines
    assert "      set       cookie AWSALB=abc  (expires 2026-12-05 17:17:20 UTC; path /; SameSite=None)" in lines
    assert "      target    X-Forwarded-For: 198.51.100.10" in lines
    assert not [line for line in lines if "Accept" in line]
    assert "   5  no answer: connection refused, after 0.0 ms" in lines
    assert "! 1 of 6 requests were not sent: it took too long" in lines
    bars = {line.split("  ")[0]: line.count("#") for line in lines if line.endswith("#")}
    assert (bars["web-a (zone a)"], bars["web-b (zone b)"], bars["nobody who says who it is"]) == (20, 40, 20)
    assert lines[-1] == "status    200: 4; no answer: 1"
    assert not report.ok
