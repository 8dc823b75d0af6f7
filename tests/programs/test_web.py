"""The web server of an instance, asked by curl."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.waiting import PATIENCE

HERE = Path(__file__).parents[2]
PORT = 8080


@pytest.fixture(scope="module")
def web() -> Iterator[subprocess.Popen[str]]:
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    command = [sys.executable, "-m", "gwlbemu.programs.web", "--name", "web-a", "--port", str(PORT)]
    process = subprocess.Popen(command, cwd=HERE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        assert process.stdout.readline() == f"web-a: ready on port {PORT}\n"
        yield process
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=PATIENCE) == 0
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def curl(*arguments: str) -> str:
    done = subprocess.run(["curl", "-s", "-m", str(PATIENCE), *arguments], capture_output=True, text=True, check=True)
    return done.stdout


@pytest.mark.namespace
@pytest.mark.usefixtures("web")
class TestWeb:
    def test_it_says_its_name_and_who_asked(self) -> None:
        lines = curl("--local-port", "45000", "-H", "X-Odd: yes", f"http://127.0.0.1:{PORT}/a?b").splitlines()
        assert lines[:3] == ["web-a", "peer: 127.0.0.1 port 45000", "request: GET /a?b HTTP/1.1"]
        assert "  X-Odd: yes" in lines[3:]

    @pytest.mark.parametrize(
        "arguments",
        [["-H", "Accept: application/json", f"http://127.0.0.1:{PORT}/x"], [f"http://127.0.0.1:{PORT}/x?json"]],
    )
    def test_it_answers_in_json_when_asked(self, arguments: list[str]) -> None:
        facts = json.loads(curl("-H", "X-Odd: yes", *arguments))
        assert (facts["name"], facts["peer_address"], facts["method"]) == ("web-a", "127.0.0.1", "GET")
        assert facts["headers"]["X-Odd"] == "yes"

    def test_it_listens_on_ipv6(self) -> None:
        assert "peer: ::1 port " in curl(f"http://[::1]:{PORT}/")

    @pytest.mark.parametrize("size", [0, 1, 65454, 65455, 1_000_000])
    def test_it_sends_as_many_bytes_as_asked(self, size: int) -> None:
        assert len(curl(f"http://127.0.0.1:{PORT}/bytes/{size}")) == size

    def test_it_refuses_a_size_that_is_none(self) -> None:
        assert curl("-o", "/dev/null", "-w", "%{http_code}", f"http://127.0.0.1:{PORT}/bytes/many") == "400"

    @pytest.mark.parametrize(
        ("path", "status"),
        [("/status/503", 503), ("/status/204", 204), ("/status/99", 400), ("/status/x", 400), ("/delay/0.01", 200),
         ("/delay/x", 400), ("/delay/-1", 400), ("/status/", 400)],
    )  # fmt: skip
    def test_it_answers_with_a_status_or_after_a_time_that_was_asked_for(self, path: str, status: int) -> None:
        said = curl("-o", "/dev/null", "-w", "%{http_code} %{time_total}", f"http://127.0.0.1:{PORT}{path}").split()
        assert int(said[0]) == status
        assert path != "/delay/0.01" or float(said[1]) >= 0.01

    @pytest.mark.parametrize(("query", "name"), [("", "session"), ("?cookie=JSESSIONID&json", "JSESSIONID")])
    def test_a_login_sets_a_cookie_of_its_own(self, query: str, name: str) -> None:
        heads = [curl("-D", "-", "-o", "/dev/null", f"http://127.0.0.1:{PORT}/login{query}") for _ in range(2)]
        cookies = [line for head in heads for line in head.splitlines() if line.startswith("Set-Cookie:")]
        assert len(set(cookies)) == 2
        assert all(line.startswith(f"Set-Cookie: {name}=web-a-") and line.endswith("; Path=/") for line in cookies)

    def test_a_header_that_came_twice_is_told_whole(self) -> None:
        facts = json.loads(curl("-H", "X-Odd: one", "-H", "X-Odd: two", f"http://127.0.0.1:{PORT}/?json"))
        assert facts["headers"]["X-Odd"] == "one, two"

    def test_one_connection_serves_several_requests(self) -> None:
        url = f"http://127.0.0.1:{PORT}/bytes/3"
        assert curl("-o", "/dev/null", "-o", "/dev/null", "-w", "%{num_connects} ", url, url) == "1 0 "

    def test_it_reads_a_request_body_and_reports_its_length(self) -> None:
        facts = json.loads(curl("-d", "x" * 70_000, f"http://127.0.0.1:{PORT}/?json"))
        assert (facts["method"], facts["body_length"]) == ("POST", 70_000)
        assert "Content-Length: " in curl("-I", f"http://127.0.0.1:{PORT}/")


@pytest.mark.namespace
def test_a_port_that_is_taken_is_said_in_one_line(web: subprocess.Popen[str]) -> None:
    command = [sys.executable, "-m", "gwlbemu.programs.web", "--name", "web-b", "--port", str(PORT)]
    done = subprocess.run(command, cwd=HERE, capture_output=True, text=True, timeout=PATIENCE)
    assert done.returncode == 2
    assert done.stderr == f"web-b: cannot listen on port {PORT}: Address already in use\n"
