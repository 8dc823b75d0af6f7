"""Two hundred TCP connections through a network load balancer, and what becomes of each when something is struck.

One command drills everything in one lab; the tests read its report.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from gwlbemu.errors import LabError
from gwlbemu.topology.plan.resolve import load
from gwlbemu.topology.plan.values import Plan
from gwlbemu.trials.drill import series
from gwlbemu.trials.drill.outcome import NETWORK_POLICIES, expected
from gwlbemu.trials.drill.series import Options, drill_file
from gwlbemu.trials.drill.subject import subject_of
from tests.paths import TOPOLOGIES

FLOWS = 200
DRILL_SECONDS = 1000  # about 100 on an idle machine, 300 beside four busy loops
EVENTS = ("kill", "deregister", "zone", "tables")
STATIC_IP, CROSS_ZONE, MINIMAL = (TOPOLOGIES / f"{name}.yaml" for name in ("static-ip", "cross-zone", "minimal"))
pytestmark = pytest.mark.timeout(DRILL_SECONDS + 100)

Run = dict[str, Any]
Reports = Mapping[tuple[str, str], Run]


def drilled(file: Path, *options: str) -> Reports:
    words = [sys.executable, "-m", "gwlbemu.cli.main", "drill", str(file), "--json", *options]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        out, error = process.communicate(timeout=DRILL_SECONDS)
    finally:
        process.terminate()  # a drill that is not done takes its lab down
        process.communicate()
    assert process.returncode in (0, 1), error
    runs = json.loads(out)
    failed = "\n".join(line for run in runs for line in what_failed(run))
    assert not failed, failed
    return {(run["event"], run["policy"]): run for run in runs}


def what_failed(run: Run) -> list[str]:
    """What did not come out as the contract says, in few lines."""
    name = f"{run['event']}, {run['policy']}"
    lines = [f"{name}: NOT {check['contract']} {check['text']}" for check in run["checks"] if not check["ok"]]
    odd = Counter(
        f"{flow['outcome']}, expected {flow['expected']} ({flow['note']}): was on {flow['before']}"
        for flow in run["flows"]
        if not flow["as_expected"]
    )
    lines += [f"{name}: {count} connections {words}" for words, count in odd.items()]
    if run["impossible"]:
        lines.append(f"{name}: not possible: {run['impossible']}")
    return [*lines, *(f"{name}: note: {note}" for note in run["notes"])] if lines else []


@pytest.fixture(scope="module")
def reports() -> Reports:
    return drilled(STATIC_IP, "--flows", str(FLOWS), *(word for event in EVENTS for word in ("--event", event)))


@pytest.fixture(scope="module")
def cross_zone() -> Reports:
    """A load balancer that is one of two, whose targets are in the other zone, too."""
    return drilled(CROSS_ZONE, "--to", "web", "--event", "zone", "--policy", "terminate", "--flows", "40")


def fates(run: Run, *, struck: bool) -> Counter[str]:
    """What became of the connections on a struck target, or of those on others."""
    flows = [flow for flow in run["flows"] if bool(set(flow["before"]) & set(run["struck"])) == struck]
    return Counter(flow["outcome"] for flow in flows)


def longest_pause(run: Run, *, struck: bool) -> float:
    """Without data, in real seconds, of the connections on a struck target, or of those on others."""
    flows = [flow for flow in run["flows"] if bool(set(flow["before"]) & set(run["struck"])) == struck]
    return float(max(flow["seconds_silent"] - flow["seconds_skipped"] for flow in flows))


def contract(run: Run, line: str) -> list[bool]:
    return [check["ok"] for check in run["checks"] if check["contract"] == line]


@pytest.mark.namespace
def test_every_connection_fares_as_the_contract_says(reports: Reports) -> None:
    assert set(reports) == {(event, policy) for event in EVENTS for policy in NETWORK_POLICIES}
    for run in reports.values():
        assert sum(run["counts"].values()) == len(run["flows"]) == FLOWS
        assert run["ok"], what_failed(run)
        assert run["counts"]["moved"] == 0


@pytest.mark.namespace
@pytest.mark.contract("NL-06")
def test_connections_of_an_unhealthy_target_are_reset_unless_termination_is_off(reports: Reports) -> None:
    for policy, word in (("terminate", "reset"), ("keep", "lost")):
        run = reports["kill", policy]
        assert set(fates(run, struck=True)) == {word}
        assert set(fates(run, struck=False)) == {"kept"}
        assert contract(run, "NL-06") == [True, True, True]
        assert run["took_effect_after_seconds"] > 5  # two failed probes, 5 s apart


@pytest.mark.namespace
@pytest.mark.contract("NL-16")
def test_connections_of_a_deregistered_target_go_on_until_the_delay_and_then_by_the_attribute(reports: Reports) -> None:
    for policy, word in (("terminate", "reset"), ("keep", "kept")):
        run = reports["deregister", policy]
        assert set(fates(run, struck=True)) == {word}
        assert set(fates(run, struck=False)) == {"kept"}
        assert contract(run, "NL-16") == [True, True]
        assert run["took_effect_after_seconds"] >= 300
        # None stopped before the delay was over (2 s of real time later at least): they paused no longer than others.
        assert longest_pause(run, struck=True) < longest_pause(run, struck=False) + 1.5


@pytest.mark.namespace
@pytest.mark.contract("NL-08")
def test_without_cross_zone_a_lost_zone_takes_its_address_along_and_nothing_else(reports: Reports) -> None:
    run = reports["zone", "terminate"]
    by_node = {
        node: {f["outcome"] for f in run["flows"] if f["server"] == node} for node in ("web-node-a", "web-node-b")
    }
    assert by_node == {"web-node-a": {"lost"}, "web-node-b": {"kept"}}


@pytest.mark.namespace
@pytest.mark.contract("NL-08")
def test_with_cross_zone_the_targets_of_a_lost_zone_fail_like_any_other(cross_zone: Reports) -> None:
    run = cross_zone["zone", "terminate"]
    assert run["ok"], what_failed(run)
    other = [flow for flow in run["flows"] if flow["server"] == "web-node-b"]
    assert {flow["outcome"] for flow in other if flow["before"] == ["web-a"]} <= {"reset"}
    assert {flow["outcome"] for flow in other if flow["before"] != ["web-a"]} <= {"kept"}
    assert {flow["outcome"] for flow in run["flows"] if flow["server"] == "web-node-a"} == {"lost"}


@pytest.mark.namespace
@pytest.mark.contract("NL-05")
@pytest.mark.parametrize("policy", NETWORK_POLICIES)
def test_a_node_whose_tables_were_flushed_is_seen_and_healed_with_nothing_stale(reports: Reports, policy: str) -> None:
    run = reports["tables", policy]
    assert run["struck"] == ["web-node-a"]
    assert {(flow["server"], flow["outcome"]) for flow in run["flows"]} == {
        ("web-node-a", "reset"), ("web-node-b", "kept"),
    }  # fmt: skip
    texts = [check["text"] for check in run["checks"]]
    assert "status tells that the tables of web-node-a are not as they were written" in texts
    assert "heal node web-node-a: its tables are intact" in texts
    assert "no connections are on a target or listener that is not there" in texts
    assert "new connections: 8 of 8 answered" in texts


def plan_of(file: Path) -> Plan:
    return load(file.read_text(), str(file))


def test_what_is_drilled_follows_from_the_destinations_and_from_what_there_is() -> None:
    alone, both = plan_of(STATIC_IP), plan_of(CROSS_ZONE)
    assert [subject_of(alone, (), port).type for port in (None, 80)] == ["network", "network"]
    assert subject_of(both, (), None).type == subject_of(both, ("web-a", "web-b"), None).type == "gateway"
    web = subject_of(both, ("web",), None)
    assert (web.type, web.port, web.idle_seconds) == ("network", 80, 350)
    assert [node.name for node in web.nodes] == ["web-node-a", "web-node-b"]
    assert [group.name for group in web.groups] == ["web-servers"]


@pytest.mark.parametrize(
    ("destinations", "port", "words"),
    [((), 81, "web has no TCP listener on port 81; there are: TCP:80"), (("web", "web-a"), None, "alone")],
)
def test_what_cannot_be_drilled_together_is_refused(
    destinations: tuple[str, ...], port: int | None, words: str
) -> None:
    with pytest.raises(LabError, match=words):
        subject_of(plan_of(STATIC_IP if port else CROSS_ZONE), destinations, port)


def test_a_policy_or_an_event_of_the_other_type_is_not_possible(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(series, "own_lab", None)
    (network,) = drill_file(plan_of(STATIC_IP), Options(["kill"], ["rebalance"]))
    assert network.impossible == "a policy of network load balancers is terminate or keep"
    (gateway,) = drill_file(plan_of(MINIMAL), Options(["tables"], ["reset"]))
    assert gateway.impossible == "only a network load balancer's node has tables in the kernel"


@pytest.mark.parametrize(
    ("event", "policy", "noticed", "word"),
    [
        ("kill", "terminate", True, "reset"),
        ("kill", "terminate", False, "lost"),
        ("kill", "keep", True, "lost"),
        ("deregister", "terminate", True, "reset"),
        ("deregister", "keep", True, "kept"),
        ("tables", "keep", True, "reset"),
    ],
)
def test_what_is_expected_of_a_connection_that_was_hit(event: str, policy: str, noticed: bool, word: str) -> None:
    assert expected(event, policy, hit=True, cut_off=False, noticed=noticed) == word
