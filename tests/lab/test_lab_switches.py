"""What AWS leaves open: each switch of `emulation:` makes the difference on real packets that it says."""

from __future__ import annotations

import sys

import pytest
from scapy.layers.inet import UDP

from gwlbemu import Lab
from gwlbemu.fastpath.build import available, cache_folder
from tests.lab.oracles import sniffed
from tests.lab.talkers import until_unhealthy
from tests.lab.worlds import DATAPATH, world
from tests.waiting import PATIENCE, wait_until

pytestmark = pytest.mark.namespace

SEND_UDP = """
import socket
for port in range(1001, 1031):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("", port))
        sock.sendto(b"x", ("203.0.113.10", 9))
"""


@pytest.mark.contract("GV-04")
@pytest.mark.topology(world(emulation={"source_port": "rfc8926"}), capture=False)
def test_with_the_rfc_8926_policy_source_ports_spread_from_49152_to_65535(lab: Lab) -> None:
    with sniffed(lab, "fw") as seen:
        lab.exec("client", [sys.executable, "-c", SEND_UDP])
    ports = {each.outer[UDP].sport for each in seen.tunnelled() if UDP in each.inner}
    assert all(49152 <= port <= 65535 for port in ports)
    assert len(ports) > 25


@pytest.mark.contract("FL-08")
@pytest.mark.topology(world(emulation={"midstream": "rst"}), capture=False)
def test_midstream_rst_answers_a_segment_without_a_flow_by_a_reset(lab: Lab) -> None:
    (fate,) = lab.inject(tcp=80, flags="A")
    assert (fate.outcome, fate.hops[-1].verdict) == ("rejected", "reset")
    assert fate.replies[0].endswith(" R")


@pytest.mark.contract("FL-08")
@pytest.mark.topology(world(emulation={"midstream": "new"}), capture=False)
def test_midstream_new_makes_a_flow_of_a_segment_without_one(lab: Lab) -> None:
    (fate,) = lab.inject(tcp=80, flags="A")
    assert fate.delivered_to == "server-a"


@pytest.mark.contract("FL-10")
@pytest.mark.topology(world(emulation={"fragments": "drop"}), capture=False)
def test_fragments_drop_loses_every_fragment_and_nothing_else(lab: Lab) -> None:
    lab.exec("client", ["ping", "-c", "1", "-W", "1", "-s", "4000", "203.0.113.10"])
    assert lab.metric("Dropped_InnerFragment") == 3
    assert lab.exec("client", ["ping", "-c", "1", "-W", "30", "203.0.113.10"]).code == 0


@pytest.mark.topology(world(emulation={"fin_linger_seconds": 0}), capture=False)
@pytest.mark.contract("FL-09")
def test_without_a_linger_a_closed_connection_is_forgotten_at_once(lab: Lab) -> None:
    lab.exec("client", ["curl", "-s", "http://203.0.113.10/"])
    while flows := lab.flows():
        assert all(flow.expires_in_seconds > 3 for flow in flows)  # the usual linger is 3 s


UPLOAD = """
import socket, time
with socket.create_server(("", 7000)) as server:
    print("ready", flush=True)
    connection, _ = server.accept()
    try:
        while True:
            connection.sendall(b"x" * 100)
            time.sleep(0.02)
    except OSError as error:
        print(type(error).__name__, flush=True)
"""
DOWNLOAD = """
import socket, sys
with socket.create_connection((sys.argv[1], 7000), 30) as connection:
    connection.settimeout(None)
    connection.recv(100)
    print("begun", flush=True)
    try:
        while connection.recv(65536):
            pass
    except OSError as error:
        print(type(error).__name__, flush=True)
"""


@pytest.mark.contract("FL-14")
@pytest.mark.parametrize("datapath", ["python", "ebpf"])
@pytest.mark.parametrize("ends", ["sender", "both"])
def test_who_only_downloads_is_told_of_a_target_that_fails_when_both_ends_are(datapath: str, ends: str) -> None:
    if datapath == "ebpf" and (missing := available(cache_folder())):
        pytest.skip(missing)
    text = world(group={"send_tcp_reset.on_unhealthy.enabled": True}, emulation={"reset_ends": ends})
    with Lab(text.replace(f"datapath: {DATAPATH}", f"datapath: {datapath}"), capture=False, wait=PATIENCE) as lab:
        sending = lab.spawn("server-a", [sys.executable, "-c", UPLOAD])
        wait_until(lambda: "ready" in sending.output())
        loading = lab.spawn("client", [sys.executable, "-c", DOWNLOAD, "203.0.113.10"])
        wait_until(lambda: "begun" in loading.output(), loading.output)
        lab.fail("health", "fw")
        until_unhealthy(lab, "fw")
        wait_until(lambda: "ConnectionResetError" in sending.output(), sending.output)
        if ends == "both":
            wait_until(lambda: "ConnectionResetError" in loading.output(), loading.output)
        else:
            assert loading.output() == "begun\n"
        assert lab.metric("TCP_GWLB_Reset_Count") >= (2 if ends == "both" else 1)
