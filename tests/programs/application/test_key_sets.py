"""Keys from a JWKS endpoint: asked for from inside the node, and what tokens are worth by them."""

from __future__ import annotations

import asyncio
import http.server
import json
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from gwlbemu.core.elb.rules import JWT_VALIDATION, Action, Condition, JwtValidation, Rule
from gwlbemu.lab.engines import missing
from gwlbemu.programs.application import jwks
from gwlbemu.programs.application.key_sets import FetchError, address_of, fetch
from gwlbemu.wire import dns
from tests.programs.application.alb_bench import balancer, bench, group, listener, target
from tests.programs.application.http_lab import NODE, Http, forward
from tests.programs.application.test_jwt import _jwk, _token
from tests.waiting import wait_until

pytestmark = [pytest.mark.namespace, pytest.mark.contract("AL-15")]
IDP, RESOLVER = "127.0.3.1", "127.0.3.53"


@pytest.fixture(autouse=True)
def loopback() -> None:
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)


@contextmanager
def endpoint(answers: dict[str, tuple[int, bytes]]) -> Iterator[tuple[str, list[str]]]:
    """An HTTP server with these answers by path; yields its URL and who has asked."""
    callers: list[str] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            callers.append(self.client_address[0])
            status, body = answers.get(self.path, (404, b""))
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer((IDP, 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield f"http://{IDP}:{server.server_port}", callers
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def test_what_is_at_a_url_is_fetched_from_the_nodes_address() -> None:
    with endpoint({"/keys?a=b": (200, b'{"keys": []}'), "/no": (500, b"")}) as (url, callers):
        assert asyncio.run(fetch(f"{url}/keys?a=b", NODE)) == b'{"keys": []}'
        assert set(callers) == {NODE}
        with pytest.raises(FetchError, match="500"):
            asyncio.run(fetch(f"{url}/no", NODE))
    for wrong in ("ftp://a.example/", "keys", "http://a.example:x/"):
        with pytest.raises(FetchError, match="no URL"):
            asyncio.run(fetch(wrong, NODE))
    with pytest.raises(ConnectionRefusedError):
        asyncio.run(fetch(f"http://{IDP}:1/", NODE))


def test_a_host_is_asked_for_at_the_resolver() -> None:
    known = {"idp.app.internal": [socket.inet_aton(IDP)]}
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as resolver:
        resolver.bind((RESOLVER, 0))

        def answer() -> None:
            for _ in range(3):
                data, who = resolver.recvfrom(512)
                question = dns.decode_question(data)
                found = known.get(question.name)
                code = dns.NXDOMAIN if found is None else dns.NOERROR
                resolver.sendto(b"junk", who)
                resolver.sendto(dns.encode_answer(question, code, found or ()), who)

        thread = threading.Thread(target=answer)
        thread.start()
        port = resolver.getsockname()[1]
        assert asyncio.run(address_of("idp.app.internal", RESOLVER, port)) == IDP
        with pytest.raises(FetchError, match="there is no host"):
            asyncio.run(address_of("other.app.internal", RESOLVER, port))
        thread.join()
    assert asyncio.run(address_of(IDP)) == IDP


@pytest.mark.skipif(missing() is not None, reason="needs HAProxy")
def test_tokens_are_accepted_as_soon_as_there_are_keys(tmp_path: Path) -> None:
    answers: dict[str, tuple[int, bytes]] = {}
    with bench(tmp_path) as lab, endpoint(answers) as (url, callers):
        lab.serve(1)
        token = Action(JWT_VALIDATION, jwt_validation=JwtValidation(f"{url}/keys", "idp"))
        rule = Rule(1, (Condition("path-pattern", ("*",)),), (token, forward("web")))
        lab.start(balancer((listener("web", rules=(rule,)),), group("web", target(1))))
        good = _token({"iss": "idp", "exp": int(time.time()) + 600}, kid="one")

        def status(token: str) -> int:
            with Http() as client:
                return client.ask("/", f"Authorization: Bearer {token}").status

        wait_until(lambda: callers)
        assert status(good) == 401
        answers["/keys"] = (200, json.dumps({"keys": [_jwk("one", kid="one")]}).encode())
        wait_until(lambda: status(good) == 200)
        assert status("none") == 401
        assert set(callers) == {NODE}
        metrics = lab.metrics()
        assert metrics["JWTValidationSuccessCount"] >= 1
        assert metrics["JWTValidationFailureCount"] >= 1
    assert f"keys at {url}/keys: 1 keys" in (tmp_path / "keeper.log").read_text()


def test_a_document_that_is_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(jwks.JwksError):
        jwks.write(b"[]", tmp_path)
