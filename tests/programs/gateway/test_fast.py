"""A node with the fast path: what the kernel carries shows in every answer, and every change reaches it."""

from __future__ import annotations

import json
import socket
import struct
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from gwlbemu.errors import TraceGoneError
from gwlbemu.programs.discards import decode
from gwlbemu.wire.tcp import ACK, FIN, RST, SYN, build_tcp
from gwlbemu.wire.udp import build_udp
from tests.programs.gateway.node_bench import OTHER_TARGET, TARGET, Bench, config, running
from tests.waiting import PATIENCE, wait_until

pytestmark = [pytest.mark.namespace, pytest.mark.usefixtures("fast_path")]
CLIENT, SERVER = bytes([10, 1, 0, 2]), bytes([10, 2, 0, 2])
BOTH = (("fw1", TARGET, "a"), ("fw2", OTHER_TARGET, "a"))
REBALANCE = {
    "target_failover.on_deregistration": "rebalance",
    "target_failover.on_unhealthy": "rebalance",
    "deregistration_delay.timeout_seconds": "0",
}


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Bench]]:
    with ExitStack() as stack:

        def begin(**changes: Any) -> Bench:
            settings = config(tmp_path, **({"datapath": "ebpf", "targets": BOTH} | changes))
            bench = stack.enter_context(running(settings, tmp_path, healthy=(TARGET, OTHER_TARGET)))
            bench.wait_for_state("healthy")
            return bench

        yield begin


@pytest.fixture
def bench(start: Callable[..., Bench]) -> Bench:
    return start()


def query(port: int = 1000, payload: bytes = b"query") -> bytes:
    return build_udp(CLIENT, SERVER, port, 53, payload)


def segment(flags: int, *, back: bool = False, payload: bytes = b"") -> bytes:
    ends = (SERVER, CLIENT, 80, 1000) if back else (CLIENT, SERVER, 1000, 80)
    return build_tcp(*ends, flags=flags, payload=payload)


def enter(bench: Bench, *packets: bytes) -> list[bytes]:
    """Send packets at the endpoint, return the frames that reach the targets, when the kernel knows of their flows."""
    bench.client.send([bytes.fromhex("0200000001010200000001020800") + packet for packet in packets])
    frames = bench.take(bench.target, len(packets))
    bench.call("targets")
    return frames


def give_back(bench: Bench, *frames: bytes) -> list[bytes]:
    """Let the targets send frames back, return the packets that leave at the endpoint."""
    bench.target.send([each[6:12] + each[:6] + each[12:26] + each[30:34] + each[26:30] + each[34:] for each in frames])
    return [frame[14:] for frame in bench.take(bench.client, len(frames))]


def through(bench: Bench, packet: bytes) -> bytes:
    """Send a packet there and back; return the target's address."""
    (frame,) = enter(bench, packet)
    give_back(bench, frame)
    return frame[30:34]


def carried(bench: Bench) -> tuple[int, int]:
    fast = bench.call("status")["fastpath"]
    return fast["encapsulated"], fast["decapsulated"]


def metric(bench: Bench, name: str) -> int:
    return int(bench.call("metrics")["metrics"][name])


def test_only_the_first_packet_of_a_flow_goes_through_python(bench: Bench) -> None:
    for _ in range(10):
        through(bench, query())
    status = bench.call("status")
    assert (status["datapath"], status["datapath_reason"]) == ("ebpf", "")
    assert carried(bench) == (9, 10)


def test_what_the_kernel_carried_is_in_every_answer(bench: Bench) -> None:
    for _ in range(10):
        through(bench, query())
    size = len(query())
    (flow,) = bench.call("flows")["flows"]
    assert (flow["packets"], flow["bytes"]) == (20, 20 * size)
    assert flow["idle_seconds"] < 60
    metrics = bench.call("metrics")["metrics"]
    assert metrics["ProcessedBytes"] == 20 * size
    assert (metrics["verdicts_to_target"], metrics["verdicts_to_endpoint"], metrics["packets_received"]) == (10, 10, 20)
    (target,) = [each for each in bench.call("targets")["targets"] if each["flows"]]
    assert (target["packets_to"], target["packets_from"]) == (10, 10)
    endpoint, eni = bench.call("status")["ports"]
    assert (endpoint["frames_in"], endpoint["verdicts"], endpoint["frames_out"]) == (10, 10, 10)
    assert (eni["frames_in"], eni["verdicts"], eni["frames_out"]) == (10, 10, 10)


@pytest.mark.contract("FL-06")
@pytest.mark.contract("FL-07")
def test_a_packet_that_the_kernel_carried_restarts_the_idle_clock_however_far_it_was_moved(bench: Bench) -> None:
    through(bench, query())
    for _ in range(3):
        assert bench.call("advance", seconds=100)["ended"] == []
        through(bench, query())
    before = carried(bench)
    through(bench, query())
    assert carried(bench) == (before[0] + 1, before[1] + 1)
    assert bench.call("advance", seconds=110)["ended"] == []
    assert len(bench.call("advance", seconds=10)["ended"]) == 1
    assert metric(bench, "ProcessedBytes") == 10 * len(query())


@pytest.mark.contract("FL-07")
def test_an_odd_packet_after_a_long_time_in_the_kernel_finds_its_flow_alive(bench: Bench) -> None:
    enter(bench, segment(SYN))
    bench.call("advance", seconds=340)
    time.sleep(0.3)
    bench.client.send([bytes.fromhex("0200000001010200000001020800") + segment(ACK)])
    bench.take(bench.target)  # nobody asks for counters now, which would tell the core, and no round is due
    assert bench.call("advance", seconds=340)["ended"] == []
    assert carried(bench)[0] == 1
    enter(bench, segment(ACK | FIN))
    assert metric(bench, "Dropped_MidstreamTcp") == 0


def test_the_idle_time_of_the_kernel_follows_what_python_has_seen(bench: Bench) -> None:
    """A flow that only Python saw for a while is carried again after the next round through the entries."""
    enter(bench, segment(SYN), segment(ACK))
    for _ in range(3):
        bench.call("advance", seconds=200)
        enter(bench, segment(ACK | FIN))
    before = carried(bench)[0]

    def is_carried() -> bool:
        enter(bench, segment(ACK))
        return carried(bench)[0] > before

    wait_until(is_carried, lambda: bench.call("status")["fastpath"])


@pytest.mark.contract("FL-09")
def test_a_reset_ends_a_flow_and_keeps_its_counters(bench: Bench) -> None:
    (frame,) = enter(bench, segment(SYN))
    enter(bench, segment(ACK), segment(ACK), segment(ACK))
    assert carried(bench)[0] == 3
    enter(bench, segment(RST))
    (last,) = enter(bench, segment(RST))
    give_back(bench, last)
    assert bench.call("flows")["flows"] == []
    assert bench.call("status")["fastpath"]["entries"] == 0
    metrics = bench.call("metrics")["metrics"]
    assert (metrics["verdicts_to_target"], metrics["verdicts_to_endpoint"]) == (6, 1)
    assert metrics["packets_received"] == metrics["verdicts"] == 7
    assert metrics["ProcessedBytes"] == 7 * len(segment(SYN))
    assert frame[30:34] == last[30:34]


def test_both_fins_take_a_connection_out_of_the_kernel(bench: Bench) -> None:
    first, *_ = enter(bench, segment(SYN), segment(ACK))
    (fin,) = enter(bench, segment(FIN | ACK))
    (other,) = enter(bench, segment(FIN | ACK, back=True))
    assert bench.call("status")["fastpath"]["entries"] == 1
    give_back(bench, fin, other)
    assert bench.call("status")["fastpath"]["entries"] == 0
    enter(bench, segment(ACK))
    assert bench.call("advance", seconds=10)["ended"] != []
    assert first[42:82] == fin[42:82] == other[42:82]


@pytest.mark.contract("FL-05")
def test_a_flow_of_a_target_that_leaves_stays_in_the_kernel_until_it_is_moved(start: Callable[..., Bench]) -> None:
    bench = start()
    address = through(bench, query())
    name = {TARGET: "fw1", OTHER_TARGET: "fw2"}[".".join(map(str, address))]
    bench.call("deregister", id=name)
    before = carried(bench)
    assert through(bench, query()) == address
    assert carried(bench) == (before[0] + 1, before[1] + 1)


def test_a_rebalanced_flow_goes_to_the_other_target_and_back_into_the_kernel(start: Callable[..., Bench]) -> None:
    bench = start(attributes={"load-balancer": {}, "listener": {}, "target-group": REBALANCE})
    address = through(bench, query())
    through(bench, query())
    name = {TARGET: "fw1", OTHER_TARGET: "fw2"}[".".join(map(str, address))]
    bench.call("deregister", id=name)
    other = through(bench, query())
    assert other != address
    before = carried(bench)
    assert through(bench, query()) == other
    assert carried(bench) == (before[0] + 1, before[1] + 1)
    (flow,) = bench.call("flows")["flows"]
    assert (flow["packets"], flow["moves"]) == (8, 1)
    metrics = bench.call("metrics")["metrics"]
    assert metrics["verdicts_to_target"] == metrics["verdicts_to_endpoint"] == 4


def test_other_stickiness_reaches_the_kernel(bench: Bench) -> None:
    through(bench, query())
    assert bench.call("status")["fastpath"]["entries"] == 1
    attributes = {"stickiness.enabled": "true", "stickiness.type": "source_ip_dest_ip"}
    bench.call("set", resource="target-group", attributes=attributes)
    assert bench.call("status")["fastpath"]["entries"] == 0
    through(bench, query(2000))
    before = carried(bench)
    through(bench, query(3000))
    assert carried(bench) == (before[0] + 1, before[1] + 1)
    assert bench.call("status")["fastpath"]["entries"] == 1
    bench.call("set", resource="target-group", attributes={"stickiness.enabled": "false"})
    through(bench, query(3000))
    assert carried(bench) == (before[0] + 1, before[1] + 2)


def test_a_trace_sees_every_packet_and_the_kernel_goes_on_afterwards(bench: Bench) -> None:
    through(bench, query())
    through(bench, query())
    before = carried(bench)
    trace = bench.call("trace_start", match=[[17, "10.1.0.2", "10.2.0.2", 1000, 53]])["trace"]
    for _ in range(5):
        through(bench, query())
    events = bench.call("trace_read", trace=trace)["events"]
    assert [each["direction"] for each in events] == ["out", "back"] * 5
    status = bench.call("status")
    assert status["datapath"] == "ebpf"
    assert "trace" in status["datapath_reason"]
    assert carried(bench) == before
    assert bench.call("trace_stop", trace=trace)["count"] == 10
    through(bench, query())
    assert carried(bench) == (before[0] + 1, before[1] + 1)
    assert metric(bench, "verdicts_to_target") == 8


def test_the_kernel_carries_nothing_while_one_of_two_traces_is_live(bench: Bench) -> None:
    through(bench, query())
    before = carried(bench)
    udp, tcp = (
        bench.call("trace_start", match=[[protocol, "10.1.0.2", "10.2.0.2", 1000, port]])["trace"]
        for protocol, port in ((17, 53), (6, 80))
    )
    through(bench, query())
    assert bench.call("trace_stop", trace=tcp) == {"events": [], "count": 0, "more": False}
    through(bench, query())
    assert carried(bench) == before
    assert bench.call("trace_stop", trace=udp)["count"] == 4
    through(bench, query())
    assert carried(bench) == (before[0] + 1, before[1] + 1)


def test_the_kernel_carries_again_when_the_owner_of_a_trace_has_gone(bench: Bench) -> None:
    through(bench, query())
    before = carried(bench)
    trace = bench.call("trace_start", lease_seconds=0.5)["trace"]
    assert "trace" in bench.call("status")["datapath_reason"]
    deadline = time.monotonic() + 60
    while bench.call("status")["datapath_reason"]:
        assert time.monotonic() < deadline
    with pytest.raises(TraceGoneError, match="is over") as caught:
        bench.call("trace_renew", trace=trace)
    assert caught.value.code == "TraceNotFound"
    through(bench, query())
    assert carried(bench) == (before[0] + 1, before[1] + 1)


def test_a_lease_goes_by_real_time_and_not_by_time_that_was_advanced(bench: Bench) -> None:
    trace = bench.call("trace_start", lease_seconds=60)["trace"]
    bench.call("advance", seconds=3600)
    bench.call("advance", seconds=3600)
    assert bench.call("trace_read", trace=trace) == {"events": [], "count": 0, "more": False}
    assert "trace" in bench.call("status")["datapath_reason"]


def test_taps_see_every_packet_that_the_kernel_carries(bench: Bench) -> None:
    """At the node's two interfaces, where the lab's capture and tcpdump sit, each packet is there as on the wire."""
    with ExitStack() as stack:
        taps = {device: stack.enter_context(Watcher(device)) for device in ("vpce", "eni")}
        packets = [query(payload=bytes([number])) for number in range(20)]
        sent, returned = [], []
        for packet in packets:
            (frame,) = enter(bench, packet)
            sent.append(frame)
            returned += give_back(bench, frame)
        assert carried(bench) == (19, 20)
        seen = {device: tap.frames(40) for device, tap in taps.items()}
    assert [frame[14:] for frame in seen["vpce"][::2]] == packets
    assert [frame[14:] for frame in seen["vpce"][1::2]] == returned
    assert seen["eni"][::2] == sent
    assert [frame[42:] for frame in seen["eni"][1::2]] == [frame[42:] for frame in sent]


def test_a_drop_is_told_to_the_capture_as_without_the_fast_path(tmp_path: Path, start: Callable[..., Bench]) -> None:
    path = tmp_path / "discards.sock"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as capture:
        capture.bind(str(path))
        capture.settimeout(PATIENCE)
        bench = start(discards=str(path))
        bench.client.send([bytes.fromhex("0200000001010200000001020800") + segment(ACK)])
        discard = decode(capture.recv(65536))
    assert discard.comment == "dropped at vpce-fw: MidstreamTcp"
    assert discard.frame[14:] == segment(ACK)


def test_nothing_is_left_of_a_node_that_is_killed(bench: Bench) -> None:
    through(bench, query())
    held = bpf_ids(bench.process.pid)
    assert {kind: len(found) for kind, found in held.items()} == {"prog": 3, "link": 2}
    bench.process.kill()
    bench.process.wait()
    wait_until(lambda: not any(held[kind] & shown(kind) for kind in held), held)
    links = subprocess.run(["ip", "-n", "tnode", "-j", "link"], capture_output=True, text=True, check=True)
    assert {each["ifname"] for each in json.loads(links.stdout)} == {"lo", "vpce", "eni", "vpce2"}


def test_a_node_that_must_have_a_fast_path_and_cannot_says_why_in_one_line(tmp_path: Path) -> None:
    settings = config(tmp_path, datapath="ebpf")
    with (
        pytest.raises(AssertionError, match=r"datapath ebpf is not possible here: no privilege") as caught,
        running(settings, tmp_path, command=WITHOUT_BPF),
    ):
        pass
    assert "Traceback" not in str(caught.value)


def test_a_node_that_may_have_a_fast_path_and_cannot_runs_on_python_and_says_why(tmp_path: Path) -> None:
    with running(config(tmp_path, datapath="auto"), tmp_path, command=WITHOUT_BPF) as bench:
        bench.wait_for_state("healthy")
        through(bench, query())
        status = bench.call("status")
    assert status["datapath"] == "python"
    assert "privilege" in status["datapath_reason"]


def test_a_node_that_shall_be_all_python_is(tmp_path: Path, start: Callable[..., Bench]) -> None:
    bench = start(datapath="python")
    through(bench, query())
    assert bench.call("status")["datapath"] == "python"
    assert bpf_ids(bench.process.pid) == {"prog": set(), "link": set()}


class Watcher:
    """tcpdump at an interface of the node, writing to a pipe."""

    def __init__(self, device: str) -> None:
        command = ["nsenter", "--net=/run/netns/tnode", "tcpdump", "-i", device, "-s0", "-U", "-w", "-", "udp"]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)

    def __enter__(self) -> Watcher:
        assert self._process.stderr is not None
        try:
            assert b"listening" in self._process.stderr.readline()
        except BaseException:
            self.__exit__()
            raise
        return self

    def frames(self, count: int) -> list[bytes]:
        """The first `count` frames."""
        stream = self._process.stdout
        assert stream is not None
        assert stream.read(24)[:4] == bytes.fromhex("d4c3b2a1")
        found = []
        for _ in range(count):
            _, _, size, _ = struct.unpack("<IIII", stream.read(16))
            found.append(stream.read(size))
        return found

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.communicate()


WITHOUT_BPF = ("setpriv", "--bounding-set=-sys_admin,-bpf", "--inh-caps=-sys_admin,-bpf")


def bpf_ids(pid: int) -> dict[str, set[int]]:
    """The programs and links that a process holds."""
    found: dict[str, set[int]] = {"prog": set(), "link": set()}
    for path in Path(f"/proc/{pid}/fdinfo").iterdir():
        try:
            text = path.read_text()
        except FileNotFoundError:  # a control connection that has just ended
            continue
        words = dict(line.split(":", 1) for line in text.splitlines() if ":" in line)
        if "link_id" in words:
            found["link"].add(int(words["link_id"]))
        elif "prog_id" in words:
            found["prog"].add(int(words["prog_id"]))
    return found


def shown(kind: str) -> set[int]:
    done = subprocess.run(["bpftool", "-j", kind, "show"], capture_output=True, text=True, check=True)
    return {item["id"] for item in json.loads(done.stdout)}
