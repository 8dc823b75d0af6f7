"""The doctor: what the nodes say turned into findings, the command, and a lab that is really ill."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gwlbemu import Lab
from gwlbemu.cli.main import main
from gwlbemu.errors import LabError
from gwlbemu.review.finding import Finding
from gwlbemu.review.live import live_findings
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
        "id": name, "zone": zone, "address": address, "state": state, "packets_to": sent, "packets_from": returned,
    }  # fmt: skip


def found(answers: Answers, text: str = TWO_ZONES) -> list[Finding]:
    parsed = parse(text, "test.yaml")
    return list(live_findings(parsed.topology, resolve(parsed), answers))


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


def test_what_one_zones_node_gets_back_speaks_for_the_target() -> None:
    answers = healthy()
    answers["inspect-node-a"] = [target("fw-a1", sent=9)]
    answers["inspect-node-b"] = [target("fw-a1", sent=9, returned=9), target("fw-b1")]
    assert found(answers) == []


def test_a_target_that_drains_is_no_help_and_no_fault() -> None:
    answers = healthy() | {"inspect-node-a": [target("fw-a1", state="draining"), target("fw-a2")]}
    assert found(answers) == []
    answers = healthy() | {"inspect-node-a": [target("fw-a1", state="draining"), target("fw-a2", state="unhealthy")]}
    assert [finding.kind for finding in found(answers)] == ["zone-without-health"]


def test_an_unhealthy_target_is_not_called_silent() -> None:
    answers = healthy() | {"inspect-node-a": [target("fw-a1", state="unhealthy", sent=50), target("fw-a2")]}
    assert found(answers) == []


def test_a_zone_whose_targets_are_all_unhealthy_is_found_while_the_other_zones_are_well() -> None:
    ill = [target("fw-a1", state="unhealthy"), target("fw-a2", state="unhealthy")]
    (finding,) = found(healthy() | {"inspect-node-a": ill})
    assert (finding.kind, finding.severity) == ("zone-without-health", "error")
    assert "fw-a1 is unhealthy, fw-a2 is unhealthy" in finding.text
    assert dotted(finding.path) == "load_balancers[0].attributes['load_balancing.cross_zone.enabled']"


def test_with_cross_zone_on_a_healthy_target_anywhere_is_enough() -> None:
    text = TWO_ZONES.replace("cross_zone.enabled: false", "cross_zone.enabled: true")
    everybody = [target("fw-a1", state="unhealthy"), target("fw-a2", state="unhealthy"), target("fw-b1")]
    assert found({"inspect-node-a": everybody, "inspect-node-b": everybody}, text) == []


def test_where_no_other_zone_has_a_target_cross_zone_is_no_advice() -> None:
    text = (TOPOLOGIES / "minimal.yaml").read_text()
    ill = {**target("fw-a1", state="unhealthy"), "id": "fw"}
    (finding,) = found({"inspect-node-a": [ill]}, text)
    assert finding.kind == "zone-without-health"
    assert finding.change == "nothing to change here: no zone has a healthy target (gwlbemu targets tells why)"
    (finding,) = found(healthy() | {"inspect-node-a": [target("fw-a1", state="unhealthy")]})
    assert finding.change == "load_balancing.cross_zone.enabled: true, so that healthy targets of other zones help"


def test_with_cross_zone_off_a_target_of_another_zone_that_still_has_flows_does_not_help() -> None:
    ill = [target("fw-a1", state="unhealthy"), target("fw-b1")]
    assert [finding.kind for finding in found(healthy() | {"inspect-node-a": ill})] == ["zone-without-health"]


def test_a_node_that_does_not_answer_is_found() -> None:
    (finding,) = found(healthy() | {"inspect-node-b": None})
    assert (finding.kind, finding.severity) == ("dead-node", "error")
    assert "node inspect-node-b does not answer" in finding.text


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
    skips: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["doctor", str(skips)]) == 1
    head, mend, change, also, empty, total = capsys.readouterr().out.splitlines()
    assert head.startswith("error: web -> client (and 1 alike): the packet skips vpce, which its answer passes")
    assert head.endswith("[skips-endpoint]")
    line = line_with(skips, "{name: servers, routes")
    assert mend == f"  mend  {skips}:{line}: vpcs[0].route_tables[1].routes[0].target"
    edge = line_with(skips, "{name: edge, routes")
    assert also == f"  also  {skips}:{edge}: vpcs[0].route_tables[0].routes[0]"
    assert (change, empty, total) == ("        target: vpce", "", f"{skips}: 1 error")


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
    assert "an MTU of 1500" in capsys.readouterr().out


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
