"""What the logs of appliances tell about a packet that did not come back."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from gwlbemu.lab.running import RunningLab
from gwlbemu.lab.state import State
from gwlbemu.views.appliance_logs import ApplianceLogs, LoggedFlow
from tests.topology.builder import plan_of

TELNET = LoggedFlow(6, "198.51.100.10", 40000, "10.0.1.10", 23)
FLOW = {
    "protocol": "tcp",
    "source": "198.51.100.10",
    "destination": "10.0.1.10",
    "source_port": 40000,
    "destination_port": 23,
}
ALERT = {"src_ip": "198.51.100.10", "src_port": 40000, "dest_ip": "10.0.1.10", "dest_port": 23}


@pytest.fixture
def lab(tmp_path: Path) -> RunningLab:
    state = State("test", tmp_path)
    state.make_folders()
    state.make_own("fw-a", user=0)
    return RunningLab(plan_of(), state)


def write(lab: RunningLab, *entries: object) -> None:
    with lab.state.decisions("fw-a").open("a") as file:
        file.writelines(f"{entry if isinstance(entry, str) else json.dumps(entry)}\n" for entry in entries)


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        ({"rule": "no-telnet", "action": "deny", "flow": FLOW}, "rule no-telnet (deny)"),
        ({"alert": {"action": "blocked", "signature_id": 7, "signature": "no telnet"}, **ALERT}, "rule 7 (no telnet)"),
    ],
    ids=["firewall", "ids"],
)
def test_the_rule_that_dropped_it_is_named_by_the_instance_or_its_address(
    lab: RunningLab, entry: object, words: str
) -> None:
    logs = ApplianceLogs(lab)
    write(lab, entry)
    assert logs.sentence("fw-a", TELNET) == logs.sentence("10.254.1.11", TELNET) == f"fw-a dropped it: {words}"


@pytest.mark.parametrize(
    "entry",
    [
        {"rule": "web", "action": "allow", "flow": FLOW},
        {"rule": "no-telnet", "action": "deny", "flow": {**FLOW, "source_port": 40001}},
        {"alert": {"action": "allowed"}, **ALERT},
        {"alert": "?"},
        ["a list"],
        "no JSON",
        '{"rule": "half a line',
    ],
)
def test_what_says_nothing_about_the_packet_leaves_the_path_of_the_log(lab: RunningLab, entry: object) -> None:
    logs = ApplianceLogs(lab)
    write(lab, entry)
    assert logs.sentence("fw-a", TELNET) == f"fw-a did not return it; its log is {lab.state.decisions('fw-a')}"


def test_an_entry_from_before_the_packet_does_not_count(lab: RunningLab) -> None:
    write(lab, {"rule": "no-telnet", "action": "deny", "flow": FLOW})
    assert "did not return it" in ApplianceLogs(lab).sentence("fw-a", TELNET)


def test_an_appliance_without_a_log_of_decisions_has_its_own_log_or_none(lab: RunningLab) -> None:
    assert ApplianceLogs(lab).sentence("fw-a", TELNET) == "fw-a did not return it"
    lab.state.log("fw-a").write_text("ready\n")
    assert ApplianceLogs(lab).sentence("fw-a", TELNET).endswith(f"its log is {lab.state.log('fw-a')}")


def test_a_log_that_was_begun_anew_meanwhile_is_read_on_and_nothing_older_counts(lab: RunningLab) -> None:
    path, older = lab.state.decisions("fw-a"), lab.state.decisions("fw-a").with_name("fw-a.jsonl.1")
    write(lab, {"rule": "before", "action": "deny", "flow": FLOW})
    logs = ApplianceLogs(lab)
    write(lab, {"rule": "meanwhile", "action": "deny", "flow": FLOW})
    path.rename(older)
    assert logs.sentence("fw-a", TELNET).endswith("rule meanwhile (deny)")
    write(lab, {"rule": "newest", "action": "deny", "flow": FLOW})
    assert logs.sentence("fw-a", TELNET).endswith("rule newest (deny)")


def test_of_a_log_that_was_begun_anew_before_the_older_part_does_not_count(lab: RunningLab) -> None:
    path = lab.state.decisions("fw-a")
    write(lab, {"rule": "before", "action": "deny", "flow": FLOW})
    path.rename(path.with_name("fw-a.jsonl.1"))
    path.write_text("")
    logs = ApplianceLogs(lab)
    assert "rule" not in logs.sentence("fw-a", TELNET)
