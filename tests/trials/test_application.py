"""Application load balancers as destinations, by the path model and by packets: expectations, and who reaches whom."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import yaml

from gwlbemu import Lab
from gwlbemu.topology.file.parse import Parsed, parse
from gwlbemu.topology.plan.resolve import resolve
from gwlbemu.trials.reach import by_packets
from gwlbemu.trials.verify import judge_in_a_lab
from gwlbemu.views.expectations import judge_by_model
from gwlbemu.views.model import Model
from gwlbemu.views.reach import by_model, questions
from gwlbemu.views.suppose import suppose
from gwlbemu.wire.protocols import TCP
from tests.lab.albs import APPLICATION, OWN, PUBLIC, WEB, behind
from tests.waiting import PATIENCE

GONE = {"after": ["fail node web-node-a"]}
EXPECT = [
    {"from": "client", "to": "front", "port": [WEB, OWN]},
    {"from": ["near", "web-a"], "to": "web", "port": [WEB, OWN]},
    {"from": "web-a", "to": APPLICATION["b"], "port": OWN},  # its own client: by the node's address
    {"from": "near", "to": "web", "port": 99, "dropped": {"by": "web", "reason": "ELBV2_LISTENERS_MISMATCH"}},
    {"from": "client", "to": PUBLIC["b"], "port": WEB} | GONE,
    {"from": "near", "to": APPLICATION["a"], "port": WEB, "dropped": {"by": "alb-a"}} | GONE,
]
CASES = 10


def parsed() -> Parsed:
    document = yaml.safe_load(behind(lab="judged"))
    document["expect"] = EXPECT
    return parse(yaml.safe_dump(document, sort_keys=False), "behind.yaml")


@pytest.mark.contract("AL-01", "NL-10")
def test_what_is_expected_holds_by_the_model() -> None:
    results = [*judge_by_model(parsed(), resolve(parsed()))]
    assert [(str(each.case), each.problems) for each in results if each.problems] == []
    assert len(results) == CASES


@pytest.mark.namespace
@pytest.mark.contract("AL-01", "NL-10")
def test_what_is_expected_holds_by_packets() -> None:
    results = [*judge_in_a_lab(parsed())]
    assert [(str(each.case), each.problems) for each in results if each.problems] == []
    assert len(results) == CASES


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with Lab(behind(lab="reached", shortcuts=False), wait=PATIENCE) as lab:
        yield lab


@pytest.mark.namespace
@pytest.mark.parametrize("port", [WEB, OWN])
def test_packets_do_what_the_model_says(lab: Lab, port: int) -> None:
    pairs = by_packets(lab.running, [*questions(lab.plan, TCP, port)])
    assert [str(pair.question) for pair in pairs if pair.differs] == []
    symbols = {(pair.question.sender, pair.question.receiver): pair.symbol for pair in pairs}
    assert symbols["client", "front"] == "-"
    assert symbols["near", "web"] == "-"
    assert symbols["client", "web"] == "x"  # an internal one


def test_a_load_balancer_that_has_no_answer_of_a_target_is_told_by_a_sign_of_its_own() -> None:
    model = Model(resolve(parsed())).after(("fail instance web-a",))
    pairs = by_model(model, questions(model.plan, TCP, OWN))
    symbols = {(pair.question.sender, pair.question.receiver): pair.symbol for pair in pairs}
    assert symbols["near", "web"] == "~"
    assert symbols["client", "front"] == "~"
    outcome = next(pair for pair in by_model(model, questions(model.plan, TCP, OWN)) if pair.symbol == "~").outcome
    assert outcome.answered
    assert "; but a request gets 504 Gateway Timeout from web-node-" in outcome.sentence
    assert outcome.as_dict()["unserved"] == outcome.unserved


def test_a_node_that_is_cut_is_no_target_of_the_load_balancer_in_front() -> None:
    plan = resolve(parsed())
    for change, left in (("fail node web-node-a", "web-node-b"), ("fail zone b", "web-node-a")):
        changed, states = suppose(plan, Model(plan).states, change)
        found = Model(changed, states).ask(next(q for q in questions(plan, TCP, WEB) if q.receiver == "front"))
        arrived = {one.there.end.at for one in found.possible}
        assert arrived == {left}
