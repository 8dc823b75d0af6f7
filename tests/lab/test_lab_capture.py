"""The capture of a lab, as tshark and tcpdump read it."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from oracles import curl
from worlds import TOPOLOGIES

from gwlbemu import Lab

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

    lab.wait_until(lambda: taps <= seen(), what="the packets to be written")
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
def test_through_one_tap_wireshark_sees_a_request_once_and_no_retransmission(lab: Lab) -> None:
    """As the README advises: a filter on the interface, and no analysis of sequence numbers, which knows no taps."""
    assert curl(lab) == 0
    one, calm = 'frame.interface_name == "client/eth0"', ["-o", "tcp.analyze_sequence_numbers:FALSE"]
    (file,) = lab.capture_files()
    lab.wait_until(lambda: tshark(file, "-Y", f"{one} && {REQUEST}"), what="the request to be written")
    assert len(tshark(file, *calm, "-Y", f"{one} && {REQUEST}")) == 1
    assert tshark(file, *calm, "-Y", "tcp.analysis.flags") == []
