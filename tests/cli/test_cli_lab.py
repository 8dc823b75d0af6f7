"""The commands on a running lab: what they print, which keys their JSON has, which exit code says what."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gwlbemu import Lab
from gwlbemu.command import command
from tests.paths import TOPOLOGIES
from tests.waiting import PATIENCE, wait_until

pytestmark = pytest.mark.namespace

CROSS_ZONE = "load_balancing.cross_zone.enabled=true"


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with Lab(TOPOLOGIES / "two-zones.yaml", capture=False) as lab:
        yield lab


def test_up_and_down_in_one_go(gwlbemu: Any) -> None:
    up = gwlbemu("up", "--no-capture", "--lab", "mine", str(TOPOLOGIES / "minimal.yaml"))
    assert up.code == 0
    assert "mine is up after" in up.out
    assert "exec client -- curl -s http://203.0.113.10/" in up.out
    again = gwlbemu("up", "--no-capture", "--lab", "mine", str(TOPOLOGIES / "minimal.yaml"))
    assert (again.code, again.out) == (4, "")
    assert "lab mine is already there" in again.err
    assert gwlbemu("labs").out == "mine\n"
    hint = again.err.strip().rpartition("(")[2].removesuffix(")")
    assert hint.endswith(" down --lab mine")
    down = subprocess.run(hint, shell=True, capture_output=True, text=True)
    assert (down.returncode, down.stdout.startswith("mine is down: ")) == (0, True), down.stderr
    assert gwlbemu("labs").out == "no lab is up\n"


def test_the_hints_after_up_work_from_the_inside_and_on_another_port(gwlbemu: Any, tmp_path: Path) -> None:
    text = (TOPOLOGIES / "egress-nat.yaml").read_text()
    file = tmp_path / "lab.yaml"
    file.write_text(text.replace("program: web}", "program: {web: {port: 8080}}}"))
    try:
        said = gwlbemu("up", "--no-capture", "--lab", "nat", str(file))
        lines = said.out.partition("Try:\n")[2].splitlines()
        assert "worker -- curl -s http://198.51.100.20:8080/" in lines[0]
        for line in lines[:2]:
            done = subprocess.run(line, shell=True, capture_output=True, text=True, cwd=tmp_path)
            assert done.returncode == 0, done.stderr
        assert "delivered to server" in gwlbemu("inject", "--lab", "nat", "--demo").out
    finally:
        gwlbemu("down", "--lab", "nat")


def test_status_as_json_has_stable_keys(lab: Lab, gwlbemu: Any) -> None:
    said = gwlbemu("status", "--json")
    assert said.code == 0
    status = said.json
    assert {"lab", "processes", "nodes", "capture", "failures"} <= status.keys()
    assert len(status["processes"]) == 13
    assert {"name", "pid", "state", "namespace", "log"} <= status["processes"][0].keys()
    node = status["nodes"]["firewall-node-a"]
    assert {"name", "load_balancer", "zone", "datapath", "uptime_seconds", "ports", "targets"} <= node.keys()
    assert {"name", "frames_in", "verdicts", "socket_drops", "frames_out", "unsent"} <= node["ports"][0].keys()


def test_targets_as_json_has_stable_keys_and_0_means_all_are_healthy(lab: Lab, gwlbemu: Any) -> None:
    said = gwlbemu("targets", "--json")
    assert said.code == 0
    keys = {"target_group", "node", "id", "address", "zone", "state", "reason", "description", "flows"}
    assert all(keys <= target.keys() for target in said.json)
    assert {target["id"] for target in said.json if target["target_group"] == "sensors"} == {"ids-a", "ids-b"}
    assert {target["state"] for target in said.json} == {"healthy"}


def test_flows_as_json_has_stable_keys(lab: Lab, gwlbemu: Any) -> None:
    assert gwlbemu("exec", "client", "--", "curl", "-s", "-m", "30", "http://203.0.113.10/").out.startswith("web-a\n")
    flows = gwlbemu("flows", "--json").json
    keys = {
        "node", "endpoint", "protocol", "source", "source_port", "destination", "destination_port", "target", "cookie",
        "outer_source_port", "age_seconds", "idle_seconds", "expires_in_seconds", "packets", "packets_to",
        "packets_from", "bytes", "moves",
    }  # fmt: skip
    assert all(keys <= flow.keys() for flow in flows)
    assert {flow["endpoint"] for flow in flows if flow["protocol"] == 6} == {"vpce-fw-a", "vpce-ids-a"}
    assert "vpce-fw-a" in gwlbemu("flows").out


def test_inject_says_what_became_of_a_packet_and_1_when_it_was_not_delivered(lab: Lab, gwlbemu: Any) -> None:
    delivered, denied = gwlbemu("inject", "--tcp", "80", "--json"), gwlbemu("inject", "--tcp", "23", "--json")
    assert (delivered.code, denied.code) == (0, 1)
    (fate,) = delivered.json
    keys = {"number", "summary", "hops", "delivered_to", "delivered_after", "replies", "outcome", "why"}
    assert keys <= fate.keys()
    assert {"at", "node", "endpoint", "verdict", "target", "cookie", "reason"} <= fate["hops"][0].keys()
    assert (fate["outcome"], denied.json[0]["outcome"]) == ("delivered", "not-returned")
    text = gwlbemu("inject", "--from", "client", "--to", "web-b", "--tcp", "22")
    assert (text.code, "answered instead of delivered" in text.out) == (1, True)


def test_the_demo_shows_one_of_each_and_is_no_failure(lab: Lab, gwlbemu: Any) -> None:
    said = gwlbemu("inject", "--demo")
    assert said.code == 0
    assert "delivered to web-a" in said.out
    assert "dropped it: rule default (deny)" in said.out
    assert "dropped it: rule no-telnet (deny)" in said.out


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("--tcp", "80", "--from", "nobody"), "no instance nobody; there are: client"),
        (("--tcp", "80", "--flags", "XYZ"), "gwlbemu: inject: flags 'XYZ': expected letters out of FSRPAUEC\n"),
        (("IP(",), "is not a scapy expression"),
        (("Ether()",), "has no IP or IPv6 layer"),
        (("7",), "'7': expected a scapy packet, got 7\n"),
        (("IP(dst='10.9.9.9')/UDP(dport=99999)",), "Incorrect type of value for field dport\n"),
        (("--tcp", "80", "--from", "web-a", "--to", "web-a"), "web-a is both ends: what it sends to itself crosses no"),
    ],
)
def test_inject_refuses_what_it_cannot_send_with_3(
    lab: Lab, gwlbemu: Any, words: tuple[str, ...], expected: str
) -> None:
    said = gwlbemu("inject", *words)
    assert (said.code, said.out) == (3, "")
    assert expected in said.err


def test_an_inject_that_is_terminated_ends_its_traces(lab: Lab, gwlbemu: Any) -> None:
    def traced() -> list[bool]:
        nodes = [node.name for node in lab.plan.gateway_nodes]
        return ["a trace runs" in lab.call(node, "status")["datapath_reason"] for node in nodes]

    if lab.call("firewall-node-a", "status")["datapath"] == "python":
        pytest.skip("without a fast path there is nothing that a trace pauses")
    words = ["inject", "--icmp", "--count", "100", "--interval", "1"]
    before = lab.metric("packets_received")
    process = subprocess.Popen([sys.executable, "-m", "gwlbemu.cli.main", *words], stdout=subprocess.DEVNULL)
    try:
        # Its first packet says that every node has answered it: what begins unanswered ends with its lease.
        wait_until(lambda: all(traced()) and lab.metric("packets_received") > before)
        process.terminate()
        assert process.wait(PATIENCE) == 130
    finally:
        process.kill()
        process.wait()
    assert not any(traced())


def test_inject_needs_exactly_one_kind_of_packet(lab: Lab, gwlbemu: Any) -> None:
    assert gwlbemu("inject", "--tcp", "80", "--udp", "53").code == 2
    assert gwlbemu("inject").code == 2


def test_exec_hands_the_exit_code_through(lab: Lab, gwlbemu: Any) -> None:
    assert gwlbemu("exec", "client", "--", "sh", "-c", "exit 7").code == 7
    said = gwlbemu("exec", "client", "no-such-program")
    assert (said.code, "no-such-program: not found" in said.err) == (127, True)
    said = gwlbemu("exec", "nobody", "--", "true")
    assert (said.code, "nothing called nobody in lab two-zones; there are: " in said.err) == (3, True)


def test_set_takes_all_or_nothing_and_refuses_in_awss_words(lab: Lab, gwlbemu: Any) -> None:
    before = lab.plan
    failover, delay = "target_failover.on_unhealthy=rebalance", "deregistration_delay.timeout_seconds"
    for words, expected in (
        (("firewalls", failover), "gwlbemu: ValidationError: target_failover.on_deregistration (no_rebalance) and "),
        (("firewalls", f"{delay}=1", "no.such.key=2"), "'no.such.key' is not an attribute of firewalls"),
        (("firewall", "tcp.idle_timeout.seconds=59"), "gwlbemu: ValidationError: tcp.idle_timeout.seconds: '59' is"),
        (("nobody", "a=b"), "gwlbemu: LoadBalancerNotFound: no load balancer or target group nobody; there are: "),
    ):  # fmt: skip
        said = gwlbemu("set", *words)
        assert (said.code, said.out, expected in said.err) == (3, "", True), said.err
    assert lab.plan == before
    assert gwlbemu("set", "firewalls", "nonsense").code == 2
    assert (
        gwlbemu("set", "firewall", "tcp.idle_timeout.seconds=350").out == "firewall: tcp.idle_timeout.seconds = 350\n"
    )


def test_register_and_deregister_speak_of_what_they_did(lab: Lab, gwlbemu: Any) -> None:
    assert gwlbemu("deregister", "firewalls", "fw-a1").out == "fw-a1 is draining\n"
    assert gwlbemu("targets").code == 1
    assert "fw-a1 was not registered" in gwlbemu("deregister", "firewalls", "fw-a1").out
    place = "fw-a1 (10.254.1.11, zone a)"
    assert gwlbemu("register", "firewalls", "fw-a1").out == f"{place} is registered; health checks begin\n"
    assert gwlbemu("register", "firewalls", "fw-a1").out == f"{place} is registered already\n"
    said = gwlbemu("register", "firewalls", "client")
    assert (said.code, "InvalidTarget" in said.err) == (3, True)
    lab.wait_until_healthy()
    assert gwlbemu("targets").code == 0


def test_fail_and_heal_are_seen_in_status(lab: Lab, gwlbemu: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")  # a line for each sentence, however long the path of the command is
    assert gwlbemu("fail", "link", "ids-b").code == 0
    said = gwlbemu("status")
    (told,) = (line for line in said.out.splitlines() if line.startswith("! link ids-b is broken on purpose ("))
    assert (said.code, told.endswith(" heal link ids-b)")) == (1, True)
    healed = subprocess.run(told.partition("(")[2][:-1], shell=True, capture_output=True, text=True)
    assert healed.stdout == "cable ids-b of two-zones-appliances-b plugged in\n"
    assert gwlbemu("status").code == 0
    said = gwlbemu("fail", "zone", "z")
    assert (said.code, said.err) == (3, "gwlbemu: no zone z; there are: a, b\n")
    said = gwlbemu("fail", "health", "web-a")
    assert (said.code, said.err) == (
        3, "gwlbemu: no instance with a health check web-a; there are: fw-a1, fw-a2, fw-b1, fw-b2, ids-a, ids-b\n"
    )  # fmt: skip


def test_only_what_changed_is_told_and_healing_what_is_not_broken_says_so(gwlbemu: Any) -> None:
    with Lab(TOPOLOGIES / "minimal.yaml", name="mine", capture=False) as lab:
        for kind in ("link", "process", "health", "zone", "instance"):
            what = (kind, "a" if kind == "zone" else "fw", "--lab", "mine")
            for _ in range(2):
                said = gwlbemu("heal", *what)
                assert (said.code, said.out, said.err) == (0, f"{kind} {what[1]} was not broken\n", "")
                assert "broken" not in gwlbemu("fail", *what).out
                assert gwlbemu("fail", *what).out == f"{kind} {what[1]} is broken already\n"
                assert "broken" not in gwlbemu("heal", *what).out
            assert lab.status().failures == ()


def test_a_program_that_is_started_again_is_not_called_broken(gwlbemu: Any) -> None:
    with Lab(TOPOLOGIES / "minimal.yaml", name="mine", capture=False) as lab:
        lab.fail("health", "fw")
        lab.fail("instance", "fw")
        assert "program of fw started again" in gwlbemu("heal", "--lab", "mine", "instance", "fw").out
        assert lab.status().failures == ()
        lab.wait_until_healthy()


def test_a_frozen_node_is_told_nothing_that_it_would_do_when_it_wakes(lab: Lab, gwlbemu: Any) -> None:
    gwlbemu("inject", "--udp", "53")
    before = len(lab.flows())
    gwlbemu("fail", "process", "firewall-node-b")
    for words in (("advance", "1h"), ("deregister", "firewalls", "fw-a1"), ("set", "firewall", CROSS_ZONE)):
        said = gwlbemu(*words)
        assert (said.code, "firewall-node-b is frozen" in said.err) == (4, True)
    gwlbemu("heal", "process", "firewall-node-b")
    assert len(lab.flows()) == before
    assert {target.state for target in lab.targets() if target.id == "fw-a1"} == {"healthy"}


def test_a_damaged_file_of_the_lab_is_named(lab: Lab, gwlbemu: Any) -> None:
    file = lab.running.state.failures
    file.write_text("")
    said = gwlbemu("status")
    file.unlink()
    assert (said.code, said.err) == (
        4,
        f"gwlbemu: {file} is damaged: take the lab down ({command('down', '--lab', 'two-zones')})\n",
    )


def test_advance_takes_times_with_units_and_tells_what_ended(lab: Lab, gwlbemu: Any) -> None:
    gwlbemu("inject", "--udp", "53")
    said = gwlbemu("advance", "2m")
    assert said.out.splitlines()[0].startswith("120 s have passed; ")
    assert "udp 198.51.100.10 port" in said.out
    assert set(gwlbemu("advance", "1s", "--json").json) == {
        "firewall-node-a",
        "firewall-node-b",
        "ids-node-a",
        "ids-node-b",
    }
    for nonsense in ("soon", "-5", "5d"):
        assert gwlbemu("advance", "--", nonsense).code == 3
