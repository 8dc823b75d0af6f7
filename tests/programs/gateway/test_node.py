"""A real node process in namespaces: packets in, verdicts out, questions answered."""

from __future__ import annotations

import socket
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from scapy.contrib.geneve import GENEVE
from scapy.layers.inet import IP, TCP, UDP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import Ether

from gwlbemu.errors import LabError, SettingError, TraceGoneError
from gwlbemu.lab.control import call
from gwlbemu.ports.filters import ip_to_us
from gwlbemu.ports.packet import PacketPort
from gwlbemu.programs.discards import decode
from gwlbemu.programs.gateway.config import NodeConfig
from tests.programs.gateway.node_bench import ENDPOINT, NODE, OTHER_TARGET, TARGET, Bench, config, inside, running
from tests.waiting import PATIENCE, wait_until

pytestmark = pytest.mark.namespace


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    with running(config(tmp_path), tmp_path) as bench:
        bench.wait_for_state("healthy")
        yield bench


def inner(sport: int = 1000, *, flags: str = "S", payload: bytes = b"") -> bytes:
    return bytes(
        IP(src="10.1.0.2", dst="10.2.0.2", id=sport, ttl=64) / TCP(sport=sport, dport=80, flags=flags) / payload
    )


def to_node(packet: bytes, kind: bytes = b"\x08\x00") -> bytes:
    return bytes.fromhex("020000000101020000000102") + kind + packet


def swapped(frame: bytes, *, checksum: bytes | None = None) -> bytes:
    """What a pass-through appliance sends back: MACs and outer addresses the other way round."""
    ip_header = frame[14:26] + frame[30:34] + frame[26:30]
    udp = frame[34:40] + (frame[40:42] if checksum is None else checksum)
    return frame[6:12] + frame[:6] + frame[12:14] + ip_header + udp + frame[42:]


def test_a_packet_goes_through_geneve_to_the_target_and_back_out_of_its_endpoint(bench: Bench) -> None:
    packet = inner()
    bench.client.send([to_node(packet)])
    (frame,) = bench.take(bench.target)
    outer = Ether(frame)
    assert (outer.dst, outer.src) == ("02:00:00:00:09:02", "02:00:00:00:09:01")
    assert (outer[IP].src, outer[IP].dst, outer[UDP].dport) == (NODE, TARGET, 6081)
    assert len(frame) == 14 + 68 + len(packet)
    assert outer[GENEVE].options[0].data == bytes.fromhex(ENDPOINT[6:])
    bench.target.send([swapped(frame)])
    (back,) = bench.take(bench.client)
    assert back[:12] == bytes.fromhex("020000000102020000000101")
    assert IP(back[14:])[TCP].sport == 1000


def test_ipv6_leaves_with_its_own_ethertype(bench: Bench) -> None:
    packet = bytes(IPv6(src="2001:db8::1", dst="2001:db8::2", hlim=64) / UDP(sport=1, dport=2) / b"six")
    bench.client.send([to_node(packet, b"\x86\xdd")])
    (frame,) = bench.take(bench.target)
    bench.target.send([swapped(frame)])
    (back,) = bench.take(bench.client)
    assert back[12:14] == b"\x86\xdd"
    assert IPv6(back[14:])[UDP].load == b"six"


@pytest.mark.contract("GV-09")
@pytest.mark.parametrize("checksum", [b"\0\0", b"\xde\xad"], ids=["none", "wrong"])
def test_a_return_with_no_or_a_wrong_udp_checksum_arrives(bench: Bench, checksum: bytes) -> None:
    bench.client.send([to_node(inner())])
    (frame,) = bench.take(bench.target)
    bench.target.send([swapped(frame, checksum=checksum)])
    assert len(bench.take(bench.client)) == 1


@pytest.mark.contract("GV-14")
def test_a_bad_return_is_counted_and_nothing_is_sent_back(bench: Bench) -> None:
    bench.client.send([to_node(inner())])
    (frame,) = bench.take(bench.target)
    with inside("ttarget"):
        everything = PacketPort("eth0", program=ip_to_us())
    with closing(everything):
        wrong_cookie = swapped(frame)[:78] + b"\xff\xff\xff\xff" + swapped(frame)[82:]
        bench.target.send([wrong_cookie])
        wait_until(lambda: bench.call("metrics")["metrics"]["PacketsDroppedCount_InvalidGwlbFlowCookie"] == 1)
        assert [frame for frame in everything.recv() if TCP not in Ether(frame)] == []  # TCP: the health checks


@pytest.mark.contract("TG-03")
def test_the_health_check_comes_from_the_enis_address(tmp_path: Path) -> None:
    with running(config(tmp_path, targets=(("fw1", OTHER_TARGET, "a"),)), tmp_path) as bench:
        with inside("ttarget"):
            server = socket.create_server((OTHER_TARGET, 80))
        with server:
            bench.wait_for_state("healthy")
            connection, (address, _) = server.accept()
            connection.close()
        assert address == NODE


def test_every_frame_in_is_a_verdict_and_every_drop_of_the_socket_is_shown(bench: Bench) -> None:
    frames = [to_node(inner(1000 + n % 50)) for n in range(64)]
    sent = 0
    deadline = time.monotonic() + 3
    while time.monotonic() < deadline:
        sent += bench.client.send(frames)
        bench.target.recv()

    def port() -> dict[str, int]:
        found: dict[str, int] = bench.call("status")["ports"][0]
        return found

    wait_until(lambda: port()["frames_in"] + port()["socket_drops"] == sent, lambda: f"{port()}, {sent}")
    metrics = bench.call("metrics")["metrics"]
    assert port()["frames_in"] == port()["verdicts"] == metrics["packets_received"] == metrics["verdicts"]


def test_a_flow_is_listed_and_ends_when_its_time_is_advanced(bench: Bench) -> None:
    bench.client.send([to_node(inner(n)) for n in (1000, 1001, 1002)])
    bench.take(bench.target, 3)
    page = bench.call("flows", limit=2)
    assert (len(page["flows"]), page["more"]) == (2, True)
    (last,) = bench.call("flows", limit=2, cursor=page["cursor"])["flows"]
    assert (last["endpoint"], last["protocol"], last["source"], last["destination_port"]) == (
        "vpce-fw",
        6,
        "10.1.0.2",
        80,
    )
    assert (last["target"], last["packets"]) == ("fw1", 1)
    assert 290 < last["expires_in_seconds"] <= 350
    assert bench.call("advance", seconds=300)["ended"] == []
    ended = bench.call("advance", seconds=51)["ended"]
    assert sorted(ended)[0] == "tcp 10.1.0.2 port 1000 -> 10.2.0.2 port 80 at vpce-fw, target fw1"
    assert len(ended) == 3
    assert bench.call("flows")["flows"] == []


def test_targets_come_and_go_over_the_control_socket(bench: Bench) -> None:
    with inside("ttarget"):
        server = socket.create_server((OTHER_TARGET, 80))
    with server:
        bench.call("register", id="fw2", address=OTHER_TARGET, zone="a")
        bench.wait_for_state("healthy")
        bench.call("deregister", id="fw1")
        assert {each["id"]: each["state"] for each in bench.call("targets")["targets"]}["fw1"] == "draining"
        bench.client.send([to_node(inner(n)) for n in range(2000, 2010)])
        assert {IP(frame[14:]).dst for frame in bench.take(bench.target, 10)} == {OTHER_TARGET}


def test_what_aws_refuses_is_refused_with_its_code(bench: Bench) -> None:
    with pytest.raises(SettingError, match=r"tcp\.idle_timeout\.seconds") as caught:
        bench.call("set", resource="listener", attributes={"tcp.idle_timeout.seconds": "59"})
    assert caught.value.code == "ValidationError"
    with pytest.raises(SettingError, match="nobody") as caught:
        bench.call("deregister", id="nobody")
    assert caught.value.code == "InvalidTarget"
    for verb, arguments in (("dance", {}), ("register", {}), ("advance", {"seconds": -1}), ("flows", {"limit": "x"})):
        with pytest.raises(SettingError):
            bench.call(verb, **arguments)
    bench.call("set", resource="listener", attributes={"tcp.idle_timeout.seconds": "60"})


def test_a_trace_tells_the_way_of_the_packets_that_were_asked_for_and_of_no_others(bench: Bench) -> None:
    trace = bench.call("trace_start", match=[[6, "10.2.0.2", "10.1.0.2", 80, 1000]])["trace"]
    bench.client.send([to_node(inner(1000)), to_node(inner(1001)), to_node(inner(1002, flags="A"))])
    frames = bench.take(bench.target, 2)
    bench.target.send([swapped(frame) for frame in frames])
    bench.take(bench.client, 2)
    out, back = bench.call("trace_read", trace=trace)["events"]
    assert (out["endpoint"], out["direction"], out["verdict"], out["target"]) == ("vpce-fw", "out", "to-target", "fw1")
    assert (back["direction"], back["verdict"], back["target"]) == ("back", "to-endpoint", "fw1")
    assert out["identity"] == back["identity"] == [6, 1000, 80, 1000, 40]
    assert out["cookie"] == back["cookie"] == f"0x{struct.unpack('!I', frames[0][78:82])[0]:08x}"
    assert 0 < out["time"] <= back["time"] <= time.monotonic()
    assert bench.call("trace_stop", trace=trace, after=1) == {"events": [back], "count": 2, "more": False}
    with pytest.raises(TraceGoneError, match="is over") as caught:
        bench.call("trace_read", trace=trace)
    assert caught.value.code == "TraceNotFound"


def test_a_traced_drop_has_its_reason(bench: Bench) -> None:
    trace = bench.call("trace_start", match=[])["trace"]
    bench.client.send([to_node(inner(1000, flags="A"))])
    events = wait_until(lambda: bench.call("trace_read", trace=trace)["events"])
    assert [(each["verdict"], each["reason"]) for each in events] == [("drop", "MidstreamTcp")]


def test_a_dropped_packet_is_told_to_the_capture(tmp_path: Path) -> None:
    path = tmp_path / "discards.sock"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as capture:
        capture.bind(str(path))
        capture.settimeout(PATIENCE)
        with running(config(tmp_path, discards=str(path)), tmp_path) as bench:
            frame = to_node(inner(flags="A"))
            bench.client.send([frame])
            discard = decode(capture.recv(65536))
    assert (discard.interface, discard.comment, discard.frame) == (
        "firewall-a",
        "dropped at vpce-fw: MidstreamTcp",
        frame,
    )
    assert abs(discard.at_ns / 1e9 - time.time()) < 60


def test_sigterm_ends_a_node_cleanly(bench: Bench) -> None:
    assert bench.stop() == 0
    assert not Path(bench.config.control).exists()
    assert "Traceback" not in bench.log.read_text()
    with pytest.raises(LabError, match=r"node\.sock"):
        bench.call("status")


def test_a_node_that_cannot_open_its_interface_says_so_in_one_line(tmp_path: Path) -> None:
    path = tmp_path / "node.json"
    path.write_text(config(tmp_path).to_json())
    result = subprocess.run(
        [sys.executable, "-m", "gwlbemu.programs.gateway.node", str(path)], capture_output=True, text=True, check=False
    )
    assert result.returncode == 2
    assert "interface vpce" in result.stderr
    assert "Traceback" not in result.stderr


def test_a_configuration_survives_its_json(tmp_path: Path) -> None:
    settings = config(tmp_path)
    assert NodeConfig.from_json(settings.to_json()) == settings


def test_nobody_at_the_socket_is_a_lab_error(tmp_path: Path) -> None:
    with pytest.raises(LabError, match=r"none\.sock"):
        call(tmp_path / "none.sock", "status")
