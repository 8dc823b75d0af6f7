"""The resolver's process, asked with dig from two zones, while nodes tell it of theirs (here stand-ins)."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from gwlbemu.core.elb.network_attributes import AFFINITY, ANY_ZONE
from gwlbemu.lab.control import call
from gwlbemu.net import namespaces
from gwlbemu.net.inside import in_fresh_namespace, inside
from gwlbemu.programs.resolver.config import BalancerName, Host, Place, ResolverConfig
from gwlbemu.programs.zone_news import ZoneNews
from tests.waiting import PATIENCE, wait_until

pytestmark = pytest.mark.namespace
WEB = "web.elb.lab.amazonaws.com"
RESOLVER = "169.254.169.253"


def config(folder: Path) -> ResolverConfig:
    return ResolverConfig(
        places=tuple(Place(str(namespaces.path_of(zone)), "lo", (RESOLVER,), "app", zone) for zone in "ab"),
        domains=("elb.lab.amazonaws.com", "internal"),
        hosts=(Host("server.app.internal", "app", ("10.0.1.10",)),),
        balancers=(BalancerName(WEB, "web", ANY_ZONE, {"a": ("10.0.1.8",), "b": ("10.0.2.8",)}),),
        seed=1,
        control=str(folder / "sock"),
        news=str(folder / "news"),
    )


@pytest.fixture
def resolver(tmp_path: Path) -> Iterator[Path]:
    """The folder of a resolver that runs, for clients in the namespaces `a` and `b`."""
    namespaces.prepare_directory()
    (tmp_path / "config.json").write_text(config(tmp_path).to_json())
    with ExitStack() as stack:
        for zone in "ab":
            with in_fresh_namespace():
                namespaces.name_current(zone)
                identity = namespaces.current_identity()
                stack.callback(namespaces.remove, zone, identity)
                for words in (["link", "set", "lo", "up"], ["address", "add", f"{RESOLVER}/32", "dev", "lo"]):
                    subprocess.run(["ip", *words], check=True)
        argv = [sys.executable, "-m", "gwlbemu.programs.resolver.resolver", str(tmp_path / "config.json")]
        process = stack.enter_context(subprocess.Popen(argv, stderr=subprocess.DEVNULL))
        try:
            wait_until(lambda: (tmp_path / "sock").exists() or process.poll() is not None, "the resolver")
            yield tmp_path
            assert process.poll() is None
        finally:
            process.send_signal(signal.SIGTERM)
            assert process.wait(PATIENCE) == 0


def ask(zone: str, name: str, *words: str) -> set[str]:
    """The addresses that dig gets in a namespace, each with its time to live."""
    with inside(namespaces.path_of(zone)):
        argv = ["dig", f"@{RESOLVER}", "+tries=1", "+noall", "+answer", *words, name]
        done = subprocess.run(argv, capture_output=True, text=True, check=True)
    return {" ".join(line.split()[i] for i in (1, 4)) for line in done.stdout.splitlines()}


def tell(folder: Path, zone: str, healthy: int, policy: str = ANY_ZONE) -> None:
    """Tell what the node of a zone would, and wait until it has been heard."""
    before = heard(folder)
    news = ZoneNews(str(folder / "news"), "web", zone)
    try:
        news.tell(policy, {"servers": (healthy, 1)}, 0.0)
    finally:
        news.close()
    wait_until(lambda: heard(folder) > before, "the news")


def heard(folder: Path) -> int:
    count: int = call(folder / "sock", "status")["counts"]["news"]
    return count


@pytest.mark.contract("NL-15")
def test_a_zone_without_a_healthy_target_is_withdrawn_and_comes_back(resolver: Path) -> None:
    assert ask("a", WEB) == {"60 10.0.1.8", "60 10.0.2.8"}
    tell(resolver, "a", 0)
    assert ask("a", WEB) == {"60 10.0.2.8"}
    assert ask("a", WEB, "+tcp") == {"60 10.0.2.8"}
    assert ask("a", f"a.{WEB}") == {"60 10.0.1.8"}
    assert call(resolver / "sock", "status")["withdrawn"] == {"web": ["a"]}
    tell(resolver, "b", 0)
    assert ask("b", WEB) == {"60 10.0.1.8", "60 10.0.2.8"}
    tell(resolver, "a", 1)
    assert ask("b", WEB) == {"60 10.0.1.8"}


@pytest.mark.contract("NL-15")
def test_with_affinity_each_client_gets_the_address_of_its_own_zone(resolver: Path) -> None:
    for zone in "ab":
        tell(resolver, zone, 2, AFFINITY)
    assert ask("a", WEB) == {"60 10.0.1.8"}
    assert ask("b", WEB) == {"60 10.0.2.8"}
    tell(resolver, "a", 0, AFFINITY)
    assert ask("a", WEB) == {"60 10.0.2.8"}


def test_one_connection_asks_many_questions_and_a_half_one_hinders_nobody(resolver: Path) -> None:
    with inside(namespaces.path_of("a")), socket.create_connection((RESOLVER, 53), timeout=PATIENCE) as half:
        half.sendall(b"\x00")
        names = [f"server{n}.app.internal" for n in range(20)]
        argv = ["dig", f"@{RESOLVER}", "+tcp", "+keepopen", "+noall", "+comments", *names]
        done = subprocess.run(argv, capture_output=True, text=True, check=True)
        assert done.stdout.count("status: NXDOMAIN") == 20
        assert half.recv(1) == b""  # it is closed after a while


def test_news_that_cannot_be_read_is_counted(resolver: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.sendto(b"nonsense", str(resolver / "news"))
    wait_until(lambda: call(resolver / "sock", "status")["counts"]["news refused"] == 1, "the count")
    assert call(resolver / "sock", "status")["faults"] == {}


def test_a_configuration_is_read_as_it_was_written(tmp_path: Path) -> None:
    text = config(tmp_path).to_json()
    assert ResolverConfig.from_json(text).to_json() == text
