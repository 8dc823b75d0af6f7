"""The capture of a lab, as tshark and tcpdump read it."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from gwlbemu import Lab
from gwlbemu.capture.journey import Journey, TapFrame, journeys
from gwlbemu.capture.reader import CaptureReader
from tests.lab.oracles import curl
from tests.paths import TOPOLOGIES
from tests.waiting import PATIENCE

pytestmark = pytest.mark.namespace


REQUEST = 'frame contains "GET / HTTP"'  # tshark takes one packet at several taps for a retransmission


def tshark(file: Path, *words: str) -> list[str]:
    done = subprocess.run(["tshark", "-r", str(file), *words], check=True, capture_output=True, text=True)
    return done.stdout.splitlines()


@pytest.mark.topology(TOPOLOGIES / "minimal.yaml", capture=True)
def test_the_capture_holds_a_request_at_every_tap_it_passed_with_right_checksums(lab: Lab) -> None:
    assert curl(lab) == 0
    taps = {"client/eth0", "vpce", "fw/eth0", "web/eth0"}

    def seen() -> set[str]:
        fields = ["-T", "fields", "-e", "frame.interface_name"]
        return {line for file in lab.capture_files() for line in tshark(file, "-Y", REQUEST, *fields)}

    lab.wait_until(lambda: taps <= seen(), timeout=PATIENCE, what="the packets to be written")
    (file,) = lab.capture_files()
    assert subprocess.run(["tcpdump", "-r", str(file)], check=False, capture_output=True).returncode == 0
    checked = [
        "-o",
        "tcp.desegment_tcp_streams:FALSE",
        "-o",
        "tcp.check_checksum:TRUE",
        "-o",
        "udp.check_checksum:TRUE",
        "-o",
        "ip.check_checksum:TRUE",
    ]
    wrong = "tcp.checksum.status == 0 or udp.checksum.status == 0 or ip.checksum.status == 0 or _ws.malformed"
    assert tshark(file, *checked, "-Y", wrong) == []
    tunnelled = tshark(file, "-Y", f"geneve and {REQUEST}", "-T", "fields", "-e", "frame.interface_name")
    assert "fw/eth0" in tunnelled


@pytest.mark.topology(TOPOLOGIES / "minimal.yaml", capture=True)
def test_one_tap_by_itself_has_no_retransmissions_for_wireshark(lab: Lab, tmp_path: Path) -> None:
    """As the README advises; a display filter alone is not enough, it does not reach the analysis of TCP."""
    one = tmp_path / "client.pcapng"

    def is_clean() -> bool:
        """A request and the analysis of its packets. On a machine that stalls, TCP itself may send one again."""
        assert curl(lab) == 0
        file = Path(lab.call("capture", "rotate")["file"])
        tshark(file, "-Y", 'frame.interface_name == "client/eth0"', "-w", str(one))
        assert tshark(file, "-Y", "tcp.analysis.flags")
        assert len(tshark(one, "-Y", "http.request")) == 1
        return tshark(one, "-Y", "tcp.analysis.flags") == []

    assert any(is_clean() for _ in range(5))


@pytest.mark.topology(TOPOLOGIES / "transit-gateway.yaml", capture=True)
def test_a_packets_journey_through_a_transit_gateway_is_one(lab: Lab) -> None:
    assert curl(lab, "http://10.2.2.10/", client="client-a") == 0

    def found() -> list[Journey]:
        (file,) = lab.capture_files()
        with file.open("rb") as stream:
            packets = [each for each in CaptureReader(stream) if each.interface is not None]
        records = [TapFrame(each.interface.name, each.at_ns, each.data, each.direction) for each in packets]
        to_server = [each for each in journeys(records) if each.sightings[0].look.ports[1] == 80]
        return [each for each in to_server if each.sightings[0].tap == "client-a/eth0"]

    lab.wait_until(
        lambda: bool(found()) and all("server-b/eth0" in each.taps for each in found()),
        timeout=PATIENCE,
        what="the packets to be written",
    )
    for journey in found():
        zone = next(tap[-1] for tap in journey.taps if tap.startswith("vpce-"))
        hub, middle = f"tgw/to-security-{zone}", (f"vpce-{zone}", f"fw-{zone}/eth0", f"vpce-{zone}")
        assert journey.taps == (
            "client-a/eth0", "tgw/to-left-a", hub, *middle, hub, f"tgw/to-right-{zone}", "server-b/eth0"
        )  # fmt: skip
