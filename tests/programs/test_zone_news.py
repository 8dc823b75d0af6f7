"""How a node tells the resolver of its zone."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from gwlbemu.core.elb.network_attributes import AFFINITY, ANY_ZONE
from gwlbemu.errors import WireError
from gwlbemu.programs.zone_news import AGAIN, News, ZoneNews, decode, encode

GROUPS = {"servers": (2, 3), "others": (0, 0)}


@pytest.fixture
def resolver(tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(str(tmp_path / "news"))
        sock.setblocking(False)
        yield sock


def heard(resolver: socket.socket) -> list[News]:
    found = []
    while True:
        try:
            found.append(decode(resolver.recv(65536)))
        except BlockingIOError:
            return found


def test_what_is_encoded_is_what_is_decoded() -> None:
    news = News("web", "a", AFFINITY, GROUPS)
    assert decode(encode(news)) == news


@pytest.mark.parametrize(
    "data",
    [
        b"", b"{}", b"[]", b"\xff", b"[" * 60000, b'{"load_balancer": "web", "zone": "a", "groups": {}}',
        b'{"load_balancer": "web", "zone": "a", "client_routing_policy": "x", "groups": [1]}',
        b'{"load_balancer": "web", "zone": "a", "client_routing_policy": "x", "groups": {"g": {"healthy": "many"}}}',
    ],
)  # fmt: skip
def test_anything_else_is_refused(data: bytes) -> None:
    with pytest.raises(WireError):
        decode(data)


def test_a_node_tells_what_has_changed_and_the_same_again_after_a_while(
    resolver: socket.socket, tmp_path: Path
) -> None:
    news = ZoneNews(str(tmp_path / "news"), "web", "a")
    try:
        news.tell(ANY_ZONE, GROUPS, 100.0)
        news.tell(ANY_ZONE, GROUPS, 100.0 + AGAIN - 0.1)
        assert heard(resolver) == [News("web", "a", ANY_ZONE, GROUPS)]
        news.tell(ANY_ZONE, GROUPS, 100.0 + AGAIN)
        assert heard(resolver) == [News("web", "a", ANY_ZONE, GROUPS)]
        news.tell(AFFINITY, GROUPS, 100.0 + AGAIN)
        news.tell(AFFINITY, {"servers": (0, 3)}, 100.0 + AGAIN)
        assert heard(resolver) == [News("web", "a", AFFINITY, GROUPS), News("web", "a", AFFINITY, {"servers": (0, 3)})]
    finally:
        news.close()


def test_what_could_not_be_told_is_told_at_the_next_call(tmp_path: Path) -> None:
    news = ZoneNews(str(tmp_path / "news"), "web", "a")
    try:
        news.tell(ANY_ZONE, GROUPS, 100.0)  # there is no resolver yet
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
            sock.bind(str(tmp_path / "news"))
            sock.setblocking(False)
            news.tell(ANY_ZONE, GROUPS, 100.0)
            assert heard(sock) == [News("web", "a", ANY_ZONE, GROUPS)]
    finally:
        news.close()


def test_without_a_path_nothing_is_told() -> None:
    news = ZoneNews("", "web", "a")
    try:
        news.tell(ANY_ZONE, GROUPS, 100.0)
    finally:
        news.close()
