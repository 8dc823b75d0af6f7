"""inspect on files: what it shows, what it leaves out and says so, which file it could not read."""

from __future__ import annotations

import gzip
import json
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from gwlbemu.capture.pcapng import enhanced_packet, interface_description, section_header
from gwlbemu.cli import inspect_view
from gwlbemu.wire.tcp import build_tcp
from gwlbemu.wire.udp import build_udp
from tests.capture.capture_helpers import AT, CLIENT, SERVER, ethernet, our_file, pcap_file, syn, tunnelled

ARP = bytes(12) + b"\x08\x06" + bytes(28)


def capture(path: Path, *blocks: bytes) -> str:
    path.write_bytes(our_file(*blocks))
    return str(path)


def test_verbose_shows_the_outer_packet_and_every_checksum(gwlbemu: Any, tmp_path: Path) -> None:
    file = capture(tmp_path / "a.pcapng", enhanced_packet(1, AT, ethernet(tunnelled(syn()))))
    shown = gwlbemu("inspect", "-v", file).out
    assert "10.254.1.4:60001 > 10.254.1.10:6081 len 108 ttl 255 geneve" in shown
    assert "checksums: outer IP right, outer UDP right, inner IP right, inner TCP right" in shown
    assert "checksums" not in gwlbemu("inspect", file).out


def test_a_flow_is_followed_to_where_a_load_balancer_translates_it_and_back(gwlbemu: Any, tmp_path: Path) -> None:
    vip, web, other = bytes((203, 0, 113, 1)), bytes((10, 0, 11, 12)), bytes((10, 0, 11, 13))
    frames = [
        build_tcp(CLIENT, vip, 40000, 80, sequence=5, flags=2, identification=7),
        build_tcp(CLIENT, web, 40000, 8080, sequence=5, flags=2, identification=7),
        build_tcp(web, CLIENT, 8080, 40000, sequence=9, flags=0x12, identification=1),  # before the client sees it
        build_tcp(vip, CLIENT, 80, 40000, sequence=9, flags=0x12, identification=1),
        build_tcp(CLIENT, other, 41000, 8080, sequence=6, flags=2, identification=8),  # another's
    ]
    blocks = [enhanced_packet(n % 2, AT + n, ethernet(frame)) for n, frame in enumerate(frames)]
    file = capture(tmp_path / "a.pcapng", *blocks)
    shown = gwlbemu("inspect", file, "--flow", "tcp 198.51.100.10:40000-203.0.113.1:80").out
    assert shown.endswith("4 of 5 packets\n")
    assert "41000" not in shown
    journeys = gwlbemu("inspect", file, "--journeys", "--flow", "203.0.113.1:80").out
    assert journeys.count("\n\n") == 2
    assert "source 10.0.11.12:8080 -> 203.0.113.1:80" in journeys


def test_unfinished_checksums_are_counted_not_called_wrong(gwlbemu: Any, tmp_path: Path) -> None:
    packet = bytearray(syn())
    pseudo = sum(packet[12 + at] << 8 | packet[13 + at] for at in (0, 2, 4, 6)) + 6 + 20
    packet[36:38] = (pseudo % 65535).to_bytes(2, "big")
    blocks = [enhanced_packet(0, AT, ethernet(bytes(packet))), enhanced_packet(0, AT, ethernet(syn()))]
    file = capture(tmp_path / "a.pcapng", *blocks)
    for words in ((), ("--journeys",)):
        shown = gwlbemu("inspect", file, *words).out
        assert "expected 0x" not in shown
        assert "\n1 with checksums left to a network card that was not there (offload)\n" in shown


def test_journeys_say_what_they_leave_out(gwlbemu: Any, tmp_path: Path) -> None:
    lie = bytearray(ethernet(syn()))
    lie[17] += 1
    blocks = [enhanced_packet(0, AT, frame) for frame in (ethernet(syn()), ARP, ARP, bytes(lie))]
    shown = gwlbemu("inspect", "--journeys", capture(tmp_path / "a.pcapng", *blocks)).out
    assert shown.endswith(
        "\n1 of 4 packets\nleft out of journeys: 2 arp, 1 unreadable (IPv4 total length 41, 40 bytes there)\n"
    )


def test_journeys_go_through_all_files_in_the_order_of_time(gwlbemu: Any, tmp_path: Path) -> None:
    late = capture(tmp_path / "late.pcapng", enhanced_packet(1, AT + 5_000_000, ethernet(tunnelled(syn()))))
    early = capture(tmp_path / "early.pcapng", enhanced_packet(0, AT, ethernet(syn())))
    shown = gwlbemu("inspect", "--journeys", late, early).out.splitlines()
    assert shown[1].split() == ["+0.000", "ms", "client/eth0"]
    assert shown[2].split()[:3] == ["+5.000", "ms", "fw-a1/eth0"]


def test_the_last_packets_and_journeys_are_shown_with_a_limit(gwlbemu: Any, tmp_path: Path) -> None:
    packets = [build_udp(CLIENT, SERVER, 1000 + n, 2, b"x") for n in range(5)]
    file = capture(tmp_path / "a.pcapng", *(enhanced_packet(0, AT + n, ethernet(p)) for n, p in enumerate(packets)))
    for words in ((), ("--journeys",)):
        shown = gwlbemu("inspect", file, "--limit", "2", *words).out
        assert [":1002 " in shown, ":1003 " in shown, ":1004 " in shown] == [False, True, True]
        assert "2 of 5 packets" in shown


def test_a_flow_is_chosen_among_usual_and_other_packets(gwlbemu: Any, tmp_path: Path) -> None:
    frames = [ethernet(syn()), ethernet(syn()), ARP, ethernet(build_udp(CLIENT, SERVER, 1, 2, b"x"))]
    file = capture(tmp_path / "a.pcapng", *(enhanced_packet(0, AT, frame) for frame in frames))
    assert "\n2 of 4 packets\n" in gwlbemu("inspect", file, "--flow", "tcp :80").out
    journeys = gwlbemu("inspect", file, "--flow", "tcp :80", "--journeys").out
    assert journeys.endswith("\n2 of 4 packets\n")


@pytest.mark.parametrize(
    ("name", "data", "code", "words"),
    [
        (
            "text.txt",
            b"no capture at all",
            3,
            "text.txt: the file cannot be read beyond byte 0: not a pcap or pcapng file",
        ),
        (
            "x.gz",
            gzip.compress(b"x", mtime=0),
            3,
            "x.gz: the file cannot be read beyond byte 0: it is compressed: unpack it first",
        ),
        (
            "cut.pcap",
            pcap_file([(0, ethernet(syn())), (1, ethernet(syn()))])[:-3],
            1,
            "cut.pcap: the file cannot be read",
        ),
        ("wifi.pcap", pcap_file([(0, bytes(30))], link_type=105), 0, "(link type 105 is not read)"),
    ],
)
def test_a_file_that_cannot_be_read_is_named(
    gwlbemu: Any, tmp_path: Path, name: str, data: bytes, code: int, words: str
) -> None:
    (tmp_path / name).write_bytes(data)
    said = gwlbemu("inspect", str(tmp_path / name))
    assert said.code == code
    assert words in said.out


def test_a_file_that_is_not_there_or_no_file_is_named(gwlbemu: Any, tmp_path: Path) -> None:
    for path, why in ((tmp_path / "none", "No such file or directory"), (tmp_path, "Is a directory")):
        said = gwlbemu("inspect", str(path))
        assert (said.code, said.out) == (3, "")
        assert said.err == f"gwlbemu: {path}: cannot be read: {why}\n"


def test_json_tells_checksums_and_what_is_carried(gwlbemu: Any, tmp_path: Path) -> None:
    inside = build_udp(CLIENT, SERVER, 0, 4789, bytes.fromhex("0800000000000500") + ethernet(syn()))
    file = capture(tmp_path / "a.pcapng", enhanced_packet(0, AT, ethernet(tunnelled(inside))))
    told = json.loads(gwlbemu("inspect", "--json", file).out)
    assert [check["state"] for check in told["checksums"]] == ["right"] * 6
    assert (told["packet"]["source_port"], told["packet"]["dont_fragment"]) == (0, True)
    assert told["carried"][0]["kind"] == "vxlan vni 5"
    assert told["carried"][0]["packet"]["destination_port"] == 80


def test_a_long_file_shows_its_progress_at_a_terminal_that_packets_do_not_fill(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Terminal:
        def __init__(self, is_one: bool) -> None:
            self.is_one = is_one

        def isatty(self) -> bool:
            return self.is_one

    path = tmp_path / "a.pcapng"
    path.write_bytes(section_header() + interface_description("x"))
    with ExitStack() as stack:
        files = [inspect_view.CaptureFile(path, stack)]
        for longest, err, out, at_end, expected in (
            (1, True, False, False, True), (1, True, True, False, False), (1, True, True, True, True),
            (1, False, False, False, False), (1 << 30, True, False, False, False),
        ):  # fmt: skip
            monkeypatch.setattr(inspect_view, "LONG", longest)
            monkeypatch.setattr(sys, "stderr", Terminal(err))
            monkeypatch.setattr(sys, "stdout", Terminal(out))
            assert inspect_view.shows_progress(files, at_end=at_end) is expected
