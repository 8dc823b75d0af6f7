"""Every field that `inspect` tells of a packet is what tshark tells of it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.appliances.test_hostile import GOOD
from tests.capture.capture_helpers import pcap_file
from tests.capture.generated import LINK_TYPES, Network
from tests.capture.tshark_judge import Verdict, judge_file
from tests.hostile import Hostile
from tests.paths import SHARED

pytestmark = pytest.mark.skipif(shutil.which("tshark") is None, reason="needs tshark")
CAPTURES = sorted([*SHARED.glob("pcaps/*.pcap*"), *SHARED.glob("cases/*/*.pcap*")])


@pytest.mark.parametrize("path", CAPTURES, ids=lambda path: path.name)
def test_recorded_captures(path: Path) -> None:
    verdict = Verdict()
    judge_file(path, verdict)
    assert verdict.differences == []
    assert verdict.fields


@pytest.mark.parametrize("link_type", LINK_TYPES)
def test_generated_captures(link_type: int, tmp_path: Path) -> None:
    path, verdict = tmp_path / f"link-{link_type}.pcap", Verdict()
    path.write_bytes(Network(link_type).capture(link_type, 400))
    judge_file(path, verdict)
    assert verdict.differences == []
    assert verdict.fields > 4000


def test_hostile_captures(tmp_path: Path) -> None:
    path, verdict = tmp_path / "hostile.pcap", Verdict()
    path.write_bytes(pcap_file([(n, frame) for n, frame in enumerate(Hostile(1, GOOD).frames(1000))]))
    judge_file(path, verdict)
    assert verdict.differences == []
    assert verdict.packets == 1000


def test_the_judge_finds_a_difference(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, verdict = tmp_path / "a.pcap", Verdict()
    path.write_bytes(pcap_file([(0, GOOD[0])]))
    monkeypatch.setattr("tests.capture.tshark_judge.address_text", lambda address: "192.0.2.1")
    judge_file(path, verdict)
    assert any("ip.src" in difference for difference in verdict.differences)
