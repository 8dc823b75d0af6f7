"""The matrix of who reaches whom, by the path model."""

from __future__ import annotations

import pytest

from gwlbemu.topology.plan.resolve import load
from gwlbemu.views.model import Model, Question
from gwlbemu.views.outcome import Lost, Outcome
from gwlbemu.views.reach import Pair, by_model, questions
from gwlbemu.wire.protocols import ICMP, TCP, UDP
from tests.paths import TOPOLOGIES

QUESTION = Question("a", "b", TCP, 80)
SAME = Outcome(None, None, ("fw",), ("fw",), True)
OTHERS = Outcome(None, None, ("fw",), ("fw",), False)
ONE_WAY = Outcome(None, None, ("fw",), (), False)
PAST = Outcome(None, None, (), (), True)
LOST = Outcome(Lost(("a",), "", "lost"), None, (), (), False)
LOST_ELSEWHERE = Outcome(Lost(("b",), "Loop", "lost"), None, (), (), False)
LOST_BEHIND = Outcome(Lost(("b",), "", "lost"), None, ("fw",), (), False)
KEPT = Outcome(Lost(("own", "fw"), "OwnProgram", "it may keep it"), None, ("fw",), (), False)
NO_ANSWER = Outcome(None, Lost(("b",), "", "lost"), ("fw",), (), False)


@pytest.mark.parametrize(
    ("outcomes", "symbol"),
    [
        ((SAME,), "="), ((PAST,), "-"), ((OTHERS,), "!"), ((ONE_WAY,), "!"), ((LOST,), "x"), ((NO_ANSWER,), "<"),
        ((LOST, LOST_ELSEWHERE), "x"), ((SAME, LOST), "?"),
        ((SAME, KEPT), "="), ((KEPT,), "x"),  # what a program of the user's does, the model does not know
    ],
)  # fmt: skip
def test_a_sign_for_each_outcome(outcomes: tuple[Outcome, ...], symbol: str) -> None:
    assert Pair(QUESTION, outcomes).symbol == symbol
    assert not Pair(QUESTION, outcomes).differs


@pytest.mark.parametrize(
    ("model", "seen", "differs"),
    [
        ((SAME,), SAME, False),
        (
            (SAME, LOST),
            LOST_ELSEWHERE,
            False,
        ),  # one of what is possible; where packets are lost they do not always show
        ((SAME, KEPT), LOST_BEHIND, False),
        ((SAME,), OTHERS, True),
        ((SAME,), PAST, True),
        ((SAME,), NO_ANSWER, True),
        ((LOST,), LOST_BEHIND, True),
        ((PAST,), LOST, True),
    ],
)
def test_what_was_seen_has_the_sign_and_may_differ(model: tuple[Outcome, ...], seen: Outcome, differs: bool) -> None:
    pair = Pair(QUESTION, model, seen)
    assert (pair.symbol, pair.differs) == (Pair(QUESTION, (seen,)).symbol, differs)


def signs(file: str, protocol: int, port: int | None) -> dict[str, str]:
    plan = load((TOPOLOGIES / f"{file}.yaml").read_text(), file)
    return {
        f"{pair.question.sender} {pair.question.receiver}": pair.symbol
        for pair in by_model(Model(plan), questions(plan, protocol, port))
    }


def test_every_pair_but_those_with_an_appliance() -> None:
    assert signs("two-zones", TCP, 80) == {
        "client web-a": "=", "client web-b": "=", "web-a client": "=", "web-a web-b": "-", "web-b client": "=",
        "web-b web-a": "-",
    }  # fmt: skip
    assert set(signs("two-zones", UDP, 53).values()) == {"x"}
    assert signs("east-west", ICMP, None) == {"front back": "x", "back front": "x"}
    assert signs("egress-nat", ICMP, None) == {"worker server": "=", "server worker": "x"}


def test_the_answer_that_takes_the_other_zone_is_lost() -> None:
    text = (TOPOLOGIES / "transit-gateway.yaml").read_text()
    plan = load(text.replace("appliance_mode: enable", "appliance_mode: disable"), "off.yaml")
    pairs = {pair.question.sender: pair for pair in by_model(Model(plan), questions(plan, TCP, 80))}
    assert pairs["client-a"].symbol == "<"
    lost = pairs["client-a"].outcome.answer_lost
    assert lost is not None
    assert (lost.names, lost.reason) == (("vpce-b", "inspect-node-b", "inspect"), "MidstreamTcp")
