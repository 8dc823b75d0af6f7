"""The keeper's side of a proxy that is there and does not answer."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path

import pytest

from gwlbemu.core.elb.tls import Tls
from gwlbemu.core.network.proxy import Frontend, Proxy
from gwlbemu.ports.loop import Loop
from gwlbemu.programs.haproxy import master
from gwlbemu.programs.haproxy.keeping import SILENT
from gwlbemu.programs.network.config import PROXY_SOCKET
from gwlbemu.programs.network.proxy import ProxyKeeper


def test_a_frozen_proxy_is_not_asked_again_for_each_result_of_a_health_check(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(master, "ANSWER_SECONDS", 0.01)
    wanted = Proxy((Frontend("TLS:443", "10.0.9.10", 443, Tls(("c.pem",)), (), False, 350),))
    loop = Loop()
    with socket.socket(socket.AF_UNIX) as frozen:
        frozen.bind(str(tmp_path / PROXY_SOCKET))
        frozen.listen(1000)
        frozen.setblocking(False)
        try:
            keeper = ProxyKeeper(loop, tmp_path, loop.clock.since_boot)
            for _ in range(100):
                keeper.apply(wanted)
            loop.run_until_complete(_until_silent(keeper))
            asked = _connections(frozen)
            assert 1 <= asked <= 3  # by the first that wanted something, and by who looks now and then
            for _ in range(100):
                keeper.apply(wanted)
            loop.run_until_complete(asyncio.sleep(0.2))
            assert _connections(frozen) <= 1
            assert loop.run_until_complete(keeper.flows()) == []
            assert _connections(frozen) == 0
        finally:
            loop.close()


async def _until_silent(keeper: ProxyKeeper) -> None:
    while not keeper.state.startswith(SILENT):
        await asyncio.sleep(0.01)


def _connections(listener: socket.socket) -> int:
    count = 0
    while True:
        try:
            listener.accept()[0].close()
        except BlockingIOError:
            return count
        count += 1
