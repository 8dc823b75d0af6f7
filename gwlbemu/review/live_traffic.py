"""What became of packets behind the endpoints: not returned, returned and refused, answered by ICMP, too long.

Where nothing comes back is told as widely as it is true: of a target, of an endpoint, of a protocol, or of some of
them together, and each packet is in one finding only.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import combinations
from typing import NamedTuple

from gwlbemu.core.gateway.settings import GENEVE_PORT, LONGEST_PACKET
from gwlbemu.review.finding import HINT, Finding, Severity, counted, listed
from gwlbemu.review.places import Places
from gwlbemu.review.seen import Carried, IcmpAnswers, RefusedReturns, Seen, Targets
from gwlbemu.topology.file.document import Path
from gwlbemu.wire.protocols import NAMES

ENOUGH = 5  # packets without an answer; fewer may be on their way, or a firewall's honest denial of one client
MOST_SAID = 5  # counters of the appliances in one advice
_NAMES = {**NAMES, 0: "any protocol"}
_UNCHANGED = "outer addresses swapped, UDP port 6081, the GENEVE header unchanged"
_MENDS = {
    "PacketsDroppedCount_InvalidGeneveTunnel": f"a program that returns what it got: {_UNCHANGED}",
    "PacketsDroppedCount_InvalidGwlbEndpointId": "a program that leaves GENEVE option 1 (endpoint id) as it came",
    "PacketsDroppedCount_InvalidGwlbFlowCookie": "a program that leaves GENEVE option 3 (flow cookie) as it came",
    "PacketsDroppedCount_MissingFlowEntry": "a program that returns packets with the inner addresses and ports with"
    " which they came, before their flow is over",
}


class _Cell(NamedTuple):
    """What went to a target by one endpoint and protocol, over all nodes of the load balancer.

    `refused` of what was sent came back and was not taken; `unanswered` is without those.
    """

    target: str
    endpoint: str
    protocol: int
    sent: int
    returned: int
    unanswered: int
    refused: int = 0


def traffic_findings(places: Places, seen: Seen) -> Iterator[Finding]:
    """Yield packets that were refused, answered by ICMP, not returned, or too long."""
    names = {str(one["id"]): places.name(one) for targets in _told(places, seen) for one in targets}
    for balancer in sorted({node.load_balancer for node in places.plan.gateway_nodes}):
        cells = list(_cells(places, seen, balancer))
        refused = [
            replace(each, target=names.get(each.target, each.target))
            for each in seen.refused
            if each.load_balancer == balancer
        ]
        taken = Counter[str]()
        for each in seen.carried:
            if each.load_balancer == balancer:
                taken[names.get(each.target, each.target)] += each.packets_from
        yield from _refused(places, balancer, [each for each in refused if not each.late], taken)
        explained = {name for name, instance in seen.instances.items() if instance.stands_still}
        for finding, target in _icmp(places, seen, balancer, cells):
            explained.add(target)
            yield finding
        silent = [cell for cell in _without_refused(cells, refused) if cell.target not in explained]
        yield from _silent(places, seen, balancer, silent)
    for node in places.plan.gateway_nodes:
        if count := seen.too_long.get(node.name, 0):
            text = (
                f"{node.name} has dropped {counted(count, 'packet')} longer than {LONGEST_PACKET} bytes without a word,"
                " as AWS does (InnerPacketTooLong)"
            )
            change = f"nothing to change here: an MTU of at most {LONGEST_PACKET} where those packets are made"
            yield Finding("too-long", "warning", text, places.balancer(node.load_balancer), change)


def _told(places: Places, seen: Seen) -> list[Targets]:
    """What the nodes say that know what became of packets."""
    return [seen.targets.get(node.name) or () for node in places.plan.gateway_nodes]


def _cells(places: Places, seen: Seen, balancer: str) -> Iterator[_Cell]:
    """Of targets that are healthy for some node, and not broken on purpose."""
    names, zones = {}, {}
    for targets in _told(places, seen):
        for one in targets:
            zones[str(one["id"])] = str(one["zone"])
            if one["state"] == "healthy":
                names[str(one["id"])] = places.name(one)
    found: dict[tuple[str, str, int], list[Carried]] = {}
    for each in seen.carried:
        name = names.get(each.target)
        if each.load_balancer == balancer and name and seen.on_purpose(name, zones[each.target]) is None:
            found.setdefault((name, each.endpoint, each.protocol), []).append(each)
    for key, all_of_it in found.items():
        sent, returned = sum(each.packets_to for each in all_of_it), sum(each.packets_from for each in all_of_it)
        yield _Cell(*key, sent, returned, sum(each.unanswered for each in all_of_it))


def _without_refused(cells: Sequence[_Cell], refused: Sequence[RefusedReturns]) -> list[_Cell]:
    """Take away what refusals account for: of their own target, endpoint and protocol, and no more than were refused.

    One whose endpoint or protocol could not be read may be of any, so those that are known go first.
    """
    found = list(cells)
    for each in sorted(refused, key=lambda one: (not one.endpoint) + (one.protocol is None)):
        left = each.packets
        for at, cell in enumerate(found):
            if (
                cell.target == each.target
                and each.endpoint in ("", cell.endpoint)
                and each.protocol in (None, cell.protocol)
            ):
                taken = min(left, cell.unanswered)
                found[at] = cell._replace(unanswered=cell.unanswered - taken, refused=cell.refused + taken)
                left -= taken
    return found


def _silent(places: Places, seen: Seen, balancer: str, cells: Sequence[_Cell]) -> Iterator[Finding]:
    left = list(cells)
    for size in (1, 2, 3):
        for by in combinations(("target", "endpoint", "protocol"), size):
            groups: dict[tuple[object, ...], list[_Cell]] = {}
            for cell in left:
                groups.setdefault(tuple(getattr(cell, word) for word in by), []).append(cell)
            for group in groups.values():
                if _is_silent(group):
                    others = [cell for cell in cells if cell not in group and cell.returned]
                    yield _silence(places, seen, balancer, by, group, others)
                    left = [cell for cell in left if cell not in group]


def _is_silent(cells: Sequence[_Cell]) -> bool:
    """Whether enough was sent since anything came back, and nothing came back since. One cell with an answer is enough
    to say no."""
    return all(cell.unanswered for cell in cells if cell.sent) and sum(cell.unanswered for cell in cells) >= ENOUGH


def _silence(
    places: Places, seen: Seen, balancer: str, by: Sequence[str], cells: Sequence[_Cell], others: Sequence[_Cell]
) -> Finding:
    targets = sorted({cell.target for cell in cells})
    unanswered, earlier = sum(cell.unanswered for cell in cells), sum(cell.returned for cell in cells)
    which = "the last " if earlier else ""
    what = f"{_protocols([cell.protocol for cell in cells])} " if "protocol" in by else ""
    where = f" that entered at {cells[0].endpoint}" if "endpoint" in by else ""
    noun, verb, has = ("target", "is", "has") if len(targets) == 1 else ("targets", "are", "have")
    refused = sum(cell.refused for cell in cells)
    more = "other " if refused else ""
    text = f"{noun} {listed(targets)} of load balancer {balancer} {verb} healthy and {has} returned none of"
    text += f" {which}{unanswered} {more}{what}packets{where}"
    done = []
    if others and "target" not in by[:1]:
        done.append(f"{counted(sum(cell.returned for cell in others), 'other')} came back")
    if refused:
        done.append(f"{refused} came back and {'was' if refused == 1 else 'were'} refused")
    if earlier:
        done.append(f"{earlier} came back before")
    text += f" ({'; '.join(done)})" if done else ""
    path: Path = places.program(targets[0], balancer)
    kind = "silent-target"
    severity: Severity = "warning"
    if "target" not in by and "endpoint" in by:
        path, kind = places.endpoint(cells[0].endpoint) or path, "silent-endpoint"
    if "protocol" in by:
        kind, severity = "silent-protocol", HINT  # which protocols a firewall lets pass is its own decision
    return Finding(kind, severity, text, path, _mend(seen, targets))


def _mend(seen: Seen, targets: Sequence[str]) -> str:
    """What the appliances themselves say, or else what they would have to do."""
    said = []
    for name in targets:
        counters = seen.instance(name).said or {}
        said += [
            f"{name} itself has counted {count} {word}"
            for word, count in counters.items()
            if word.startswith(("discarded: ", "undecodable: ")) and count
        ]
    if said:
        more = f"; and {len(said) - MOST_SAID} more" if len(said) > MOST_SAID else ""
        return f"what {listed(list(targets))} is told to do: {'; '.join(said[:MOST_SAID])}{more}"
    return f"a program that sends back what it lets pass: {_UNCHANGED} (its log may tell whether it denies everything)"


def _refused(
    places: Places, balancer: str, refused: Sequence[RefusedReturns], taken: Mapping[str, int]
) -> Iterator[Finding]:
    rows: dict[tuple[str, str], list[RefusedReturns]] = {}
    for each in refused:
        rows.setdefault((each.target, each.reason), []).append(each)
    for (target, reason), each_of in rows.items():
        count = sum(each.packets for each in each_of)
        accepted = taken.get(target, 0)
        protocols = [each.protocol for each in each_of if each.protocol is not None]
        kinds = f" ({_protocols(protocols)})" if protocols else ""
        at = sorted({each.endpoint for each in each_of if each.endpoint})
        of = f" of {listed(at)}" if at else ""
        nodes = listed(sorted({each.node for each in each_of}))
        wrong = each_of[-1].wrong
        seen_wrong = f"{wrong} (in the last one; {reason})" if wrong else reason
        text = f"target {target} returned {counted(count, 'packet')}{of}{kinds}, which {nodes} refused: {seen_wrong}"
        was = "was" if accepted == 1 else "were"
        text += f"; {counted(accepted, 'other')} {was} taken" if accepted else "; none was taken"
        severity: Severity = "error" if not accepted else "warning" if count >= ENOUGH else HINT
        change = _MENDS.get(reason, "nothing to change here: what it returns breaks that rule")
        yield Finding("refused-return", severity, text, places.program(target, balancer), change)


def _icmp(places: Places, seen: Seen, balancer: str, cells: Sequence[_Cell]) -> Iterator[tuple[Finding, str]]:
    nodes = {node.name for node in places.plan.gateway_nodes if node.load_balancer == balancer}
    rows: dict[tuple[str, str, str, int], list[IcmpAnswers]] = {}
    for each in seen.icmp:
        if each.node in nodes:
            rows.setdefault((each.sender, each.destination, each.words, each.port), []).append(each)
    for (sender, destination, words, port), each_of in rows.items():
        target = places.at(destination)
        if seen.instance(target).stands_still:
            continue
        own = [cell for cell in cells if cell.target == target]
        if own and not any(cell.unanswered for cell in own):
            continue  # of a time when its program was not there yet
        count = sum(each.packets for each in each_of)
        by = f"target {target} answers" if sender == destination else f"{places.at(sender)} answers for target {target}"
        lost = sum(cell.unanswered for cell in own)
        unanswered = f"; none of the last {lost} packets came back" if lost >= ENOUGH else ""
        bound = seen.instance(target).udp_bound
        now = ""
        if words == "port unreachable" and bound is not None:
            now = f"; a socket is bound to UDP port {port} now" if port in bound else "; no socket there is bound to it"
        text = f"{by} with ICMP {words} ({counted(count, 'time')}, about UDP port {port}{now}){unanswered}"
        change = (
            f"a program that takes packets to UDP port {GENEVE_PORT}"
            if words == "port unreachable"
            else f"what makes {places.at(sender)} send ICMP {words}"
        )
        yield Finding("icmp-from-target", "error", text, places.program(target, balancer), change), target


def _protocols(numbers: Iterable[int]) -> str:
    return listed([_NAMES.get(number, f"protocol {number}") for number in sorted(set(numbers))])
