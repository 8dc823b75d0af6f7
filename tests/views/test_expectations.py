"""Expectations by the path model: what they are held to, and what is said of those that do not hold."""

from __future__ import annotations

from typing import Any
from xml.etree import ElementTree

import pytest

from gwlbemu.errors import TopologyError
from gwlbemu.paths.walk import exchange
from gwlbemu.topology.file.expectations import Expectation
from gwlbemu.topology.file.parse import Parsed, parse
from gwlbemu.topology.plan.resolve import resolve
from gwlbemu.views import model
from gwlbemu.views.expectations import Result, cases_of, judge, judge_by_model
from gwlbemu.views.junit import junit_xml
from gwlbemu.views.outcome import Lost, Outcome
from tests.paths import ROOT, TOPOLOGIES

BASE = {"from": ("a",), "to": ("b",), "port": (80,)}
ANSWERED = Outcome(None, None, ("fw", "ids"), ("ids", "fw"), True)
PAST = Outcome(None, None, (), (), True)
OTHERS = Outcome(None, None, ("fw",), ("fw",), False)
AT_FIREWALL = Outcome(Lost(("fw-1", "fw"), "FIREWALL_RULES_RESTRICTION", "fw-1 keeps it"), None, ("fw",), (), False)
SILENT = Outcome(Lost(("app-a", "web"), "", "it was seen last at app-a"), None, (), (), False)
NO_ANSWER = Outcome(None, Lost(("vpce", "node", "fw"), "MidstreamTcp", "the node drops it"), (), (), False)


def problems(outcome: Outcome, **keys: Any) -> list[str]:
    return [*judge(Expectation(**BASE | keys), outcome)]


@pytest.mark.parametrize(
    ("outcome", "keys"),
    [
        (ANSWERED, {}),
        (ANSWERED, {"delivered": True, "inspected_by": ("ids", "fw"), "same_appliance": True}),
        (PAST, {"inspected_by": "none"}),
        (OTHERS, {"same_appliance": False}),
        (AT_FIREWALL, {"delivered": False}),
        (AT_FIREWALL, {"dropped": {}}),
        (AT_FIREWALL, {"dropped": {"by": "fw", "reason": "FIREWALL_RULES_RESTRICTION"}, "inspected_by": "fw"}),
        (SILENT, {"dropped": {"by": "web", "reason": "ENI_SG_RULES_MISMATCH"}}),
        (SILENT, {"dropped": {"reason": "OwnProgram"}}),
        (NO_ANSWER, {"answer_dropped": {"by": "fw", "reason": "MidstreamTcp"}}),
    ],
)
def test_what_holds(outcome: Outcome, keys: dict[str, Any]) -> None:
    assert problems(outcome, **keys) == []


@pytest.mark.parametrize(
    ("outcome", "keys", "told"),
    [
        (AT_FIREWALL, {}, "not delivered: fw-1 keeps it"),
        (NO_ANSWER, {}, "delivered, and its answer is lost: the node drops it"),
        (NO_ANSWER, {"delivered": False}, "delivered, and expected not to be"),
        (ANSWERED, {"delivered": False}, "delivered, and expected not to be"),
        (NO_ANSWER, {"dropped": {}}, "delivered, and expected to be dropped"),
        (ANSWERED, {"dropped": {"by": "fw"}}, "delivered, and expected to be dropped by fw"),
        (ANSWERED, {"answer_dropped": {}}, "answered, and expected to be dropped"),
        (AT_FIREWALL, {"answer_dropped": {}}, "not delivered: fw-1 keeps it"),
        (AT_FIREWALL, {"dropped": {"by": "web"}},
         "the packet was lost at fw-1, expected web: fw-1 keeps it [FIREWALL_RULES_RESTRICTION]"),
        (AT_FIREWALL, {"dropped": {"reason": "MidstreamTcp"}},
         "the packet was lost for FIREWALL_RULES_RESTRICTION, expected MidstreamTcp: fw-1 keeps it "
         "[FIREWALL_RULES_RESTRICTION]"),
        (SILENT, {"dropped": {"reason": "MidstreamTcp"}},  # a node would have said so
         "the packet was lost for no reason that shows, expected MidstreamTcp: it was seen last at app-a"),
        (PAST, {"inspected_by": ("fw",)}, "inspected by none on the way there, expected fw"),
        (OTHERS, {"same_appliance": True}, "the answer met other targets"),
        (ANSWERED, {"same_appliance": False}, "the answer met the same targets"),
    ],
)  # fmt: skip
def test_what_does_not_hold_and_why(outcome: Outcome, keys: dict[str, Any], told: str) -> None:
    assert problems(outcome, **keys)[0] == told


def test_the_answer_alone_may_go_past_a_load_balancer() -> None:
    outcome = Outcome(None, None, ("fw",), (), False)
    assert problems(outcome, inspected_by="fw") == ["inspected by none on the way back, expected fw"]
    assert outcome.sentence == "delivered and answered; inspected on the way there by fw, not on the way back"


# ---- files ----
def with_expectations(topology: str, *lines: str) -> Parsed:
    text = (TOPOLOGIES / f"{topology}.yaml").read_text().partition("\nexpect:")[0]
    return parse("\n".join([text, "expect:", *(f"  - {{{line}}}" for line in lines), ""]), f"{topology}.yaml")


def judged(topology: str, *lines: str) -> list[Result]:
    parsed = with_expectations(topology, *lines)
    return [*judge_by_model(parsed, resolve(parsed))]


WITH = sorted(file.stem for file in TOPOLOGIES.glob("*.yaml") if "\nexpect:" in file.read_text())


@pytest.mark.parametrize("name", WITH)
def test_what_a_bundled_topology_expects_holds(name: str) -> None:
    parsed = parse((TOPOLOGIES / f"{name}.yaml").read_text(), name)
    results = [*judge_by_model(parsed, resolve(parsed))]
    assert results
    assert [(str(each.case), each.problems) for each in results if not each.held] == []


def test_the_default_topology_expects_something() -> None:
    assert "two-zones" in WITH


def test_a_case_for_each_pair_and_port_but_none_to_oneself() -> None:
    parsed = with_expectations(
        "two-zones", "from: [client, web-a], to: any, port: [80, 443]", "from: client, to: web-a, protocol: icmp"
    )
    assert [str(case) for case in cases_of(parsed)] == [
        "client -> web-a tcp 80", "client -> web-a tcp 443", "client -> web-b tcp 80", "client -> web-b tcp 443",
        "web-a -> client tcp 80", "web-a -> client tcp 443", "web-a -> web-b tcp 80", "web-a -> web-b tcp 443",
        "client -> web-a icmp",
    ]  # fmt: skip


def test_a_failure_says_what_explain_says() -> None:
    (result,) = judged("two-zones", "from: web-a, to: web-b, port: 80, inspected_by: firewall")
    assert result.problems == (
        "inspected by none on the way there, expected firewall", "inspected by none on the way back, expected firewall"
    )  # fmt: skip
    assert "  app-a  route table app-a: 10.0.0.0/16 -> local (app-b)" in result.explained
    assert result.explained[-1] == "Delivered and answered; not inspected."


def test_it_has_to_hold_whatever_target_is_chosen() -> None:
    """Of two firewalls one lets nothing pass."""
    text = (TOPOLOGIES / "two-zones.yaml").read_text().partition("\nexpect:")[0]
    open_one = "address: 10.254.1.12, security_groups: [appliance], program: *firewall}"
    assert open_one in text
    text = text.replace(open_one, "address: 10.254.1.12, security_groups: [appliance], program: firewall}")
    parsed = parse(text + "\nexpect: [{from: client, to: web-a, port: 80}]\n", "closed.yaml")
    (result,) = judge_by_model(parsed, resolve(parsed))
    assert result.problems == ("in 1 of 2 ways that are possible: not delivered: fw-a2 keeps the packet: rule default",)
    assert result.explained[0].startswith("one of 2 ways that are possible, with firewall-node-a: fw-a2")


def test_after_a_failure_and_only_then() -> None:
    results = judged(
        "two-zones",
        "from: client, to: app, port: 80",
        "from: client, to: app, port: 80, after: fail zone a",
        "from: client, to: web-a, port: 80, delivered: false, after: [fail zone a]",
        "from: client, to: web-a, port: 80, after: [fail zone a, heal zone a]",
        "from: client, to: web-a, port: 80, same_appliance: true, after: deregister firewalls fw-a1",
    )
    assert [(str(each.case), each.held) for each in results] == [
        ("client -> web-a tcp 80", True),
        ("client -> web-b tcp 80", True),
        ("client -> web-a tcp 80 after fail zone a", False),
        ("client -> web-b tcp 80 after fail zone a", True),
        ("client -> web-a tcp 80 after fail zone a", True),
        ("client -> web-a tcp 80 after fail zone a, heal zone a", True),
        ("client -> web-a tcp 80 after deregister firewalls fw-a1", True),
    ]


@pytest.mark.parametrize(
    ("line", "told"),
    [
        (
            "from: client, to: app, port: 80, dropped: {reason: Nonsense}",
            "expect[0].dropped.reason: expected one of NO_ROUTE",
        ),
        (
            "from: client, to: app, port: 80, after: register firewalls nobody",
            "expect[0].after: nobody is not an instance",
        ),
        ("from: client, to: app, port: 80, after: set firewall tcp.idle_timeout.seconds=1", "expect[0].after: "),
    ],
)
def test_what_only_the_plan_can_refuse_is_refused_with_file_and_line(line: str, told: str) -> None:
    with pytest.raises(TopologyError) as caught:
        judged("two-zones", line)
    number = with_expectations("two-zones", "from: client, to: app, port: 80").lines["expect", 0]
    assert str(caught.value).startswith(f"two-zones.yaml:{number}: {told}")


def test_ends_without_an_address_in_common_are_not_delivered() -> None:
    (result,) = judged("minimal", "from: client, to: '2001:db8::1', port: 80, delivered: false")
    assert result.held
    (result,) = judged("minimal", "from: client, to: '2001:db8::1', port: 80")
    assert result.problems == ("not delivered: client has no address to reach 2001:db8::1 from",)


def test_junit_has_a_test_case_for_each_and_what_explain_says() -> None:
    results = judged(
        "two-zones", "from: client, to: web-a, port: 80", "from: web-a, to: web-b, port: 80, delivered: false"
    )
    (suite,) = ElementTree.fromstring(junit_xml("a\x1bb.yaml", results))
    assert (suite.get("name"), suite.get("tests"), suite.get("failures")) == ("a\\x1bb.yaml", "2", "1")
    good, bad = suite
    assert (good.get("name"), len(good)) == ("client -> web-a tcp 80", 0)
    failure = bad.find("failure")
    assert failure is not None
    assert failure.get("message") == "delivered, and expected not to be"
    assert "app-a  route table app-a: 10.0.0.0/16 -> local (app-b)" in (failure.text or "")


def test_the_readme_shows_what_the_default_topology_has() -> None:
    shown = (ROOT / "README.md").read_text().partition("```yaml\nexpect:\n")[2].partition("```")[0].splitlines()
    there = (TOPOLOGIES / "two-zones.yaml").read_text().splitlines()
    assert len(shown) == 3
    assert [line for line in shown if line not in there] == []


def test_the_same_pair_is_walked_once_however_many_entries_mean_it(monkeypatch: pytest.MonkeyPatch) -> None:
    walked = []

    def counted(*arguments: Any) -> Any:
        walked.append(arguments[1])
        return exchange(*arguments)

    monkeypatch.setattr(model, "exchange", counted)
    text = (TOPOLOGIES / "minimal.yaml").read_text() + "expect:\n  - &one {from: client, to: web, port: 80}\n"
    parsed = parse(text + "  - *one\n" * 50 + "  - {from: client, to: web, port: 81}\n", "many.yaml")
    found = [*judge_by_model(parsed, resolve(parsed))]
    assert (len(found), all(result.held for result in found[:51])) == (52, True)
    assert len(walked) == 2
