"""Each way of being broken, seen by tshark: exactly the intended thing is wrong, and nothing else."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from scapy.layers.inet import IP, TCP
from scapy.packet import Raw
from scapy.utils import wrpcap

from appliances.action import RETURN, Discard, Send
from appliances.broken.modes import MODES, Situation
from appliances.tunnel import read, swap
from tests.appliances.appliance_helpers import APPLIANCE, APPLIANCE_MAC, CLIENT, NODE, NODE_MAC, SERVER, tunnelled
from tests.waiting import PATIENCE

INNER = IP(src=CLIENT, dst=SERVER) / TCP(sport=40000, dport=80, flags="PA", seq=1, ack=1) / b"payload"
RECEIVED = read(tunnelled(INNER))
FIELDS = {
    "eth.src": APPLIANCE_MAC,
    "eth.dst": NODE_MAC,
    "ip.src": f"{APPLIANCE},{CLIENT}",
    "ip.dst": f"{NODE},{SERVER}",
    "ip.ttl": "255,64",
    "ip.checksum.status": "1,1",  # good
    "udp.srcport": "60001",
    "udp.dstport": "6081",
    "udp.checksum.status": "1",
    "geneve.version": "0",
    "geneve.flags": "0x00",
    "geneve.option.type": "0x01,0x02,0x03",
    "geneve.option.unknown.data": "2356de92d389839c,0000000000000000,98ef1b00",
    "tcp.srcport": "40000",
}
DIFFERENT: dict[str, dict[str, str]] = {
    "slow": {},
    "twice": {},
    "no-swap": {"ip.src": f"{NODE},{CLIENT}", "ip.dst": f"{APPLIANCE},{SERVER}"},
    "wrong-source": {"ip.src": f"10.254.11.100,{CLIENT}", "udp.checksum.status": "3"},  # 3: not present
    "wrong-cookie": {"geneve.option.unknown.data": "2356de92d389839c,0000000000000000,6710e4ff"},
    "wrong-endpoint": {"geneve.option.unknown.data": "dca9216d2c767c63,0000000000000000,98ef1b00"},
    "no-endpoint-option": {
        "geneve.option.type": "0x02,0x03",
        "geneve.option.unknown.data": "0000000000000000,98ef1b00",
    },
    "no-cookie-option": {
        "geneve.option.type": "0x01,0x02",
        "geneve.option.unknown.data": "2356de92d389839c,0000000000000000",
    },
    "no-options": {"geneve.option.type": "", "geneve.option.unknown.data": ""},
    "changed-options": {
        "geneve.option.type": "0x03,0x02,0x01",
        "geneve.option.unknown.data": "98ef1b00,0000000000000000,2356de92d389839c",
    },
    "extra-option": {
        "geneve.option.type": "0x01,0x02,0x03,0x01",
        "geneve.option.unknown.data": "2356de92d389839c,0000000000000000,98ef1b00,6d6f7265",
    },
    "critical-option": {
        "geneve.flags": "0x40",
        "geneve.option.type": "0x01,0x02,0x03,0x81",
        "geneve.option.unknown.data": "2356de92d389839c,0000000000000000,98ef1b00,6d6f7265",
    },
    "oam": {"geneve.flags": "0x80"},
    "wrong-port": {
        "udp.dstport": "6082",
        "geneve.version": "", "geneve.flags": "",
        "geneve.option.type": "", "geneve.option.unknown.data": "", "tcp.srcport": "",
        "ip.src": APPLIANCE, "ip.dst": NODE, "ip.ttl": "255", "ip.checksum.status": "1",
    },
    "source-6081": {"udp.srcport": "6081"},
    "bad-checksum": {"udp.checksum.status": "0"},  # bad
    "no-checksum": {"udp.checksum.status": "3"},
    "ttl-2": {"ip.ttl": "2,64"},
}  # fmt: skip
JUDGED_BY_BYTES = {"version-1", "wrong-ethertype", "truncated", "option-overrun"}  # tshark stops at these
KEPT_OR_COUNTED = {"healthy", "no-return", "half", "originate"}


def sent(mode: str, number: int = 0) -> tuple[bytes, ...]:
    action = MODES[mode](RECEIVED, Situation(number, 0.5))
    assert isinstance(action, Send)
    return action.frames


def seen_by_tshark(frame: bytes, folder: Path) -> dict[str, str]:
    wrpcap(str(folder / "x.pcap"), [Raw(frame)], linktype=1)
    command = ["tshark", "-r", str(folder / "x.pcap"), "-T", "fields", "-E", "separator=|"]
    command += ["-o", "ip.check_checksum:TRUE", "-o", "udp.check_checksum:TRUE"]
    for field in FIELDS:
        command += ["-e", field]
    answer = subprocess.run(command, capture_output=True, text=True, check=True, timeout=PATIENCE).stdout
    return dict(zip(FIELDS, answer.rstrip("\n").split("|"), strict=True))


def test_every_mode_has_a_test() -> None:
    assert set(MODES) == set(DIFFERENT) | JUDGED_BY_BYTES | KEPT_OR_COUNTED


@pytest.mark.parametrize("mode", sorted(DIFFERENT))
def test_only_the_intended_thing_is_wrong(mode: str, tmp_path: Path) -> None:
    assert seen_by_tshark(sent(mode)[-1], tmp_path) == FIELDS | DIFFERENT[mode]


@pytest.mark.parametrize(
    ("mode", "at", "new"),
    [
        ("version-1", 42, b"\x48"),
        ("wrong-ethertype", 44, b"\x65\x58"),
        ("option-overrun", 77, b"\x1f"),
    ],
)
def test_one_field_of_the_header_is_wrong(mode: str, at: int, new: bytes) -> None:
    good = swap(RECEIVED.frame)
    (frame,) = sent(mode)
    expected = good[:at] + new + good[at + len(new) :]
    assert frame[:40] + frame[42:] == expected[:40] + expected[42:], "all but the UDP checksum"


def test_a_truncated_datagram_ends_inside_the_options_with_right_outer_lengths() -> None:
    (frame,) = sent("truncated")
    assert frame[42:] == RECEIVED.frame[42:62]
    assert (int.from_bytes(frame[16:18], "big"), int.from_bytes(frame[38:40], "big")) == (48, 28)


def test_no_return_keeps_everything_and_half_keeps_every_second() -> None:
    def actions(mode: str) -> list[bool]:
        return [MODES[mode](RECEIVED, Situation(number, 0)) == RETURN for number in range(4)]

    assert actions("healthy") == [True] * 4
    assert actions("no-return") == [False] * 4
    assert actions("half") == [True, False, True, False]
    assert MODES["half"](RECEIVED, Situation(1, 0)) == Discard("not returned")


def test_slow_waits_as_long_as_it_is_told_and_twice_sends_two() -> None:
    assert MODES["slow"](RECEIVED, Situation(0, 0.25)) == Send((swap(RECEIVED.frame),), 0.25)
    assert sent("twice") == (swap(RECEIVED.frame),) * 2


def test_originate_returns_the_packet_and_a_syn_of_its_own_in_the_same_header() -> None:
    good, own = sent("originate")
    assert good == swap(RECEIVED.frame)
    assert own[42:82] == RECEIVED.outer.header
    inner = IP(own[82:])
    assert (inner.src, inner.dst, inner[TCP].sport, inner[TCP].dport) == (CLIENT, SERVER, 40999, 80)
    assert str(inner[TCP].flags) == "S"
