"""A real capture process on real taps; tshark reads what it wrote."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from scapy.contrib.geneve import GENEVE, GeneveOptions
from scapy.layers.inet import IP, TCP, UDP

from gwlbemu.lab.control import call
from gwlbemu.ports.loop import Clock
from gwlbemu.ports.packet import PacketPort
from gwlbemu.programs.discards import Discards
from gwlbemu.programs.recorder.config import CaptureConfig, TapConfig
from tests.paths import ROOT
from tests.programs.gateway.node_bench import ENDPOINT, NODE, TARGET, inside, namespaces
from tests.waiting import PATIENCE, wait_until

pytestmark = pytest.mark.namespace
TO_VPCE = bytes.fromhex("0200000001010200000001020800")
TO_TARGET = bytes.fromhex("0200000009020200000009010800")


@dataclass
class Running:
    config: CaptureConfig
    process: subprocess.Popen[bytes]
    client: PacketPort
    eni: PacketPort

    def call(self, verb: str) -> dict[str, Any]:
        return call(self.config.control, verb)


def config(folder: Path, **changes: Any) -> CaptureConfig:
    return replace(
        CaptureConfig(
            lab="two-zones",
            taps=(
                TapConfig("client/eth0", "/run/netns/tclient", "eth0"),
                TapConfig("vpce-fw", "/run/netns/tnode", "vpce"),
                TapConfig("fw1/eth0", "/run/netns/ttarget", "eth0"),
            ),
            nodes={"firewall-a": NODE},
            endpoints={ENDPOINT: "vpce-fw"},
            targets={TARGET: "fw1"},
            folder=str(folder),
            file_bytes=64 << 20,
            files=4,
            snapshot_length=9100,
            control=str(folder / "capture.sock"),
            discards=str(folder / "discards.sock"),
        ),
        **changes,
    )


def start(folder: Path, settings: CaptureConfig) -> subprocess.Popen[bytes]:
    path = folder / "capture.json"
    path.write_text(settings.to_json())
    with (folder / "capture.log").open("wb") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "gwlbemu.programs.recorder.recorder", str(path)],
            stdout=log,
            stderr=log,
            cwd=ROOT,
        )


@pytest.fixture
def changes() -> dict[str, Any]:
    return {}


@pytest.fixture
def capture(tmp_path: Path, changes: dict[str, Any]) -> Iterator[Running]:
    settings = config(tmp_path, **changes)
    with namespaces():
        with inside("tclient"):
            client = PacketPort("eth0")
        with inside("tnode"):
            eni = PacketPort("eni")
        process = start(tmp_path, settings)
        try:
            log = tmp_path / "capture.log"
            wait_until(lambda: process.poll() is not None or Path(settings.control).exists(), log.read_text)
            assert process.poll() is None, log.read_text()
            yield Running(settings, process, client, eni)
        finally:
            process.kill()
            process.wait()
            client.close()
            eni.close()


def packet(number: int = 1, size: int = 0) -> bytes:
    return bytes(IP(src="10.1.0.2", dst="10.2.0.2", id=number) / UDP(sport=1000, dport=9) / (b"x" * size))


def geneve(inner: bytes) -> bytes:
    options = [
        GeneveOptions(classid=0x108, type=1, data=bytes.fromhex(ENDPOINT[6:])),
        GeneveOptions(classid=0x108, type=2, data=bytes(8)),
        GeneveOptions(classid=0x108, type=3, data=b"\x12\x34\x56\x78"),
    ]
    outer = IP(src=NODE, dst=TARGET) / UDP(sport=60000, dport=6081) / GENEVE(proto=0x0800, options=options)
    return bytes(outer) + inner


def tshark(path: str, *fields: str, show: str = "") -> list[list[str]]:
    argv = ["tshark", "-r", path, "-T", "fields", "-E", "separator=|"]
    result = subprocess.run(
        [*argv, *(["-Y", show] if show else []), *(word for field in fields for word in ("-e", field))],
        capture_output=True, text=True, check=True, env={**os.environ, "HOME": "/nonexistent"},
    )  # fmt: skip
    assert not [line for line in result.stderr.splitlines() if "root" not in line], result.stderr
    return [line.split("|") for line in result.stdout.splitlines()]


def test_a_frame_is_seen_at_every_tap_it_passes_in_the_order_of_time_and_with_its_direction(capture: Running) -> None:
    for number in range(1, 51):
        capture.client.send([TO_VPCE + packet(number)])
    path = capture.call("flush")["file"]
    rows = tshark(
        path, "frame.interface_name", "frame.packet_flags_direction", "ip.id", "frame.time_epoch", show="udp.port==9"
    )
    assert {(row[0], int(row[1], 0)) for row in rows} == {("client/eth0", 2), ("vpce-fw", 1)}
    for tap in ("client/eth0", "vpce-fw"):
        assert [int(row[2], 0) for row in rows if row[0] == tap] == list(range(1, 51))
    times = [float(row[3]) for row in rows]
    assert times == sorted(times)
    assert abs(times[0] - time.time()) < 60


def test_a_geneve_frame_has_a_comment_with_what_the_lab_calls_things(capture: Running) -> None:
    capture.eni.send([TO_TARGET + geneve(bytes(IP(src="10.1.0.2", dst="10.2.0.2") / TCP(sport=1000, dport=80)))])
    (row,) = tshark(capture.call("flush")["file"], "frame.interface_name", "frame.comment", show="geneve && !icmp")
    assert row[0] == "fw1/eth0"
    assert "vpce-fw" in row[1]
    assert "0x12345678" in row[1]
    assert "fw1" in row[1]


def test_a_packet_that_a_node_dropped_is_there_with_the_reason(capture: Running) -> None:
    discards = Discards(capture.config.discards, "firewall-a", Clock())
    discards.tell(TO_VPCE + packet(7), "dropped at vpce-fw: MidstreamTcp")
    discards.close()
    (row,) = tshark(capture.call("flush")["file"], "frame.interface_name", "ip.id", "frame.comment", show="udp.port==9")
    assert row == ["firewall-a", "0x0007", "dropped at vpce-fw: MidstreamTcp"]


def test_a_reader_sees_a_packet_soon_without_asking(capture: Running) -> None:
    path = Path(capture.call("status")["file"])
    before = path.stat().st_size
    capture.client.send([TO_VPCE + packet()])
    wait_until(lambda: path.stat().st_size > before)


@pytest.mark.parametrize("changes", [{"file_bytes": 100_000, "files": 3}], indirect=False)
def test_files_are_bounded_in_size_and_number_and_each_is_whole(capture: Running, changes: dict[str, Any]) -> None:
    for number in range(600):
        capture.client.send([TO_VPCE + packet(number, 1000)])
    newest = capture.call("flush")["file"]
    files = sorted(Path(capture.config.folder).glob("*.pcapng"))
    assert len(files) == 3
    assert str(files[-1]) == newest
    for file in files:
        assert file.stat().st_size < 110_000
        assert {row[0] for row in tshark(str(file), "frame.interface_name", show="udp.port==9")} <= {
            "client/eth0",
            "vpce-fw",
        }
    last = [int(row[0], 0) for row in tshark(newest, "ip.id", show="udp.port==9")]
    assert last[-1] == 599


def test_rotating_answers_a_finished_file_and_goes_on_in_another(capture: Running) -> None:
    capture.client.send([TO_VPCE + packet(1)])
    done = capture.call("rotate")["file"]
    capture.client.send([TO_VPCE + packet(2)])
    now = capture.call("flush")["file"]
    assert done != now
    assert {row[0] for row in tshark(done, "ip.id", show="udp.port==9")} == {"0x0001"}
    assert {row[0] for row in tshark(now, "ip.id", show="udp.port==9")} == {"0x0002"}


@pytest.mark.parametrize("changes", [{"snapshot_length": 60}])
def test_a_long_frame_is_cut_and_its_length_is_kept(capture: Running, changes: dict[str, Any]) -> None:
    capture.client.send([TO_VPCE + packet(1, 1000)])
    rows = tshark(capture.call("flush")["file"], "frame.cap_len", "frame.len", show="ip.id==1")
    assert rows == [["60", "1042"]] * 2


def test_what_was_sent_is_recorded_or_counted_as_lost(capture: Running) -> None:
    capture.process.send_signal(signal.SIGSTOP)
    batch = [TO_VPCE + packet(1, 1000)] * 64
    sent = sum(capture.client.send(batch) for _ in range(400))
    capture.process.send_signal(signal.SIGCONT)
    capture.call("flush")
    status = capture.call("status")
    taps = {tap["name"]: tap for tap in status["taps"]}
    for name in ("client/eth0", "vpce-fw"):
        assert taps[name]["dropped"] > 0
        assert taps[name]["packets"] + taps[name]["dropped"] == sent
    assert status["dropped"] == sum(tap["dropped"] for tap in taps.values())


def test_a_tap_whose_cable_is_pulled_goes_on_when_it_is_plugged_in_again(capture: Running) -> None:
    for state in ("down", "up"):
        subprocess.run(["ip", "-n", "tclient", "link", "set", "eth0", state], check=True)
        capture.call("status")  # it has been awake since then, and seen it
    used = Path(f"/proc/{capture.process.pid}/stat").read_text().rsplit(")", 1)[1].split()[11:13]
    time.sleep(0.5)
    later = Path(f"/proc/{capture.process.pid}/stat").read_text().rsplit(")", 1)[1].split()[11:13]
    assert sum(map(int, later)) - sum(map(int, used)) < 20  # hundredths of a second: it does not spin
    capture.client.send([TO_VPCE + packet(5)])
    rows = tshark(capture.call("flush")["file"], "frame.interface_name", show="ip.id==5")
    assert {row[0] for row in rows} == {"client/eth0", "vpce-fw"}


def test_sigterm_writes_what_is_there_and_ends_cleanly(capture: Running) -> None:
    path = capture.call("status")["file"]
    capture.client.send([TO_VPCE + packet(9)])
    wait_until(lambda: (now := capture.call("status"))["packets"] + now["waiting"] >= 2)
    capture.process.send_signal(signal.SIGTERM)
    assert capture.process.wait(timeout=PATIENCE) == 0
    assert len(tshark(path, "ip.id", show="ip.id==9")) == 2
    assert not Path(capture.config.control).exists()
    assert not Path(capture.config.discards).exists()


def test_a_missing_tap_is_named(tmp_path: Path) -> None:
    settings = config(tmp_path, taps=(TapConfig("ghost", "/run/netns/nowhere", "eth0"),))
    process = start(tmp_path, settings)
    try:
        assert process.wait(timeout=PATIENCE) == 2
    finally:
        process.kill()
        process.wait()
    log = (tmp_path / "capture.log").read_text()
    assert "nowhere" in log
    assert "Traceback" not in log


def test_a_configuration_survives_its_json(tmp_path: Path) -> None:
    settings = config(tmp_path)
    assert CaptureConfig.from_json(settings.to_json()) == settings
    assert json.loads(settings.to_json())["lab"] == "two-zones"
