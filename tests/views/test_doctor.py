"""The doctor: what the nodes say turned into findings, the command, and a lab that is really ill."""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from gwlbemu import Lab
from gwlbemu.cli.main import main
from gwlbemu.errors import LabError
from gwlbemu.review.finding import HINT, Finding
from gwlbemu.review.live import live_findings
from gwlbemu.review.seen import (
    Carried,
    IcmpAnswers,
    InstanceSeen,
    OnPurpose,
    PortDrops,
    RefusedReturns,
    Seen,
    WrongChecksums,
)
from gwlbemu.topology.file.document import dotted
from gwlbemu.topology.file.parse import parse
from gwlbemu.topology.plan.resolve import resolve
from gwlbemu.views.doctor import examine_lab
from tests.paths import TOPOLOGIES
from tests.waiting import wait_until

TWO_ZONES = (TOPOLOGIES / "zone-failure.yaml").read_text()
Answers = dict[str, list[dict[str, Any]] | None]


def target(name: str, *, state: str = "healthy", sent: int = 0, returned: int = 0) -> dict[str, Any]:
    zone, number = name[3], name[4]
    address = f"10.254.{1 if zone == 'a' else 2}.1{number}"
    return {
        "id": name, "target_group": "firewalls", "zone": zone, "address": address, "state": state, "packets_to": sent,
        "packets_from": returned, "reason": "", "description": "",
    }  # fmt: skip


def found(answers: Answers, text: str = TWO_ZONES, **others: Any) -> list[Finding]:
    """The findings about a lab whose nodes say that of their targets; packets are UDP by the endpoint of the zone."""
    parsed = parse(text, "test.yaml")
    carried = tuple(
        Carried("inspect", node, one["id"], f"vpce-{node[-1]}", 17, one["packets_to"], one["packets_from"],
                0 if one["packets_from"] else one["packets_to"])
        for node, targets in answers.items()
        for one in targets or ()
    )  # fmt: skip
    seen = Seen(answers, **{"carried": carried, **others})
    return list(live_findings(parsed.topology, resolve(parsed), seen))


def healthy() -> Answers:
    return {
        "inspect-node-a": [target("fw-a1", sent=9, returned=9), target("fw-a2", sent=9, returned=1)],
        "inspect-node-b": [target("fw-b1"), target("fw-b2", sent=4)],
    }


# ---- what the nodes say ----------------------------------------------------------------------------------------------
def test_a_lab_whose_targets_return_packets_is_well() -> None:
    assert found(healthy()) == []


def test_a_healthy_target_that_returned_none_of_its_packets_is_silent() -> None:
    answers = healthy() | {"inspect-node-a": [target("fw-a1", sent=5), target("fw-a2", sent=5, returned=1)]}
    (finding,) = found(answers)
    assert (finding.kind, finding.severity) == ("silent-target", "warning")
    assert "target fw-a1 of load balancer inspect is healthy and has returned none of 5 packets" in finding.text
    assert dotted(finding.path) == "vpcs[1].instances[0].program"


def test_a_target_that_answers_one_endpoint_and_not_the_other_is_told_by_the_endpoint() -> None:
    answers = healthy()
    answers["inspect-node-a"] = [target("fw-a1", sent=9)]
    answers["inspect-node-b"] = [target("fw-a1", sent=9, returned=9), target("fw-b1")]
    (finding,) = found(answers)
    assert (finding.kind, finding.severity) == ("silent-endpoint", "warning")
    assert finding.text == (
        "target fw-a1 of load balancer inspect is healthy and has returned none of 9 packets that entered at vpce-a"
        " (9 others came back)"
    )
    assert dotted(finding.path) == "vpcs[0].endpoints[0]"


def carried(endpoint: str, protocol: int, to: int, back: int, unanswered: int, target: str = "fw-a1") -> Carried:
    return Carried("inspect", "inspect-node-a", target, endpoint, protocol, to, back, unanswered)


def test_a_protocol_that_never_comes_back_is_a_hint_since_a_firewall_may_mean_it() -> None:
    rows = (carried("vpce-a", 6, 50, 48, 0), carried("vpce-a", 17, 9, 0, 9))
    (finding,) = found(healthy(), carried=rows)
    assert (finding.kind, finding.severity) == ("silent-protocol", HINT)
    assert "has returned none of 9 udp packets (48 others came back)" in finding.text


def test_a_target_that_worked_and_went_silent_is_found_by_its_last_packets() -> None:
    rows = (carried("vpce-a", 6, 500, 490, 7), carried("vpce-a", 17, 20, 20, 3))
    (finding,) = found(healthy(), carried=rows)
    assert finding.kind == "silent-target"
    assert "has returned none of the last 10 packets (510 came back before)" in finding.text
    (finding,) = found(healthy(), carried=(*rows, carried("vpce-a", 1, 2, 2, 0)))
    assert (finding.kind, finding.severity) == ("silent-protocol", HINT), "one answer is enough"


def test_every_silent_packet_is_in_one_finding_and_that_is_the_widest_one() -> None:
    rows = (
        carried("vpce-a", 6, 9, 0, 9, "fw-a1"), carried("vpce-a", 17, 9, 0, 9, "fw-a1"),
        carried("vpce-a", 6, 9, 9, 0, "fw-a2"), carried("vpce-a", 17, 9, 0, 9, "fw-a2"),
    )  # fmt: skip
    first, second = found(healthy(), carried=rows)
    assert (first.kind, "fw-a1" in first.text, "none of 18 packets" in first.text) == ("silent-target", True, True)
    assert (second.kind, "fw-a2" in second.text, "none of 9 udp packets" in second.text) == (
        "silent-protocol", True, True,
    )  # fmt: skip


def test_what_was_returned_and_refused_is_not_called_silent() -> None:
    cookie = "PacketsDroppedCount_InvalidGwlbFlowCookie"
    wrong = "flow cookie 0x00000001, expected 0x00000002"
    nine = RefusedReturns("inspect", "inspect-node-a", "fw-a1", "vpce-a", 6, cookie, 9, wrong)
    (finding,) = found(healthy(), carried=(carried("vpce-a", 6, 9, 0, 9),), refused=(nine,))
    assert (finding.kind, finding.severity) == ("refused-return", "error")
    assert finding.text == (
        "target fw-a1 returned 9 packets of vpce-a (tcp), which inspect-node-a refused:"
        f" {wrong} (in the last one; {cookie}); none was taken"
    )
    assert finding.change == "a program that leaves GENEVE option 3 (flow cookie) as it came"
    few = replace(nine, packets=1)
    (finding,) = found(healthy(), carried=(carried("vpce-a", 6, 9, 8, 0),), refused=(few,))
    assert finding.severity == HINT


def test_what_came_back_late_of_flows_that_others_had_ended_is_nobodys_fault_and_not_called_silent() -> None:
    missing = "PacketsDroppedCount_MissingFlowEntry"
    late = RefusedReturns("inspect", "inspect-node-a", "fw-a1", "vpce-a", 6, missing, 9, "", late=True)
    rows = (carried("vpce-a", 6, 9, 0, 9),)
    assert found(healthy(), carried=rows, refused=(late,)) == []
    (finding,) = found(healthy(), carried=rows, refused=(replace(late, late=False),))
    assert finding.kind == "refused-return"


TUNNEL = "PacketsDroppedCount_InvalidGeneveTunnel"


def refused(packets: int, endpoint: str = "vpce-a", protocol: int | None = 6) -> RefusedReturns:
    return RefusedReturns("inspect", "inspect-node-a", "fw-a1", endpoint, protocol, TUNNEL, packets, "")


def test_a_refused_packet_explains_no_silence_of_another_protocol_or_endpoint() -> None:
    rows = (carried("vpce-a", 6, 9, 0, 9), carried("vpce-a", 17, 30, 0, 30), carried("vpce-b", 6, 20, 0, 20))
    first, second, third = found(healthy(), carried=rows, refused=(refused(9),))
    assert first.kind == "refused-return"
    assert (second.kind, "none of 20 packets that entered at vpce-b" in second.text) == ("silent-endpoint", True)
    assert (third.kind, "none of 30 udp packets" in third.text) == ("silent-protocol", True)


def test_refusals_explain_as_many_packets_without_an_answer_as_were_refused() -> None:
    rows = (carried("vpce-a", 6, 50, 0, 50),)
    first, second = found(healthy(), carried=rows, refused=(refused(1),))
    assert first.text.startswith("target fw-a1 returned 1 packet of vpce-a (tcp), which")
    assert second.kind == "silent-target"
    assert second.text.endswith("has returned none of 49 other packets (1 came back and was refused)")
    assert [each.kind for each in found(healthy(), carried=rows, refused=(refused(46),))] == ["refused-return"]


def test_refusals_of_unknown_endpoint_or_protocol_explain_what_those_that_are_known_leave() -> None:
    rows = (carried("vpce-a", 6, 9, 0, 9), carried("vpce-a", 17, 9, 0, 9))
    both = (refused(9, "", None), refused(9))
    assert [each.kind for each in found(healthy(), carried=rows, refused=both)] == ["refused-return"]
    kinds = [each.kind for each in found(healthy(), carried=rows, refused=both[:1])]
    assert kinds == ["refused-return", "silent-protocol"]


def test_of_a_target_that_is_unhealthy_now_it_is_not_said_that_none_was_taken() -> None:
    answers = healthy() | {"inspect-node-a": [target("fw-a1", state="unhealthy"), target("fw-a2")]}
    findings = found(answers, carried=(carried("vpce-a", 17, 500, 400, 0),), refused=(refused(9),))
    (finding,) = (each for each in findings if each.kind == "refused-return")
    assert (finding.severity, finding.text.endswith("; 400 others were taken")) == ("warning", True)


def test_one_is_told_as_one() -> None:
    counts = InstanceSeen("running", lost=(("UDP sockets", 1),), accept_overflows=1)
    answers = healthy() | {"inspect-node-a": [target("fw-a1", state="unhealthy"), target("fw-a2")]}
    findings = found(
        answers,
        carried=(carried("vpce-a", 6, 2, 1, 0),),
        refused=(refused(1),),
        icmp=(IcmpAnswers("inspect-node-a", "10.254.1.11", "10.254.1.11", 6081, "port unreachable", 1),),
        port_drops=(PortDrops("fw-a1", "sent", "address", 1),),
        wrong_checksums=(WrongChecksums("subnet", "app-a", "TCP", 1),),
        instances={"fw-a1": counts},
        too_long={"inspect-node-a": 1},
    )
    texts = {each.kind: each.text for each in findings}
    assert {"refused-return", "icmp-from-target", "port-drop", "wrong-checksum", "receive-buffer", "too-long"} <= set(
        texts
    )
    assert not [text for text in texts.values() if re.search(r"\b1 (packets|times|others)", text)], texts
    assert texts["refused-return"].endswith("; 1 other was taken")


def test_icmp_from_a_target_explains_its_silence_and_one_of_the_past_is_passed_over() -> None:
    rows = (carried("vpce-a", 6, 9, 0, 9),)
    icmp = IcmpAnswers("inspect-node-a", "10.254.1.11", "10.254.1.11", 6081, "port unreachable", 4)
    known = {"fw-a1": InstanceSeen("running", udp_bound=frozenset({53}))}
    (finding,) = found(healthy(), carried=rows, icmp=(icmp,), instances=known)
    assert (finding.kind, finding.severity) == ("icmp-from-target", "error")
    assert finding.text == (
        "target fw-a1 answers with ICMP port unreachable (4 times, about UDP port 6081; no socket there is bound to"
        " it); none of the last 9 packets came back"
    )
    assert found(healthy(), carried=(carried("vpce-a", 6, 9, 5, 0),), icmp=(icmp,)) == []


def test_an_unhealthy_target_is_told_with_what_the_check_and_the_instance_show() -> None:
    failed = {"reason": "Target.FailedHealthChecks", "description": "Health checks failed: no connection to port 80"}
    answers = healthy() | {"inspect-node-a": [{**target("fw-a1", state="unhealthy"), **failed}, target("fw-a2")]}
    known = {"fw-a1": InstanceSeen("running", tcp_listening=frozenset({8080}))}
    (finding,) = found(answers, instances=known)
    assert (finding.kind, finding.severity) == ("unhealthy-target", "warning")
    assert finding.text.endswith(
        "fw-a1 is unhealthy for inspect-node-a (Health checks failed: no connection to port 80)"
    )
    assert dotted(finding.path) == "target_groups[0].health_check.port"
    assert finding.change == "the port where fw-a1 listens, which is 8080"


def test_what_is_broken_on_purpose_is_told_as_that_and_the_one_advice_is_to_heal_it() -> None:
    ill = healthy() | {"inspect-node-a": [target("fw-a1", state="unhealthy", sent=50), target("fw-a2")]}
    broken = OnPurpose("instance", "fw-a1", "gwlbemu heal instance fw-a1")
    (finding,) = found(ill, broken=(broken,))
    assert (finding.kind, finding.severity) == ("broken-on-purpose", HINT)
    assert finding.text == "instance fw-a1 is broken on purpose (fw-a1 is unhealthy for inspect-node-a)"
    assert finding.change == "broken on purpose: gwlbemu heal instance fw-a1 puts it back"
    (finding,) = found(healthy(), broken=(OnPurpose("link", "client", "gwlbemu heal link client"),))
    assert dotted(finding.path) == "internet.instances[0]"
    ill["inspect-node-a"] = [target("fw-a1", state="unhealthy"), target("fw-a2", state="unhealthy")]
    ill["inspect-node-b"] = None
    zone = (OnPurpose("zone", "a", "gwlbemu heal zone a"), OnPurpose("process", "inspect-node-b", "gwlbemu heal x"))
    findings = found(ill, broken=zone)
    assert [each.kind for each in findings] == [
        "dead-node", "zone-without-health", "broken-on-purpose", "broken-on-purpose",
    ]  # fmt: skip
    assert all(each.change.startswith("broken on purpose: gwlbemu heal") for each in findings)


def test_drops_at_an_instance_are_told_with_port_direction_and_reason() -> None:
    drops = (PortDrops("fw-a1", "sent", "address", 3), PortDrops("fw-a1", "received", "group", 2))
    spoofed, kept_out = found(healthy(), port_drops=drops)
    assert (spoofed.kind, spoofed.severity) == ("port-drop", "warning")
    assert spoofed.text == (
        "the port of fw-a1 has dropped 3 packets that it sent: not the instance's own address"
        " (source/destination check)"
    )
    assert dotted(spoofed.path) == "vpcs[1].instances[0].source_dest_check"
    assert (kept_out.severity, "that it was to receive: no rule of" in kept_out.text) == (HINT, True)


def test_a_full_receive_buffer_is_a_warning_only_where_it_took_a_share_of_the_packets() -> None:
    lost = {"fw-a1": InstanceSeen("running", lost=(("UDP sockets", 9),))}
    (finding,) = found(healthy(), carried=(carried("vpce-a", 6, 100, 91, 0),), instances=lost)
    assert (finding.kind, finding.severity) == ("receive-buffer", "warning")
    assert "fw-a1 has lost 9 packets (UDP sockets) for which a receive buffer in it had no room" in finding.text
    (finding,) = found(healthy(), carried=(carried("vpce-a", 6, 10_000, 9991, 0),), instances=lost)
    assert finding.severity == HINT


def test_of_what_an_appliance_counted_an_advice_has_no_more_than_a_reader_reads() -> None:
    known = {"fw-a1": InstanceSeen("running", said={f"discarded: {number}": 1 for number in range(900)})}
    (finding,) = found(healthy(), carried=(carried("vpce-a", 6, 9, 0, 9),), instances=known)
    assert finding.change.startswith("what fw-a1 is told to do: fw-a1 itself has counted 1 discarded: 0; ")
    assert finding.change.endswith("discarded: 4; and 895 more")


def test_a_generic_xdp_program_behind_shortcuts_is_told_with_the_line_that_mends_it() -> None:
    known = {"fw-a1": InstanceSeen("running", xdp="xdpgeneric"), "fw-a2": InstanceSeen("running", xdp="xdp")}
    (finding,) = found(healthy(), instances=known)
    assert (finding.kind, finding.severity) == ("xdp-passed-over", "error")
    assert finding.text.startswith("fw-a1 has a generic XDP program at its interface")
    assert (dotted(finding.path), finding.change) == ("shortcuts", "shortcuts: false")
    assert found(healthy(), TWO_ZONES + "\nshortcuts: false\n", instances=known) == []


def test_a_program_that_does_not_run_is_told_by_what_it_is() -> None:
    states = {
        "fw-a1": InstanceSeen("dead", "bind: in use"),
        "fw-a2": InstanceSeen("ended"),
        "fw-b1": InstanceSeen("frozen"),
    }
    findings = found(healthy(), instances=states)
    assert [(each.kind, each.severity) for each in findings] == [
        ("dead-program", "error"), ("ended-program", HINT), ("frozen-program", "error"),
    ]  # fmt: skip
    assert findings[0].text == "the program of fw-a1 is dead: bind: in use"


def test_a_target_that_drains_is_no_help_and_no_fault() -> None:
    answers = healthy() | {"inspect-node-a": [target("fw-a1", state="draining"), target("fw-a2")]}
    assert found(answers) == []
    answers = healthy() | {"inspect-node-a": [target("fw-a1", state="draining"), target("fw-a2", state="unhealthy")]}
    assert [finding.kind for finding in found(answers)] == ["zone-without-health"]


def test_an_unhealthy_target_is_not_called_silent() -> None:
    answers = healthy() | {"inspect-node-a": [target("fw-a1", state="unhealthy", sent=50), target("fw-a2")]}
    assert [finding.kind for finding in found(answers)] == ["unhealthy-target"]


def test_a_zone_whose_targets_are_all_unhealthy_is_found_while_the_other_zones_are_well() -> None:
    ill = [target("fw-a1", state="unhealthy"), target("fw-a2", state="unhealthy")]
    (finding,) = found(healthy() | {"inspect-node-a": ill})
    assert (finding.kind, finding.severity) == ("zone-without-health", "error")
    assert "fw-a1 is unhealthy, fw-a2 is unhealthy" in finding.text
    assert dotted(finding.path) == "load_balancers[0].attributes['load_balancing.cross_zone.enabled']"


def test_with_cross_zone_on_a_healthy_target_anywhere_is_enough() -> None:
    text = TWO_ZONES.replace("cross_zone.enabled: false", "cross_zone.enabled: true")
    everybody = [target("fw-a1", state="unhealthy"), target("fw-a2", state="unhealthy"), target("fw-b1")]
    told = found({"inspect-node-a": everybody, "inspect-node-b": everybody}, text)
    assert [finding.kind for finding in told] == ["unhealthy-target", "unhealthy-target"]


def test_where_no_other_zone_has_a_target_cross_zone_is_no_advice() -> None:
    text = (TOPOLOGIES / "minimal.yaml").read_text()
    ill = {**target("fw-a1", state="unhealthy"), "id": "fw"}
    (finding,) = found({"inspect-node-a": [ill]}, text)
    assert finding.kind == "zone-without-health"
    assert finding.change == "nothing is known that would mend it here: the cause was not seen"
    (finding,) = found(healthy() | {"inspect-node-a": [target("fw-a1", state="unhealthy")]})
    assert finding.change == "load_balancing.cross_zone.enabled: true, so that healthy targets of other zones help"


def test_with_cross_zone_off_a_target_of_another_zone_that_still_has_flows_does_not_help() -> None:
    ill = [target("fw-a1", state="unhealthy"), target("fw-b1")]
    assert [finding.kind for finding in found(healthy() | {"inspect-node-a": ill})] == ["zone-without-health"]


def test_a_node_that_does_not_answer_is_found() -> None:
    (finding,) = found(healthy() | {"inspect-node-b": None})
    assert (finding.kind, finding.severity) == ("dead-node", "error")
    assert "node inspect-node-b does not answer: what becomes of packets" in finding.text


def test_a_frozen_node_is_not_said_to_lose_what_its_fast_path_carries() -> None:
    answers = healthy() | {"inspect-node-b": None}
    (finding,) = found(answers, processes={"inspect-node-b": "frozen"})
    assert finding.text == (
        "node inspect-node-b is frozen: new flows that reach load balancer inspect in zone b are lost, those that its"
        " fast path has go on"
    )
    (finding,) = found(answers, TWO_ZONES + "\ndatapath: python\n", processes={"inspect-node-b": "frozen"})
    assert finding.text.endswith("in zone b are lost")
    (finding,) = found(answers, processes={"inspect-node-b": "dead"})
    assert finding.text.endswith("is dead: what reaches load balancer inspect in zone b is lost")


# ---- the command -----------------------------------------------------------------------------------------------------
@pytest.fixture
def skips(tmp_path: Path) -> Path:
    """minimal.yaml, with answers that go around the endpoint."""
    text = (TOPOLOGIES / "minimal.yaml").read_text()
    line = "{name: servers, routes: [{destination: 0.0.0.0/0, target: %s}]}"
    path = tmp_path / "skips.yaml"
    path.write_text(text.replace(line % "vpce", line % "igw"))
    return path


def line_with(path: Path, word: str) -> int:
    return next(number for number, line in enumerate(path.read_text().splitlines(), start=1) if word in line)


def test_a_sound_file_is_said_to_be_sound(capsys: pytest.CaptureFixture[str]) -> None:
    path = TOPOLOGIES / "two-zones.yaml"
    assert main(["doctor", str(path)]) == 0
    assert capsys.readouterr().out == f"{path}: nothing found\n"


def test_a_finding_names_the_line_that_mends_it_and_what_to_write_there(
    skips: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "1000")
    assert main(["doctor", str(skips)]) == 1
    head, mend, change, also, empty, total = capsys.readouterr().out.splitlines()
    assert head.startswith("error: web -> client (and 1 alike): the packet skips vpce, which its answer passes")
    assert head.endswith("[skips-endpoint]")
    line = line_with(skips, "{name: servers, routes")
    assert mend == f"  mend  {skips}:{line}: vpcs[0].route_tables[1].routes[0].target"
    edge = line_with(skips, "{name: edge, routes")
    assert also == f"  also  {skips}:{edge}: vpcs[0].route_tables[0].routes[0]"
    assert (change, empty, total) == ("        target: vpce", "", f"{skips}: 1 error")


def test_text_is_as_wide_as_the_screen_and_no_path_is_broken(
    skips: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = skips.parent / "a folder with blanks-and-hyphens, whose name is longer than eighty columns are wide"
    folder.mkdir()
    file = skips.rename(folder / "x.yaml")
    line = line_with(file, "{name: servers, routes")
    monkeypatch.delenv("COLUMNS", raising=False)
    monkeypatch.setattr(os, "get_terminal_size", refuse)  # no terminal
    told = []
    for width in (80, 50):
        if width != 80:
            monkeypatch.setenv("COLUMNS", str(width))
        assert main(["doctor", str(file)]) == 1
        lines = capsys.readouterr().out.splitlines()
        assert max(len(each) for each in lines if str(file) not in each) <= width
        assert f"  mend  {file}:{line}:" in lines
        assert lines[lines.index(f"  mend  {file}:{line}:") + 1 :][:2] == [
            "        vpcs[0].route_tables[1].routes[0].target",
            "        target: vpce",
        ]
        text = lines[: lines.index(f"  mend  {file}:{line}:")]
        assert len(text) > 2
        assert all(each.startswith("        ") for each in text[1:])
        assert text[-1].endswith("[skips-endpoint]")
        told.append(" ".join(" ".join(text).split()))
    assert told[0] == told[1]


def refuse(*_: object) -> None:
    raise OSError


def test_a_key_stands_behind_its_line_where_both_fit(
    skips: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(skips.parent)
    monkeypatch.setenv("COLUMNS", "80")
    assert main(["doctor", "skips.yaml"]) == 1
    line = line_with(skips, "{name: servers, routes")
    assert f"  mend  skips.yaml:{line}: vpcs[0].route_tables[1].routes[0].target\n" in capsys.readouterr().out


def test_findings_as_json(skips: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", str(skips), "--json"]) == 1
    (finding,) = json.loads(capsys.readouterr().out)
    assert finding.pop("text").startswith("web -> client (and 1 alike): the packet skips vpce")
    assert finding == {
        "kind": "skips-endpoint",
        "severity": "error",
        "file": str(skips),
        "line": line_with(skips, "{name: servers, routes"),
        "path": "vpcs[0].route_tables[1].routes[0].target",
        "change": "target: vpce",
        "tried": True,
        "also": [
            {
                "file": str(skips),
                "line": line_with(skips, "{name: edge, routes"),
                "path": "vpcs[0].route_tables[0].routes[0]",
            }
        ],
    }


def test_a_hint_alone_is_no_reason_to_fail(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "slow.yaml"
    text = (TOPOLOGIES / "minimal.yaml").read_text()
    path.write_text(text.replace("targets: [fw]", "health_check: {interval_seconds: 60}, targets: [fw]"))
    assert main(["doctor", str(path)]) == 0
    assert capsys.readouterr().out.endswith("slow.yaml: 1 hint\n")


@pytest.mark.parametrize(
    ("argv", "code"), [(["x.yaml", "--lab", "x"], 2), (["no-such-file.yaml"], 3), (["--lab", "no-such-lab"], 4)]
)
def test_what_cannot_be_examined_is_refused(argv: list[str], code: int) -> None:
    assert main(["doctor", *argv]) == code


# ---- on a lab that is up ---------------------------------------------------------------------------------------------
@pytest.fixture
def ill(tmp_path: Path) -> Iterator[Lab]:
    """minimal.yaml, with an appliance that keeps every packet; its health check passes."""
    path = tmp_path / "ill.yaml"
    text = (TOPOLOGIES / "minimal.yaml").read_text()
    path.write_text(text.replace("program: passthrough", "program: {broken: {mode: no-return}}"))
    with Lab(path, capture=False) as lab:
        yield lab


def send_to_server(lab: Lab, count: int) -> None:
    """And wait until the node has sent them on."""

    def arrived() -> bool:
        (node,) = lab.plan.gateway_nodes
        (target,) = lab.running.call(node.name, "targets")["targets"]
        return int(target["packets_to"]) == count

    send = f"s = __import__('socket').socket(2, 2); [s.sendto(b'x', ('203.0.113.10', 5000)) for _ in range({count})]"
    assert lab.exec("client", [sys.executable, "-c", send]).code == 0
    wait_until(arrived)


@pytest.mark.namespace
def test_a_lab_that_is_ill_is_told_so_and_a_healthy_one_is_not(ill: Lab, capsys: pytest.CaptureFixture[str]) -> None:
    assert examine_lab(ill.running).findings == ()
    send_to_server(ill, 6)
    assert ill.exec("fw", ["ip", "link", "set", "eth0", "mtu", "1500"]).code == 0
    report = examine_lab(ill.running)
    assert [finding.kind for finding in report.findings] == ["appliance-mtu", "silent-target"]
    assert "has returned none of 6 packets" in report.findings[1].text
    source = Path(ill.plan.source)
    assert report.place(report.findings[1]) == (
        str(source), line_with(source, "mode: no-return"), "vpcs[1].instances[0].program",
    )  # fmt: skip
    assert main(["doctor", "--lab", ill.name]) == 1
    assert "an MTU of 1500" in " ".join(capsys.readouterr().out.split())


@pytest.mark.namespace
def test_what_was_changed_since_the_lab_came_up_is_examined_and_so_is_a_file_that_is_gone(ill: Lab) -> None:
    ill.deregister("firewalls", "fw")
    Path(ill.plan.source).unlink()
    report = examine_lab(ill.running)
    assert [finding.kind for finding in report.findings] == ["no-targets"]
    file, line, _ = report.place(report.findings[0])
    assert (file, line) == (str(ill.running.state.topology), line_with(Path(file), "targets: [fw]"))


@pytest.mark.namespace
def test_a_lab_that_came_from_no_file_is_refused_with_what_to_do() -> None:
    text = (TOPOLOGIES / "minimal.yaml").read_text()
    with Lab(text, capture=False) as lab, pytest.raises(LabError, match="doctor FILE"):
        examine_lab(lab.running)


def test_a_proxy_that_does_not_run_is_told_of_with_its_node() -> None:
    file = TOPOLOGIES / "static-ip.yaml"
    parsed = parse(file.read_text(), str(file))
    seen = Seen({}, proxies={"web-node-a": "does not answer", "web-node-b": "running"})
    (found,) = (each for each in live_findings(parsed.topology, resolve(parsed), seen) if each.kind == "stopped-proxy")
    assert found.severity == "error"
    assert "the proxy of node web-node-a does not run as it should (does not answer)" in found.text
    assert "heal node web-node-a" in str(found)
