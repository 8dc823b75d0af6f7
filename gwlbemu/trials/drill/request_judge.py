"""From requests to a report: which failed in which phase, and the contract's lines.

A request belongs to the phase in which it began; one that was under way when the event came belongs to what follows.

What the contract wants (ALB guide, Health checks; Troubleshoot; Edit target group attributes):

    kill, freeze   until health checks find it, requests to the target fail with 502 or 504; afterwards none fails
    deregister     none fails but those that are still running when the deregistration delay is over: 502
    zone           what goes through the lost zone's node gets no answer; through the others' as with kill
    engine         what goes through the node without an engine gets no answer; what goes through the others, its answer
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence

from gwlbemu.programs.requests import Outcome, parse_outcomes
from gwlbemu.trials.drill.outcome import ENGINE
from gwlbemu.trials.drill.report import ContractCheck, RequestPhase, RunReport
from gwlbemu.trials.drill.request_run import MARGIN_SECONDS, OK, SHORT_SECONDS, SLOW_REQUESTS, RequestRun

BEFORE, UNTIL, AFTERWARDS, RECOVERED = "before", "until it is found", "afterwards", "put back"


def judge_requests(drill: RequestRun, *, engine_is_back: bool) -> RunReport:
    """Return the report of a run that is over."""
    phases = _phases(drill)
    struck = {ENGINE: (f"HAProxy of {drill.node}",), "zone": (f"zone {drill.zone}", *drill.struck)}
    return RunReport(
        drill.event,
        "",
        struck.get(drill.event, drill.struck),
        drill.took_seconds if drill.noticed else None,
        checks=tuple(_checks(drill, phases, engine_is_back)),
        requests=tuple(_phase(name, phases[name]) for name in phases),
    )


def _phases(drill: RequestRun) -> dict[str, list[Outcome]]:
    found: dict[str, list[Outcome]] = {name: [] for name in (BEFORE, UNTIL, AFTERWARDS, RECOVERED)}
    for each in drill.outcomes():
        if each.ended_at < drill.applied_at:
            found[BEFORE].append(each)
        elif each.began_at < drill.found_at:
            found[UNTIL].append(each)
        elif each.began_at < drill.undone_at:
            found[AFTERWARDS].append(each)
        elif each.began_at >= drill.back_at:
            found[RECOVERED].append(each)
    return found


def _phase(name: str, outcomes: Sequence[Outcome]) -> RequestPhase:
    return RequestPhase(
        name,
        len(outcomes),
        dict(sorted(Counter(str(each.status) for each in outcomes if each.status).items())),
        dict(Counter(each.error for each in outcomes if not each.status).most_common()),
        round(max((each.ended_at - each.began_at for each in outcomes), default=0.0), 3),
        sum(each.again for each in outcomes),
    )


def _failed(outcomes: Sequence[Outcome], allowed: Callable[[Outcome], bool] = lambda _: False) -> int:
    """How many requests failed in another way than is allowed."""
    return sum(each.status != OK and not allowed(each) for each in outcomes)


def _checks(drill: RequestRun, phases: dict[str, list[Outcome]], engine_is_back: bool) -> Iterator[ContractCheck]:
    """Yield the lines of the contract, held against what became of the requests."""
    names = ", ".join(drill.struck)
    yield _none_failed("", "before", phases[BEFORE])
    if drill.event == ENGINE:
        yield ContractCheck("", f"status tells that the HAProxy of {drill.node} does not run", drill.noticed)
        yield from _through_others(drill, "EX-03", [*phases[UNTIL], *phases[AFTERWARDS]])
        yield ContractCheck("", f"heal node {drill.node} starts it again", engine_is_back)
    elif drill.event == "deregister":
        yield from _drained(drill, [*phases[UNTIL], *phases[AFTERWARDS]])
    else:
        yield ContractCheck("AL-09", f"health checks found that {names} failed", drill.noticed)
        yield from _until_found(drill, phases[UNTIL])
        if drill.event == "zone":
            yield from _through_others(drill, "EX-03", phases[AFTERWARDS])
        else:
            yield _none_failed("AL-09", f"after {names} was found unhealthy", phases[AFTERWARDS])
        yield _avoided(drill, "AL-09", phases[AFTERWARDS])
    lost = _addresses(drill, lost=True)
    fresh = [
        each for each in phases[RECOVERED] if each.status or each.address not in lost
    ]  # kept from before: no matter
    yield _none_failed("", "after everything was put back", fresh)


def _none_failed(contract: str, when: str, outcomes: Sequence[Outcome]) -> ContractCheck:
    failed = _failed(outcomes)
    return ContractCheck(contract, f"{when} {failed or 'none'} of {len(outcomes)} requests failed", not failed)


def _until_found(drill: RequestRun, outcomes: Sequence[Outcome]) -> Iterator[ContractCheck]:
    """Until health checks find it a target that is gone costs its requests: 502, 504 (AL-11); a frozen one answers
    nobody, for longer than our clients wait.
    """

    def allowed(each: Outcome) -> bool:
        gone = not each.status and drill.zone != ""
        return each.status in (502, 504) or gone or (drill.event == "freeze" and each.error == "timeout")

    cost = _failed(outcomes)
    text = f"until then {cost or 'none'} of {len(outcomes)} requests failed, with 502 or 504 where there was an answer"
    yield ContractCheck("AL-11", text, not _failed(outcomes, allowed))


def _through_others(drill: RequestRun, contract: str, outcomes: Sequence[Outcome]) -> Iterator[ContractCheck]:
    """What goes through the nodes that are left is answered; connections to the lost one get none."""
    others = _addresses(drill, lost=False)
    through = [each for each in outcomes if each.address in others]
    ok = sum(each.status == OK for each in through)
    where = "the other zone's node" if len(drill.ends.subject.nodes) == 2 else "the other zones' nodes"
    yield ContractCheck(
        contract, f"{ok} of {len(through)} requests through {where} were answered", 0 < ok == len(through)
    )


def _addresses(drill: RequestRun, *, lost: bool) -> set[str]:
    """Every address of the node that was lost, or of the others."""
    nodes = [node for node in drill.ends.subject.addressed_nodes if (node.name == drill.node) == lost]
    return {address for node in nodes for address in (node.address, node.public_address)} - {""}


def _avoided(drill: RequestRun, contract: str, outcomes: Sequence[Outcome]) -> ContractCheck:
    names = drill.names()
    there = sum(each.target in names for each in outcomes)
    return ContractCheck(contract, f"{there or 'none'} of them went to {', '.join(drill.struck)}", not there)


def _drained(drill: RequestRun, outcomes: Sequence[Outcome]) -> Iterator[ContractCheck]:
    yield _none_failed("AL-22", "while it drained and afterwards", outcomes)
    yield _avoided(drill, "AL-22", [each for each in outcomes if each.began_at > drill.told_at + 2 * MARGIN_SECONDS])
    for seconds, process in drill.slow:
        found = parse_outcomes(process.output())
        answered = sum(each.status == OK for each in found)
        ended = sum(each.status == 502 for each in found)
        if seconds == SHORT_SECONDS:
            text = f"{answered} of {len(found)} requests that were under way were answered before the delay was over"
            yield ContractCheck("AL-22", text, answered == len(found) == SLOW_REQUESTS)
        else:
            text = f"{ended} of {len(found)} were still running there when it was over: 502; the others were answered"
            yield ContractCheck("AL-22", text, ended > 0 and ended + answered == len(found) == SLOW_REQUESTS)
