"""The doctor on labs that are really ill: each sentence against packets, sockets and processes that make it true."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from gwlbemu import Lab
from gwlbemu.review.finding import Finding
from gwlbemu.views.doctor import examine_lab
from gwlbemu.views.seen import read_seen
from tests.paths import TOPOLOGIES
from tests.waiting import wait_until

pytestmark = pytest.mark.namespace
CHECK = "health_check: {protocol: HTTP, interval_seconds: 5, timeout_seconds: 2, healthy_threshold_count: 2}"


class Clumsy:
    """minimal.yaml with the appliance of `clumsy.py`, and ways to set its mode and to send to the server."""

    def __init__(self, folder: Path) -> None:
        shutil.copy(Path(__file__).with_name("clumsy.py"), folder)
        self._mode = folder / "mode"
        self._mode.write_text("ok")
        text = (TOPOLOGIES / "minimal.yaml").read_text()
        for old, new in (
            ("program: passthrough", f"program: {{command: [{sys.executable}, clumsy.py]}}"),
            ("targets: [fw]", f"{CHECK}, targets: [fw]"),
        ):
            assert old in text
            text = text.replace(old, new)
        self.file = folder / "clumsy.yaml"
        self.file.write_text(text)
        self.lab = Lab(self.file, capture=False, datapath="python")
        self._port = 20000

    def mode(self, word: str) -> None:
        self._mode.write_text(word)

    def sent(self) -> tuple[int, int]:
        """Packets that went to the target, and that came back."""
        (target,) = self.lab.targets()
        return target.packets_to, target.packets_from

    def refused(self) -> int:
        return sum(each.packets for each in read_seen(self.lab.running).refused)

    def send(self, count: int, size: int = 1) -> None:
        """Send UDP packets of a flow that is new to the server, and wait until the node has sent them on."""
        before, self._port = self.sent()[0], self._port + 1
        code = (
            "import socket; s = socket.socket(2, 2); s.bind(('', %d));"
            " s.setsockopt(0, 10, 0);"  # IP_MTU_DISCOVER: never, so that a long packet is cut and not refused
            " [s.sendto(b'x' * %d, ('203.0.113.10', 5000)) for _ in range(%d)]"
        )
        assert self.lab.exec("client", [sys.executable, "-c", code % (self._port, size, count)]).code == 0
        wait_until(lambda: self.sent()[0] >= before + count)

    def findings(self) -> dict[str, Finding]:
        return {finding.kind: finding for finding in examine_lab(self.lab.running).findings}


@pytest.fixture(scope="module")
def clumsy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Clumsy]:
    bench = Clumsy(tmp_path_factory.mktemp("clumsy"))
    with bench.lab:
        yield bench


def test_an_appliance_that_returns_everything_gives_no_finding(clumsy: Clumsy) -> None:
    clumsy.mode("ok")
    clumsy.send(6)
    wait_until(lambda: clumsy.sent()[1] >= 6)
    assert clumsy.findings() == {}


@pytest.mark.parametrize(
    ("mode", "wrong"),
    [
        ("port", "expected 6081 (in the last one; PacketsDroppedCount_InvalidGeneveTunnel)"),
        ("version", "GENEVE version 1, expected 0 (in the last one; PacketsDroppedCount_InvalidGeneveTunnel)"),
        ("cookie", "flow cookie 0x"),
    ],
)
def test_what_comes_back_wrong_is_told_with_the_field(clumsy: Clumsy, mode: str, wrong: str) -> None:
    clumsy.mode(mode)
    before = clumsy.refused()
    clumsy.send(6)
    wait_until(lambda: clumsy.refused() >= before + 6)
    findings = examine_lab(clumsy.lab.running).findings
    found = [each for each in findings if each.kind == "refused-return"]
    assert any(wrong in each.text and "(udp), which inspect-node-a refused" in each.text for each in found)
    assert not [each for each in findings if each.kind.startswith("silent")]


def test_a_checksum_that_an_appliance_spoils_is_told_by_the_router_that_drops_the_packet(clumsy: Clumsy) -> None:
    clumsy.mode("checksum")
    clumsy.send(6)
    told = wait_until(lambda: clumsy.findings().get("wrong-checksum"))
    assert told is not None
    assert told.text.startswith("subnet endpoints has dropped 6 packets whose IP header checksum is wrong; whose doing")


def test_a_packet_that_is_too_long_is_told_as_that(clumsy: Clumsy) -> None:
    clumsy.mode("ok")
    code = "import socket; socket.socket(2, 2).sendto(b'x' * 8600, ('198.51.100.10', 5000))"
    assert clumsy.lab.exec("web", [sys.executable, "-c", code]).code == 0
    told = wait_until(lambda: clumsy.findings().get("too-long"))
    assert told is not None
    assert told.text.startswith("inspect-node-a has dropped 1 packet longer than 8500 bytes")


def test_what_the_port_of_an_instance_drops_is_told_with_direction_and_reason(clumsy: Clumsy) -> None:
    clumsy.mode("ok")
    spoof = (
        "import socket; s = socket.socket(2, 3, 255);"
        " p = bytes.fromhex('4500001c000000004011' '0000' 'c0000207' '0afe01fe' '0457' '08ae' '0008' '0000');"
        " s.sendto(p, ('10.254.1.254', 0))"
    )
    assert clumsy.lab.exec("fw", [sys.executable, "-c", spoof]).code == 0
    told = wait_until(lambda: clumsy.findings().get("port-drop"))
    assert told is not None
    assert told.text == (
        "the port of fw has dropped 1 packet that it sent: not the instance's own address (source/destination check)"
    )


def test_a_health_check_that_fails_is_told_with_what_it_got_and_healed_on_purpose_or_not(clumsy: Clumsy) -> None:
    lab = clumsy.lab
    clumsy.mode("unfit")

    def unhealthy() -> bool:
        lab.advance(5)
        return lab.target("fw").state == "unhealthy"

    wait_until(unhealthy)
    assert lab.target("fw").reason == "Target.ResponseCodeMismatch"
    told = clumsy.findings()["zone-without-health"]
    assert "fw is unhealthy (Health checks failed with these codes: [503], expected 200-399)" in told.text
    lab.fail("process", "fw")
    told = clumsy.findings()["zone-without-health"]
    assert told.change.startswith("broken on purpose: ")
    assert told.change.endswith("heal --lab minimal process fw puts it back")
    lab.heal("process", "fw")
    clumsy.mode("ok")
    wait_until(lambda: lab.advance(5) or lab.target("fw").state == "healthy")


def test_a_buffer_that_overflows_is_told(clumsy: Clumsy) -> None:
    clumsy.mode("slow")
    clumsy.send(200, size=500)
    told = wait_until(lambda: clumsy.findings().get("receive-buffer"))
    assert told is not None
    assert told.text.startswith("fw has lost ")
    assert "packets (UDP sockets) for which a receive buffer in it had no room" in told.text
    clumsy.mode("ok")


def test_an_appliance_that_stops_to_answer_is_told_although_it_answered_before(clumsy: Clumsy) -> None:
    clumsy.mode("ok")
    back = clumsy.sent()[1]
    clumsy.send(3)
    wait_until(lambda: clumsy.sent()[1] > back)
    read_seen(clumsy.lab.running)  # from here on unanswered packets are counted
    clumsy.mode("silent")
    clumsy.send(20)
    seen = wait_until(lambda: [each for each in read_seen(clumsy.lab.running).carried if each.unanswered >= 20])
    assert [each.target for each in seen] == ["fw"]


def test_an_appliance_without_a_socket_is_told_by_the_icmp_that_its_kernel_sends(clumsy: Clumsy) -> None:
    clumsy.mode("deaf")
    wait_until(lambda: 6081 not in (read_seen(clumsy.lab.running).instances["fw"].udp_bound or ()))
    clumsy.send(6)
    told = wait_until(lambda: clumsy.findings().get("icmp-from-target"))
    assert told is not None
    assert told.text.startswith("target fw answers with ICMP port unreachable (")
    assert "about UDP port 6081; no socket there is bound to it" in told.text
