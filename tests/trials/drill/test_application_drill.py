"""Steady requests through an application load balancer, and which of them fail when something is struck.

One command drills everything in one lab; the tests read its report.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from gwlbemu.errors import LabError
from gwlbemu.programs.requests import Outcome, parse_outcomes
from gwlbemu.topology.plan.resolve import load
from gwlbemu.trials.drill.choice import chosen_subject
from gwlbemu.trials.drill.outcome import APPLICATION_EVENTS
from gwlbemu.trials.drill.series import Options, drill_file
from gwlbemu.trials.drill.subject import subject_of
from tests.lab.web_fronts import web_front
from tests.paths import TOPOLOGIES

DRILL_SECONDS = 600  # about 100 on an idle machine
pytestmark = pytest.mark.timeout(DRILL_SECONDS + 100)
Reports = Mapping[str, dict[str, Any]]


@pytest.fixture(scope="module")
def reports(tmp_path_factory: pytest.TempPathFactory) -> Reports:
    file = tmp_path_factory.mktemp("drill") / "web.yaml"
    file.write_text(web_front("web-drill"))
    words = [sys.executable, "-m", "gwlbemu.cli.main", "drill", str(file), "--json"]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        out, error = process.communicate(timeout=DRILL_SECONDS)
    finally:
        process.terminate()  # a drill that is not done takes its lab down
        process.communicate()
    assert process.returncode in (0, 1), error
    runs = {run["event"]: run for run in json.loads(out)}
    failed = [f"{run['event']}: {check}" for run in runs.values() for check in run["checks"] if not check["ok"]]
    told = [f"{run['event']}: {run['impossible']} {run['requests']}" for run in runs.values()]
    assert not failed, "\n".join([*failed, *told])
    return runs


def phase(run: Mapping[str, Any], name: str) -> dict[str, Any]:
    return next(dict(each) for each in run["requests"] if each["name"] == name)


@pytest.mark.namespace
def test_every_event_is_drilled_and_nothing_fails_before_or_after(reports: Reports) -> None:
    assert tuple(reports) == APPLICATION_EVENTS
    for run in reports.values():
        assert (run["ok"], run["impossible"], run["policy"]) == (True, "", "")
        for name in ("before", "put back"):
            assert phase(run, name)["answers"].keys() == {"200"}


@pytest.mark.namespace
@pytest.mark.contract("AL-09", "AL-11")
def test_a_target_that_is_gone_costs_requests_until_health_checks_find_it(reports: Reports) -> None:
    run = reports["kill"]
    lost = phase(run, "until it is found")
    assert lost["answers"].keys() <= {"200", "502", "504"}
    assert lost["answers"].keys() & {"502", "504"}
    assert lost["no_answer"] == {}
    assert phase(run, "afterwards")["answers"].keys() == {"200"}
    assert {"AL-09", "AL-11"} <= {check["contract"] for check in run["checks"]}


@pytest.mark.namespace
@pytest.mark.contract("AL-22")
def test_a_deregistered_target_costs_none_but_what_outlasts_the_delay(reports: Reports) -> None:
    run = reports["deregister"]
    assert phase(run, "until it is found")["answers"].keys() == {"200"}
    assert [check["contract"] for check in run["checks"]].count("AL-22") == 4


@pytest.mark.namespace
@pytest.mark.contract("EX-03")
@pytest.mark.parametrize("event", ["zone", "engine"])
def test_a_lost_zone_or_engine_leaves_the_other_zones_node(reports: Reports, event: str) -> None:
    (check,) = (each for each in reports[event]["checks"] if each["contract"] == "EX-03")
    assert check["ok"]
    assert not check["text"].startswith("0 ")


def test_what_is_drilled_is_the_load_balancer_that_is_named_or_the_only_kind_there_is() -> None:
    plan = load(web_front("web"), "web.yaml")
    for destinations in ((), ("web",)):
        subject = subject_of(plan, destinations, None)
        assert (subject.type, subject.port, [node.name for node in subject.nodes]) == (
            "application", 80, ["web-node-a", "web-node-b"],
        )  # fmt: skip
    assert subject_of(plan, ["web"], 443).port == 443
    with pytest.raises(LabError, match="web has no HTTP listener on port 81; there are: HTTP:80, HTTPS:443"):
        subject_of(plan, ["web"], 81)


def test_without_ends_it_is_what_the_model_says_is_answered() -> None:
    tier = load((TOPOLOGIES / "web-tier.yaml").read_text(), "web-tier.yaml")
    subject = chosen_subject(tier, None, (), None)
    assert (subject.type, subject.port, [each.name for each in subject.balancers]) == ("application", 443, ["web"])
    assert chosen_subject(tier, None, ("web-a1",), None).type == "gateway", "what is named stays"
    assert chosen_subject(tier, None, (), 80).type == "gateway", "the listener at 80 only redirects"
    zones = load((TOPOLOGIES / "two-zones.yaml").read_text(), "two-zones.yaml")
    assert chosen_subject(zones, None, (), None).type == "gateway"


def test_a_web_server_that_answers_by_itself_comes_before_a_load_balancer() -> None:
    document = yaml.safe_load((TOPOLOGIES / "web-tier.yaml").read_text())
    (servers,) = (each for each in document["vpcs"][0]["security_groups"] if each["name"] == "servers")
    servers["ingress"] = [{"protocol": "tcp", "ports": 80, "source": "0.0.0.0/0"}]
    servers["egress"] = [{"protocol": "tcp", "ports": 80, "destination": "0.0.0.0/0"}]
    assert chosen_subject(load(yaml.safe_dump(document), "open.yaml"), "web-b1", (), None).type == "gateway"


@pytest.mark.parametrize(
    ("options", "why"),
    [
        (Options(events=["tables"]), "only a network load balancer's node has tables"),
        (Options(events=["kill"], policies=["rebalance"]), "an application load balancer is drilled without a policy"),
    ],
)
def test_what_it_has_not_is_not_possible(options: Options, why: str) -> None:
    """No lab comes up for that."""
    (run,) = drill_file(load(web_front("web"), "web.yaml"), options)
    assert run.impossible.startswith(why)


def test_only_whole_lines_of_the_programs_output_are_read(tmp_path: Path) -> None:
    line = json.dumps({"began_at": 1.0, "ended_at": 2.0, "status": 200})
    assert parse_outcomes(f"{line}\n{line[:5]}") == [Outcome(1.0, 2.0, status=200)]
