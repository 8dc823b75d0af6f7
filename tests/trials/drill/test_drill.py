"""Failover drills on real packets: events and policies, each in the command that a user runs.

The drills of one wave run beside each other, each in a lab of its own; the tests read their reports.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from gwlbemu import Lab
from gwlbemu.errors import UnknownNameError
from gwlbemu.topology.plan.resolve import load
from gwlbemu.trials.drill import series
from gwlbemu.trials.drill.actions import FAILOVER
from gwlbemu.trials.drill.participants import NotPossible, why_not
from gwlbemu.trials.drill.series import Options, drill_file, drill_running
from gwlbemu.trials.drill.subject import subject_of
from tests.lab.worlds import world
from tests.paths import TOPOLOGIES

WAVE_SECONDS = 400  # about 25 on an idle machine
pytestmark = [pytest.mark.namespace, pytest.mark.timeout(2 * WAVE_SECONDS + 100)]

POLICIES = ("no_rebalance", "rebalance", "reset")
PAIR = {"fw-1": "a", "fw-2": "a"}
DRAIN = {"deregistration_delay.timeout_seconds": "300"}
CROSS_ZONE = {"load_balancing.cross_zone.enabled": "true"}
FIREWALL = {"default": "deny", "rules": [{"action": "allow", "protocol": "tcp", "ports": 80}]}
STRICT, LENIENT = ({"firewall": FIREWALL | {"midstream": word}} for word in ("deny", "allow"))

Run = dict[str, Any]
Reports = Mapping[str, list[Run]]
WAVES = (
    {
        "kill": (world(PAIR), ["--event", "kill"]),
        "freeze": (world(PAIR), ["--event", "freeze"]),
        "zone": (world({"fw-a": "a", "fw-b": "b"}, balancer=CROSS_ZONE), ["--event", "zone", "--flows", "24"]),
    },
    {
        "deregister": (world(PAIR, group=DRAIN), ["--event", "deregister"]),
        "strict": (world(PAIR, program=STRICT), ["--event", "deregister", "--policy", "rebalance"]),
        "lenient": (world(PAIR, program=LENIENT), ["--event", "deregister", "--policy", "rebalance"]),
    },
)


@pytest.fixture(scope="module")
def reports(tmp_path_factory: pytest.TempPathFactory) -> Reports:
    found: dict[str, list[Run]] = {}
    for wave in WAVES:
        with ExitStack() as stack:
            started = {name: _start(name, tmp_path_factory.mktemp(name), *wave[name]) for name in wave}
            for process in started.values():
                stack.callback(_end, process)
            ended = {name: process.communicate(timeout=WAVE_SECONDS) for name, process in started.items()}
        for name, process in started.items():
            out, error = ended[name]
            assert process.returncode == 0, f"{name}: exit code {process.returncode}\n{out}\n{error}"
            found[name] = json.loads(out)
    return found


def _end(process: subprocess.Popen[str]) -> None:
    """Let a drill that is not done take its lab down."""
    process.terminate()
    process.communicate()


def _start(name: str, folder: Path, text: str, options: list[str]) -> subprocess.Popen[str]:
    file = folder / "world.yaml"
    file.write_text(text.replace("lab: world", f"lab: {name}", 1))
    words = [sys.executable, "-m", "gwlbemu.cli.main", "drill", str(file), "--json", *options]
    return subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def run_of(runs: list[Run], policy: str) -> Run:
    return next(run for run in runs if run["policy"] == policy)


def struck_and_others(run: Run) -> tuple[list[Run], list[Run]]:
    """The flows that had the failed target on their way, and the rest."""
    struck = [flow for flow in run["flows"] if set(flow["before"]) & set(run["struck"])]
    return struck, [flow for flow in run["flows"] if flow not in struck]


def outcomes(flows: list[Run]) -> set[str]:
    return {flow["outcome"] for flow in flows}


@pytest.mark.contract("TG-07")
@pytest.mark.parametrize("event", ["kill", "freeze"])
def test_without_rebalance_a_dead_targets_flows_stay_with_it_and_are_lost(reports: Reports, event: str) -> None:
    run = run_of(reports[event], "no_rebalance")
    struck, _ = struck_and_others(run)
    assert struck
    assert outcomes(struck) == {"lost"}
    assert all(flow["after"] == flow["before"] and flow["still_silent"] for flow in struck)


@pytest.mark.contract("TG-08")
@pytest.mark.parametrize("event", ["kill", "freeze"])
def test_rebalance_moves_a_dead_targets_flows_in_mid_stream(reports: Reports, event: str) -> None:
    run = run_of(reports[event], "rebalance")
    struck, _ = struck_and_others(run)
    assert struck
    assert outcomes(struck) == {"moved"}
    assert all(set(flow["before"]) | set(flow["after"]) == {"fw-1", "fw-2"} for flow in struck)
    assert all(flow["seconds_silent"] > 5 for flow in struck)  # two failed probes, 5 s apart, and not at once


@pytest.mark.contract("FL-14")
@pytest.mark.parametrize("event", ["kill", "freeze", "deregister"])
def test_reset_tells_every_client_of_the_failed_target(reports: Reports, event: str) -> None:
    run = run_of(reports[event], "reset")
    struck, _ = struck_and_others(run)
    assert struck
    assert outcomes(struck) == {"reset"}
    assert all(check["ok"] for check in run["checks"] if check["contract"] == "FL-14")


@pytest.mark.contract("FL-05")
@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("event", ["kill", "freeze", "deregister"])
def test_flows_on_the_other_target_never_notice(reports: Reports, event: str, policy: str) -> None:
    run = run_of(reports[event], policy)
    _, others = struck_and_others(run)
    assert outcomes(others) <= {"kept"}
    assert all(flow["after"] == flow["before"] and flow["seconds_silent"] < 2 for flow in others)
    assert all(check["ok"] for check in run["checks"] if check["contract"] == "FL-05")


@pytest.mark.contract("TG-05")
@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("event", ["kill", "freeze"])
def test_new_flows_avoid_the_unhealthy_target_under_every_policy(reports: Reports, event: str, policy: str) -> None:
    (check,) = (check for check in run_of(reports[event], policy)["checks"] if check["contract"] == "TG-05")
    assert check["ok"]
    assert check["text"].endswith("4 of 4 answered")


@pytest.mark.contract("TG-06")
@pytest.mark.parametrize("policy", POLICIES)
def test_a_draining_target_gets_no_new_flows_and_keeps_the_live_ones_to_the_end(reports: Reports, policy: str) -> None:
    run = run_of(reports["deregister"], policy)
    (check,) = (check for check in run["checks"] if check["contract"] == "TG-06")
    assert check["ok"]
    assert run["took_effect_after_seconds"] >= 300
    assert all(flow["seconds_silent"] < 2 for flow in run["flows"])


@pytest.mark.contract("TG-07")
def test_without_rebalance_a_deregistered_targets_flows_stay_after_the_delay(reports: Reports) -> None:
    run = run_of(reports["deregister"], "no_rebalance")
    assert outcomes(run["flows"]) == {"kept"}
    assert struck_and_others(run)[0]


@pytest.mark.contract("TG-08")
def test_rebalance_moves_a_deregistered_targets_flows_after_the_delay(reports: Reports) -> None:
    struck, _ = struck_and_others(run_of(reports["deregister"], "rebalance"))
    assert struck
    assert outcomes(struck) == {"moved"}


@pytest.mark.contract("EX-03")
@pytest.mark.parametrize("policy", POLICIES)
def test_losing_a_zone_loses_its_flows_and_leaves_the_other_zone_reachable(reports: Reports, policy: str) -> None:
    run = run_of(reports["zone"], policy)
    assert outcomes([flow for flow in run["flows"] if flow["server"] == "server-a"]) == {"lost"}
    assert all(check["ok"] for check in run["checks"] if check["contract"] == "EX-03")
    own = [flow for flow in run["flows"] if flow["server"] == "server-b" and flow["before"] == ["fw-b"]]
    assert outcomes(own) <= {"kept"}


@pytest.mark.contract("TG-08")
@pytest.mark.contract("TG-07")
@pytest.mark.contract("FL-14")
@pytest.mark.parametrize(("policy", "word"), [("no_rebalance", "lost"), ("rebalance", "moved"), ("reset", "reset")])
def test_with_cross_zone_the_lost_zones_targets_fail_like_any_other(reports: Reports, policy: str, word: str) -> None:
    run = run_of(reports["zone"], policy)
    crossing = [flow for flow in run["flows"] if flow["server"] == "server-b" and flow["before"] == ["fw-a"]]
    assert outcomes(crossing) <= {word}  # by chance, all may have stayed in their zone


def test_a_firewall_that_takes_nothing_in_mid_stream_turns_moved_into_lost(reports: Reports) -> None:
    (run,) = reports["strict"]
    struck, _ = struck_and_others(run)
    assert outcomes(struck) == {"lost"}
    assert all(flow["after"] != flow["before"] and "mid-stream" in flow["note"] for flow in struck)
    assert any("stateful firewall" in note for note in run["notes"])


def test_a_firewall_that_takes_connections_in_mid_stream_carries_them_on(reports: Reports) -> None:
    (run,) = reports["lenient"]
    assert outcomes(struck_and_others(run)[0]) == {"moved"}
    assert run["notes"] == []


@pytest.fixture(scope="module")
def pair() -> Iterator[Lab]:
    sticky = {"stickiness.enabled": "true", "stickiness.type": "source_ip_dest_ip"}
    with Lab(world(PAIR, group={**dict.fromkeys(FAILOVER, "rebalance"), **sticky}), capture=False) as lab:
        yield lab


def test_a_running_lab_is_put_back_as_it_was(pair: Lab) -> None:
    before = pair.plan
    told: list[str] = []
    (run,) = drill_running(pair.name, Options(["deregister"], ["no_rebalance"], flows=4), told.append)
    assert {flow.outcome for flow in run.flows} == {"kept"}
    assert [line.partition(": ")[0] for line in told] == ["deregister, no_rebalance (1 of 1)"] * len(told)
    assert [line.split(": ")[1].split()[0] for line in told] == [
        "connections",
        "deregistering",
        "waiting",
        "everything",
    ]
    after = pair.plan
    assert after.target_groups[0].attributes == before.target_groups[0].attributes
    assert after.load_balancers == before.load_balancers
    assert set(after.target_groups[0].targets) == set(before.target_groups[0].targets)
    assert {target.state for target in pair.targets()} == {"healthy"}
    assert pair.status().failures == ()


def test_what_aws_refuses_is_reported_as_not_possible(pair: Lab) -> None:
    (run,) = drill_running(pair.name, Options(["kill"], ["reset"], flows=4))
    assert "stickiness.enabled" in run.impossible
    assert run.flows == ()


def test_what_turns_out_to_be_impossible_is_not_tried_again(pair: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[tuple[str, str]] = []

    def run(_lab: object, _ends: object, event: str, policy: str, **_: object) -> None:
        tried.append((event, policy))
        raise NotPossible("nobody can be spared")

    monkeypatch.setattr(series, "run", run)
    reports = drill_running(pair.name, Options(["kill", "freeze"], ["no_rebalance", "rebalance"], flows=4))
    assert tried == [("kill", "no_rebalance")]
    assert [each.impossible for each in reports] == ["nobody can be spared"] * 4


MINIMAL = str(TOPOLOGIES / "minimal.yaml")


@pytest.mark.parametrize("event", ["kill", "freeze", "deregister", "zone"])
def test_what_cannot_be_is_said_before_a_lab_is_brought_up_or_a_packet_sent(
    monkeypatch: pytest.MonkeyPatch, event: str
) -> None:
    """One target, one zone: nothing of it can be spared."""
    plan = load(Path(MINIMAL).read_text(), MINIMAL)
    monkeypatch.setattr(series, "own_lab", None)
    (run,) = drill_file(plan, Options([event], ["rebalance"]))
    assert run.impossible.startswith("a zone can be" if event == "zone" else "no target can be spared: ")
    monkeypatch.setattr(series, "choose_participants", None)
    with Lab(MINIMAL, capture=False) as lab:
        assert drill_running(lab.name, Options([event], ["rebalance"])) == [run]


def test_a_target_that_is_ill_spares_no_other() -> None:
    healthy = {"node-a": {"fw-1"}, "node-b": {"fw-1", "fw-2"}, "node-c": {"fw-2"}}
    plan = load(Path(MINIMAL).read_text(), MINIMAL)
    subject = subject_of(plan, (), None)
    assert why_not(plan, subject, "kill", None, (), healthy).startswith("no target can be spared")
    assert why_not(plan, subject, "kill", None, (), healthy | {"node-c": {"fw-2", "fw-3"}}) == ""


def test_an_end_that_is_not_there_is_told_before_a_lab_is_brought_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(series, "own_lab", None)
    with pytest.raises(UnknownNameError, match="no instance nobody; there are: client, web, fw"):
        drill_file(load(Path(MINIMAL).read_text(), MINIMAL), Options(["kill"], ["reset"], destinations=["nobody"]))
