"""Access log lines, judged by the expression with which AWS's guide reads them into Athena."""

from __future__ import annotations

import json
import re
import socket
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from gwlbemu.core.elb.rules import (
    FIXED_RESPONSE,
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
)
from gwlbemu.lab.engines import missing
from gwlbemu.programs.application import text_log
from gwlbemu.programs.application.access_log import FILE, SOCKET, AccessLog, access_line, resource
from gwlbemu.topology.names import load_balancer_dimension, target_group_dimension
from tests.programs.application.alb_bench import Bench, address_of, balancer, bench, group, listener, plain, target
from tests.programs.application.http_lab import CLIENT, NODE, Http, forward
from tests.waiting import wait_until

# ALB guide, Querying Application Load Balancer logs (Amazon Athena), CREATE TABLE alb_access_logs.
ATHENA = re.compile(
    r"([^ ]*) ([^ ]*) ([^ ]*) ([^ ]*):([0-9]*) ([^ ]*)[:-]([0-9]*) ([-.0-9]*) ([-.0-9]*) ([-.0-9]*) (|[-0-9]*) "
    r'(-|[-0-9]*) ([-0-9]*) ([-0-9]*) "([^ ]*) (.*) (- |[^ ]*)" "([^"]*)" ([A-Z0-9-_]+) ([A-Za-z0-9.-]*) ([^ ]*) '
    r'"([^"]*)" "([^"]*)" "([^"]*)" ([-.0-9]*) ([^ ]*) "([^"]*)" "([^"]*)" "([^ ]*)" "([^\s]+?)" "([^\s]+)" "([^ ]*)" '
    r'"([^ ]*)" ?([^ ]*)? ?(.*)?'
)
NAMES = (
    "type", "time", "elb", "client_ip", "client_port", "target_ip", "target_port", "request_processing_time",
    "target_processing_time", "response_processing_time", "elb_status_code", "target_status_code", "received_bytes",
    "sent_bytes", "request_verb", "request_url", "request_proto", "user_agent", "ssl_cipher", "ssl_protocol",
    "target_group_arn", "trace_id", "domain_name", "chosen_cert_arn", "matched_rule_priority", "request_creation_time",
    "actions_executed", "redirect_url", "lambda_error_reason", "target_port_list", "target_status_code_list",
    "classification", "classification_reason", "conn_trace_id", "rest",
)  # fmt: skip
INSTANT = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z"


def read(line: str) -> dict[str, str]:
    found = ATHENA.fullmatch(line)
    assert found is not None, line
    return dict(zip(NAMES, found.groups(), strict=True))


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Bench]:
    with bench(tmp_path) as made:
        yield made


def lines(lab: Bench, count: int) -> list[dict[str, str]]:
    """The log as soon as it has so many lines."""
    path = lab.folder / FILE
    wait_until(lambda: path.exists() and len(path.read_text().splitlines()) >= count)
    return [read(line) for line in path.read_text().splitlines()]


@pytest.mark.namespace
@pytest.mark.skipif(missing() is not None, reason="needs HAProxy")
@pytest.mark.contract("AL-21")
def test_each_request_is_a_line_of_awss(lab: Bench) -> None:
    lab.serve(1)
    fixed = Action(FIXED_RESPONSE, fixed_response=FixedResponse(404, "text/plain", "nothing"))
    there = Action(REDIRECT, redirect=Redirect(301, host="there.example"))
    rules = (
        Rule(10, (Condition("path-pattern", ("/fixed",)),), (fixed,)),
        Rule(20, (Condition("path-pattern", ("/there",)),), (there,)),
        Rule(
            30, (Condition("path-pattern", ("/old/*",)),), (forward("web"),), (Transform(URL_REWRITE, "^/old", "/new"),)
        ),
        Rule(40, (Condition("path-pattern", ("/empty",)),), (forward("empty"),)),
    )
    groups = group("web", target(1)), group("empty")
    lab.start(balancer((listener("web", rules=rules),), *groups, access_logs__s3__enabled="true"))
    lab.wait_for_states(t1="healthy")
    with Http() as client:
        client.ask('/a?b="c"', 'User-Agent: a "b" \xc3\xa9', host="Web.example:80")
        for path in ("/fixed", "/there", "/old/x", "/empty"):
            client.ask(path, "X-Amzn-Trace-Id: Root=1-67891233-abcdef012345678912345678")
    with Http() as client:
        client.ask(method="TRACE")
    plain_, fixed_, there_, old, empty, trace = lines(lab, 6)
    assert {name: plain_[name] for name in NAMES if name not in ("time", "request_creation_time", "client_port")} == {
        "type": "http",
        "elb": load_balancer_dimension("app", "web"),
        "client_ip": CLIENT,
        "target_ip": address_of(1),
        "target_port": "8080",
        "request_processing_time": plain_["request_processing_time"],
        "target_processing_time": plain_["target_processing_time"],
        "response_processing_time": "0.000",
        "elb_status_code": "200",
        "target_status_code": "200",
        "received_bytes": plain_["received_bytes"],
        "sent_bytes": plain_["sent_bytes"],
        "request_verb": "GET",
        "request_url": "http://Web.example:80/a?b=\\x22c\\x22",
        "request_proto": "HTTP/1.1",
        "user_agent": "a \\x22b\\x22 \\xC3\\xA9",
        "ssl_cipher": "-",
        "ssl_protocol": "-",
        "target_group_arn": f"arn:aws:elasticloadbalancing:::{target_group_dimension('web')}",
        "trace_id": plain_["trace_id"],
        "domain_name": "-",
        "chosen_cert_arn": "-",
        "matched_rule_priority": "0",
        "actions_executed": "forward",
        "redirect_url": "-",
        "lambda_error_reason": "-",
        "target_port_list": f"{address_of(1)}:8080",
        "target_status_code_list": "200",
        "classification": "-",
        "classification_reason": "-",
        "conn_trace_id": "-",
        "rest": '"-" "-" "-"',
    }
    for name in ("time", "request_creation_time"):
        assert re.fullmatch(INSTANT, plain_[name])
    assert plain_["request_creation_time"] <= plain_["time"] <= fixed_["time"]
    assert re.fullmatch("Root=1-[0-9a-f]{8}-[0-9a-f]{24}", plain_["trace_id"])
    for name in ("request_processing_time", "target_processing_time"):
        assert re.fullmatch(r"\d+\.\d{3}", plain_[name])
    assert int(plain_["received_bytes"]) > 60
    assert int(plain_["sent_bytes"]) > 40

    def some(line: Mapping[str, str]) -> tuple[str, ...]:
        wanted = ("elb_status_code", "target_status_code", "target_ip", "matched_rule_priority", "actions_executed")
        return tuple(line[name] for name in wanted)

    assert some(fixed_) == ("404", "-", "", "10", "fixed-response")
    assert some(there_) == ("301", "-", "", "20", "redirect")
    assert there_["redirect_url"] == "http://there.example:80/there"
    assert some(old) == ("200", "200", address_of(1), "30", "forward")
    assert old["request_url"] == "http://web.example:80/old/x"
    assert old["rest"] == '"-" "/new/x" "TransformSuccess"'
    assert "Root=1-67891233-abcdef012345678912345678" in old["trace_id"]
    assert some(empty)[:2] == ("503", "-")
    assert some(trace) == ("405", "-", "", "0", "-")
    assert lab.ask("status")["access_log"]["written"] == 6


@pytest.mark.namespace
@pytest.mark.skipif(missing() is not None, reason="needs HAProxy")
@pytest.mark.contract("AL-21")
def test_there_is_a_log_only_while_it_is_on(lab: Bench) -> None:
    lab.serve(1)
    lab.start(plain(target(1)))
    lab.wait_for_states(t1="healthy")
    with Http() as client:
        client.ask("/before")
    on = balancer((listener("web"),), group("web", target(1)), access_logs__s3__enabled="true")
    lab.configure(on)
    wait_until(lambda: "log-format" in (lab.folder / "engine.cfg").read_text())
    lab.wait_for_engine()

    def asked() -> bool:
        with Http() as client:
            client.ask("/after")
        return (lab.folder / FILE).exists()

    wait_until(asked)
    assert {line["request_url"] for line in lines(lab, 1)} == {"http://web.example:80/after"}


TOLD = dict.fromkeys(text_log.FIELDS, "-") | {
    "listener": "HTTPS:443", "client": "198.51.100.7", "client_port": "4711", "node": NODE, "node_port": "443",
    "target": "10.0.1.7", "target_port": "80", "received": "1700000000123456", "answered": "1700000001000000",
    "waiting": "1", "queueing": "0", "connecting": "2", "answering": "1500", "status": "200", "target_status": "200",
    "bytes_received": "10", "bytes_sent": "20", "method": "GET", "version": "HTTP/1.1", "asked_url": "/",
    "asked_host": "a.example", "target_group": "web", "tls_version": "TLSv1.3",
    "tls_cipher": "TLS_AES_128_GCM_SHA256", "tls_name": "a.example",
}  # fmt: skip
TOKEN = Action(JWT_VALIDATION, jwt_validation=JwtValidation("https://idp.example/keys", "idp"))
BALANCER = balancer((listener("web"),), group("web", target(1)))


@pytest.mark.contract("AL-21")
@pytest.mark.parametrize(
    ("more", "expected"),
    [
        (
            {},
            {
                "type": "https",
                "ssl_protocol": "TLSv1.3",
                "domain_name": "a.example",
                "time": "2023-11-14T22:13:21.000000Z",
            },
        ),
        ({}, {"request_processing_time": "0.003", "target_processing_time": "1.500"}),
        ({"version": "HTTP/2.0"}, {"type": "h2", "request_proto": "HTTP/2.0"}),
        ({"version": "HTTP/2.0", "content_type": "application/grpc"}, {"type": "grpcs"}),
        ({"upgrade": "WebSocket", "status": "101"}, {"type": "wss"}),
        ({"upgrade": "WebSocket"}, {"type": "https"}),
        ({"connecting": "-1", "answering": "-1"}, {"request_processing_time": "-1", "target_processing_time": "-1"}),
        ({"answering": "-1", "status": "460"}, {"request_processing_time": "0.003", "target_processing_time": "-1"}),
        ({"asked_url": "-", "method": "<BADREQ>"}, {"request_verb": "-", "request_url": "https://a.example:443-"}),
        ({"asked_url": "https://a.example/x?y"}, {"request_url": "https://a.example:443/x?y"}),
        ({"asked_host": "[2001:db8::1]:443"}, {"request_url": "https://[2001:db8::1]:443/"}),
        ({"asked_host": "[2001:db8::1]"}, {"request_url": "https://[2001:db8::1]:443/"}),
        ({"target": "-", "target_port": "0"}, {"target_ip": "", "target_port_list": "-"}),
        ({"target_group": "HTTPS:443"}, {"target_group_arn": "-"}),
    ],
)
def test_fields(more: dict[str, str], expected: dict[str, str]) -> None:
    found = read(access_line(TOLD | more, "web", BALANCER))
    assert {name: found[name] for name in expected} == expected


@pytest.mark.contract("AL-15", "AL-21")
@pytest.mark.parametrize(
    ("token", "group_name", "expected"),
    [("accepted", "web", "jwt-validation,forward"), ("refused", "HTTPS:443", "jwt-validation")],
)
def test_a_verified_token_is_an_action(token: str, group_name: str, expected: str) -> None:
    rule = Rule(7, (Condition("path-pattern", ("*",)),), (TOKEN, forward("web")))
    told = TOLD | {"listener": "HTTP:80", "rule": "7", "token": token, "target_group": group_name}
    found = read(access_line(told, "web", balancer((listener("web", rules=(rule,)),), group("web", target(1)))))
    assert (found["actions_executed"], found["matched_rule_priority"]) == (expected, "7")


def test_a_line_for_which_there_is_no_file_is_counted(tmp_path: Path) -> None:
    (tmp_path / FILE).mkdir()
    log = AccessLog(tmp_path, "web", lambda: BALANCER)
    try:
        assert log.status() == {}
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
            for said in (json.dumps(TOLD).encode(), b"no JSON"):
                sender.sendto(said, str(tmp_path / SOCKET))
        log.read()
        assert log.status() == {"written": 0, "over_rate": 0, "failed": 1, "unread": 1}
    finally:
        log.close()


def test_ids_are_those_of_cloudwatchs_dimensions() -> None:
    assert resource("app/web") == load_balancer_dimension("app", "web")
