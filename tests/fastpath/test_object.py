from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from gwlbemu.errors import NetError
from gwlbemu.fastpath import build, libbpf

pytestmark = pytest.mark.namespace


def test_the_same_source_is_compiled_once(compiled: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = set(compiled.parent.iterdir())
    monkeypatch.setenv("PATH", "/nowhere")
    assert build.compile_object(compiled.parent) == compiled
    assert set(compiled.parent.iterdir()) == before


def test_without_clang_the_reason_is_that(usable: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    assert build.available(tmp_path) == "no clang"


def test_a_source_that_does_not_compile_is_reported_with_clangs_first_error(usable: None, tmp_path: Path) -> None:
    source = tmp_path / "broken.c"
    source.write_text("int f(void) { return nothing; }")
    with pytest.raises(NetError, match="undeclared identifier 'nothing'"):
        build.compile_object(tmp_path / "cache", source)
    assert not (tmp_path / "cache").exists()


def test_without_libbpf_the_reason_is_that(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing() -> None:
        raise OSError("libbpf.so.1: cannot open shared object file")

    monkeypatch.setattr(libbpf, "library", missing)
    assert build.available(tmp_path) == "no libbpf: libbpf.so.1: cannot open shared object file"


def test_a_kernel_that_refuses_the_link_is_named(usable: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(libbpf, "TCX_INGRESS", 9999)
    reason = build.available(tmp_path)
    assert reason is not None
    assert "refuses (tcx needs 6.6)" in reason


def test_what_a_killed_compiler_left_is_gone_after_the_next_one(tmp_path: Path, fast_path: None) -> None:
    ended = subprocess.Popen(["true"])
    ended.wait()
    left, mine = tmp_path / f"gwlb-0123.o.{ended.pid}", tmp_path / "gwlb-0123.o.1"
    left.write_bytes(b"half")
    mine.write_bytes(b"half")
    compiled = build.compile_object(tmp_path)
    assert sorted(tmp_path.iterdir()) == sorted([compiled, mine])
