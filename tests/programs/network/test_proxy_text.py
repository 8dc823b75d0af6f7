"""The text that HAProxy is given, judged by HAProxy; what it answers, as it answers it."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from gwlbemu.core.elb.tls import Tls
from gwlbemu.core.network.proxy import Backend, Frontend, Proxy, Server
from gwlbemu.lab import engines
from gwlbemu.programs.haproxy import master as haproxy
from gwlbemu.programs.haproxy.description import description_of
from gwlbemu.programs.network import proxy_text

SERVERS = (Server("target-1", "10.0.1.11", 80, True), Server("target-2", "10.0.1.12", 80, False))
BACKEND = Backend("TLS:443:web", SERVERS, "10.0.9.10", True, False, False, False, 350, True)
FRONTEND = Frontend("TLS:443", "10.0.9.10", 443, Tls(("c.pem",)), (("TLS:443:web", 1000),), False, 350)
PROXY = Proxy((FRONTEND,), (BACKEND,))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("proxy")
    new = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", "k.pem", "-out", "c.pem")
    words = ["openssl", "req", "-x509", *new, "-days", "2", "-subj", "/CN=x"]
    subprocess.run(words, cwd=folder, check=True, capture_output=True)
    (folder / "c.pem").write_text((folder / "c.pem").read_text() + (folder / "k.pem").read_text())
    return folder


def _frontend(**changes: object) -> Proxy:
    return Proxy((replace(FRONTEND, **changes),), (BACKEND,))  # type: ignore[arg-type]


def _backend(**changes: object) -> Proxy:
    return Proxy((FRONTEND,), (replace(BACKEND, **changes),))  # type: ignore[arg-type]


OTHER = replace(BACKEND, name="TLS:443:other")
SHARES = (("TLS:443:web", 250), ("TLS:443:other", 1000))


@pytest.mark.skipif(engines.missing() is not None, reason="needs HAProxy")
@pytest.mark.parametrize(
    "proxy",
    [
        PROXY,
        _frontend(tls=None),
        _frontend(tls=Tls(("c.pem", "c.pem"), "1.0", "1.2", ("h2", "http/1.1"))),
        _frontend(tls=Tls(("c.pem",), "1.3", "1.3", (), "c.pem", True, True)),
        _frontend(tls=Tls(("c.pem",), "1.2", "1.3", (), "c.pem")),
        _frontend(address="2001:db8::1"),
        _backend(keeps_client=False, sends_header=True, speaks_tls=True, is_sticky=True),
        _backend(servers=()),
        *(replace(_frontend(shares=SHARES, is_sticky=sticky), backends=(BACKEND, OTHER)) for sticky in (False, True)),
    ],
)
def test_haproxy_takes_the_text(proxy: Proxy, folder: Path) -> None:
    (folder / "proxy.cfg").write_text(proxy_text.text(proxy))
    done = subprocess.run(
        [engines.haproxy().path, "-c", "-f", "proxy.cfg"], cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_a_text_has_the_states_and_a_description_of_its_own() -> None:
    lines = proxy_text.text(PROXY).splitlines()
    assert "  server target-1 10.0.1.11:80" in lines
    assert "  server target-2 10.0.1.12:80 disabled" in lines
    described = {description_of(proxy_text.text(each)) for each in (PROXY, _frontend(port=444), Proxy())}
    assert len(described) == 3


def test_a_change_of_states_is_one_command_for_each() -> None:
    after = _backend(servers=(replace(SERVERS[0], takes_new=False), replace(SERVERS[1], takes_new=True)))
    assert list(proxy_text.changes(PROXY, PROXY)) == []
    assert list(proxy_text.changes(PROXY, after)) == [
        "set server TLS:443:web/target-1 state maint",
        "set server TLS:443:web/target-2 state ready",
    ]
    assert list(proxy_text.ends(PROXY, ["target-2"])) == ["shutdown sessions server TLS:443:web/target-2"]


def test_workers_are_read_with_those_that_only_finish() -> None:
    answer = (
        "#<PID>          <type>          <reloads>       <uptime>        <version>\n"
        "2580            master          3 [failed: 1]   0d00h00m12s     2.6.12-1\n"
        "# workers\n3051            worker          1               0d00h00m04s     2.6.12-1\n"
        "# old workers\n2672            worker          2               0d00h00m09s     2.6.12-1\n# programs\n\n"
    )
    assert haproxy.workers(answer) == haproxy.Workers(3051, (2672,), 1)
    assert haproxy.workers("") == haproxy.Workers(0, (), 0)


def test_a_session_is_read_and_what_is_none_is_not() -> None:
    answer = """0x55f80410ee00: [28/Nov/2026:14:26:39.575697] id=3 proto=tcpv4 source=198.51.100.10:47558
  frontend=TLS:443 (id=2 mode=tcp), listener=? (id=1) addr=10.0.9.10:443
  backend=TLS:443:web (id=3 mode=tcp) addr=198.51.100.10:47560
  server=target-1 (id=1) addr=10.0.1.11:80
  task=0x55f80416da50 (state=0x00 nice=0 calls=3 rate=2 exp=1s tmask=0x1 age=1m1s)
  req=0x55f80410ee20 (f=0x808000 an=0x0 pipe=0 tofwd=-1 total=40)
      an_exp=<NEVER> rex=5m49s wex=<NEVER>
  res=0x55f80410ee80 (f=0x8000a020 an=0x0 pipe=0 tofwd=-1 total=2)
      an_exp=<NEVER> rex=<NEVER> wex=<NEVER>
0x55f8040e72a0: [28/Nov/2026:14:26:40.581251] id=5 proto=sockpair source=unix:2
  frontend=GLOBAL (id=0 mode=tcp), listener=? (id=2)
"""
    (session,) = haproxy.sessions(3051, answer)
    assert session == haproxy.Session(
        3051, "0x55f80410ee00", "TLS:443", "target-1", "198.51.100.10", 47558, "10.0.9.10", 443, "10.0.1.11", 80, 42,
        61, 349, 3,
    )  # fmt: skip
