"""What became of a packet and its answer, in the words that a model's way and what was seen of packets share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

from gwlbemu.paths.values import Cause, Exchange, Way
from gwlbemu.topology.plan.values import Plan

FIREWALL, LOOP, RESET = Cause.FIREWALL.value, Cause.LOOP.value, Cause.RESET.value
# Causes of which packets may show only where they were seen last; what a node does to a packet, it says.
SILENT = frozenset(cause.value for cause in Cause) - {RESET}


@dataclass(frozen=True, slots=True)
class Lost:
    """A packet that did not arrive.

    `names` are what the place may be called, the most exact one first: an endpoint, its node, its load balancer.
    `reason` is the path model's word, "" where packets do not show one.
    """

    names: tuple[str, ...]
    reason: str
    sentence: str


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a packet and its answer.

    `there` and `back` are the load balancers to whose targets each of them was sent. `answer_lost` is only told of a
    packet that arrived. `unserved` says what goes wrong behind a load balancer's node that has ended the connection, ""
    where nothing does: packets do not show it.
    """

    lost: Lost | None
    answer_lost: Lost | None
    there: tuple[str, ...]
    back: tuple[str, ...]
    same_appliance: bool
    unserved: str = ""

    @classmethod
    def never_sent(cls, sender: str, sentence: str) -> Outcome:
        """Return the outcome of a packet that its sender cannot make; `sentence` says why."""
        return cls(Lost((sender,), "", sentence), None, (), (), False)

    @property
    def delivered(self) -> bool:
        """Whether the packet arrived."""
        return self.lost is None

    @property
    def answered(self) -> bool:
        """Whether the packet arrived, and its answer, too."""
        return self.lost is None and self.answer_lost is None

    def as_dict(self) -> dict[str, object]:
        """Return it as values that JSON can carry; `lost` is the packet, or its answer where that did not arrive."""
        lost = self.lost or self.answer_lost
        return {
            "delivered": self.delivered,
            "answered": self.answered,
            "inspected_there": list(self.there),
            "inspected_back": list(self.back),
            "same_appliance": self.same_appliance,
            "unserved": self.unserved,
            "lost": asdict(lost) if lost else None,
        }

    @property
    def word(self) -> str:
        """How it ended: answered | answer-lost | lost."""
        return "answered" if self.answered else "answer-lost" if self.delivered else "lost"

    @property
    def inspected(self) -> str:
        """Who looked at both directions of one that is answered: same | different | one-way | none."""
        if not self.there and not self.back:
            return "none"
        if not self.there or not self.back:
            return "one-way"
        return "same" if self.same_appliance else "different"

    @property
    def sentence(self) -> str:
        """The whole in a sentence."""
        return f"{self._of_packets}; but {self.unserved}" if self.unserved else self._of_packets

    @property
    def _of_packets(self) -> str:
        if self.lost is not None:
            return f"not delivered: {self.lost.sentence}"
        if self.answer_lost is not None:
            return f"delivered, and its answer is lost: {self.answer_lost.sentence}"
        if self.inspected == "none":
            return "delivered and answered; not inspected"
        if self.inspected == "same":
            return f"delivered and answered; inspected both ways by {', '.join(self.there)}"
        if self.inspected == "different":
            return f"delivered and answered; the answer met other targets of {', '.join(self.back)}"
        seen, missing = ("there", "back") if self.there else ("back", "there")
        by = ", ".join(self.there or self.back)
        return f"delivered and answered; inspected on the way {seen} by {by}, not on the way {missing}"


def if_returned(outcomes: Sequence[Outcome]) -> list[int]:
    """Return which of the possible outcomes are so if programs of the user's own return what they get; their numbers.

    What such a program does is its own: the model knows both ways. All of them where it is kept in any case.
    """
    found = [number for number, one in enumerate(outcomes) if not _is_kept(one)]
    return found or [*range(len(outcomes))]


def _is_kept(outcome: Outcome) -> bool:
    lost = outcome.lost or outcome.answer_lost
    return lost is not None and lost.reason == Cause.OWN_PROGRAM.value


def outcome_of(plan: Plan, found: Exchange) -> Outcome:
    """Return the outcome of an exchange of the path model in which nothing is left open (one of `possible`)."""
    nodes = {node.name: node.load_balancer for node in plan.nodes}

    def balancers(way: Way | None) -> tuple[str, ...]:
        return tuple(nodes[node] for node, _ in way.targets) if way else ()

    return Outcome(
        None if found.there.delivered else _lost(plan, found.there),
        _lost(plan, found.back) if found.back is not None and not found.back.delivered else None,
        balancers(found.there),
        balancers(found.back),
        found.same_targets,
        found.onward.sentence if found.onward is not None and not found.onward.served else "",
    )


def names_of_place(plan: Plan, at: str, targets: tuple[tuple[str, str], ...] = ()) -> tuple[str, ...]:
    """Return what a place may be called: of an endpoint, a node and the last of `targets` also its load balancer."""
    found = [at]
    for endpoint in plan.endpoints:
        if endpoint.name == at:
            found += [endpoint.node, endpoint.load_balancer]
    found += [node.load_balancer for node in plan.nodes if node.name == at]
    if targets and targets[-1][1] == at:
        found += [instance.name for instance in plan.instances if instance.address == at and instance.appliance]
        found += [node.load_balancer for node in plan.nodes if node.name == targets[-1][0]]
    return tuple(dict.fromkeys(found))


def _lost(plan: Plan, way: Way) -> Lost:
    return Lost(names_of_place(plan, way.end.at, way.targets), way.end.reason, way.end.sentence)
