"""Health checks in a capture: the written file has one of each kind, and what looks like one without being one."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from gwlbemu.capture.pcapng import enhanced_packet
from gwlbemu.cli import inspect
from gwlbemu.cli.main import main
from gwlbemu.core.elb.health import CHECK_PORTS
from gwlbemu.core.network.tables import NODE_PORTS
from gwlbemu.topology.plan.resolve import load
from gwlbemu.topology.plan.values import Plan
from gwlbemu.wire.tcp import ACK, FIN, SYN, build_tcp
from gwlbemu.wire.udp import build_udp
from tests.capture.capture_helpers import AT, CLIENT, ethernet, our_file, pcap_file, tunnelled
from tests.lab.fronts import front
from tests.views.application_plan import application_plan

NODE, WEB, OWN = bytes((10, 0, 101, 254)), bytes((10, 0, 1, 10)), CHECK_PORTS[7]
_SYN, _SYN_ACK, _FIN = SYN, SYN | ACK, FIN | ACK


def tcp(source: bytes, source_port: int, destination: bytes, port: int, flags: int = _SYN) -> bytes:
    return build_tcp(source, destination, source_port, port, sequence=5, flags=flags, identification=7)


CHECKS = [
    tcp(NODE, OWN, WEB, 80),
    tcp(WEB, 80, NODE, OWN, _SYN_ACK),
    tcp(NODE, OWN, WEB, 80, _FIN),
    tcp(WEB, 80, NODE, OWN, _FIN),
    tunnelled(tcp(NODE, OWN, WEB, 80)),  # on its way past an appliance
]
OTHERS = [
    tcp(NODE, 32768, WEB, 80),  # for a client, by an engine
    tcp(WEB, 80, NODE, 32768, _SYN_ACK),
    tcp(NODE, NODE_PORTS[0], WEB, 80),  # for a client, by the kernel
    tcp(CLIENT, 80, NODE, OWN),  # to the node, where nobody listens
    tcp(WEB, 40000, NODE, OWN),
    tcp(NODE, OWN, WEB, 9999),  # where no target is probed
    build_udp(NODE, WEB, OWN, 80, b"x"),
]


@pytest.mark.parametrize("plan", [load(front(), "here"), application_plan()], ids=["network", "application"])
@pytest.mark.parametrize("written", ["pcap", "pcapng"])
def test_checks_are_left_out_and_counted_and_nothing_else_is(
    plan: Plan, written: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    frames, file = [ethernet(packet) for packet in (*CHECKS, *OTHERS)], tmp_path / written
    if written == "pcap":
        file.write_bytes(pcap_file(list(enumerate(frames))))
    else:
        file.write_bytes(our_file(*(enhanced_packet(0, AT + n, frame) for n, frame in enumerate(frames))))
    lab: Any = SimpleNamespace(plan=plan)
    monkeypatch.setattr(inspect, "_capture_of_lab", lambda _: (lab, [file]))
    monkeypatch.setattr(inspect, "_tell_trouble", lambda _: 0)
    count = f"{len(OTHERS)} of {len(frames)} packets\n"
    for words, view in (((), ""), (("-v",), ""), (("--journeys",), " of journeys")):
        assert main(["inspect", "--last", *words]) == 0
        said = capsys.readouterr().out
        assert count in said
        assert f"\nleft out{view}: {len(CHECKS)} health checks\n" in said
    assert main(["inspect", str(file)]) == 0  # a file is anybody's
    assert f"\n{len(frames)} packets\n" in capsys.readouterr().out


def test_checks_come_from_ports_that_no_clients_connection_has() -> None:
    assert not set(CHECK_PORTS) & {*NODE_PORTS, *range(32768, 61000)}
