"""explain: the way of a packet and of its answer, hop by hop, without sending one."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace

import click

from gwlbemu.cli.common import echo, json_option, lab_option, load_plan, name_silent, print_json
from gwlbemu.errors import SettingError
from gwlbemu.paths.choices import MOST
from gwlbemu.paths.values import Cause, Exchange, Hop, Kind, Packet, States, Way
from gwlbemu.paths.walk import Paths, exchange
from gwlbemu.topology.plan.ends import instance_at, web_port
from gwlbemu.topology.plan.values import Plan
from gwlbemu.wire import protocols
from gwlbemu.wire.protocols import ICMP, TCP, UDP
from gwlbemu.wire.tcp import ACK, RST

WIDTH = 80
NAMES = {name: number for number, name in protocols.NAMES.items()}


@click.command("explain")
@click.argument("source", metavar="A[:PORT]")
@click.argument("destination", metavar="B[:PORT]")
@click.argument("file", metavar="[FILE]", required=False)
@lab_option
@click.option(
    "--proto", default="tcp", show_default=True, metavar="tcp|udp|icmp|N", help="The protocol, or its number."
)
@click.option("--size", type=click.IntRange(28, 65535), default=60, show_default=True, help="Bytes of the IP packet.")
@click.option(
    "--after",
    multiple=True,
    metavar="CHANGE",
    help='Suppose a change first, such as "fail instance fw-a1". Repeatable.',
)
@json_option
def explain_command(
    source: str, destination: str, file: str | None, lab_name: str | None, proto: str, size: int,
    after: tuple[str, ...], as_json: bool,
) -> int:  # fmt: skip
    """Say which way a packet from A to B and its answer take, and which rule decides at each hop. No packet is sent.

    A and B are instances or addresses; an IPv6 address with a port stands in brackets. Of FILE without root, or of the
    running lab as it is now. A port that is not given is left open. Exit code 1 unless it is delivered and answered.
    """
    if file is not None and lab_name is not None:
        raise click.UsageError("give a FILE or a --lab, not both")
    plan, states = (load_plan(file, None), States()) if file is not None else _of_lab(lab_name)
    packet = _packet(plan, source, destination, proto, size)
    answer = _answer(plan, packet)
    now = exchange(Paths(plan), packet, states, answer)
    then = now
    if after:
        from gwlbemu.views.suppose import suppose

        for text in after:
            plan, states = suppose(plan, states, text)
        then = exchange(Paths(plan), packet, states, answer)
    if as_json:
        print_json({"now": asdict(now), "after": asdict(then)} if after else asdict(now))
    else:
        echo("\n".join([*_changes(now, then, after), *_text(then)] if after else _text(now)))
    return 0 if then.answered else 1


def _of_lab(name: str | None) -> tuple[Plan, States]:
    from gwlbemu.lab.running import open_lab
    from gwlbemu.views.states import present_states

    plan, states, silent = present_states(open_lab(name))
    name_silent(each.sentence for each in silent)
    return plan, states


def _packet(plan: Plan, source: str, destination: str, proto: str, size: int) -> Packet:
    protocol = NAMES.get(proto) or (int(proto) if proto.isascii() and proto.isdecimal() and int(proto) < 256 else -1)
    if protocol < 0:
        raise SettingError(f"--proto {proto}: expected tcp, udp, icmp or a number from 0 to 255")
    (here, own), (there, port) = _end(source), _end(destination)
    if protocol not in (TCP, UDP):
        if own is not None or port is not None:
            raise SettingError(f"protocol {protocols.name(protocol)} has no ports")
        return Packet(here, there, protocol, size=size, df=protocol != ICMP)
    receiver = instance_at(plan, there)
    if port is None and receiver is not None and protocol == TCP:
        port = web_port(plan, receiver)
    if port is None:
        raise SettingError(f"{destination}: to which port? {there}:80, for example")
    return Packet(here, there, protocol, own, port, size=size, df=protocol == TCP)


def _answer(plan: Plan, packet: Packet) -> Packet | None:
    """Return how the answer differs from one in kind: the RST of a port where nothing of the plan listens."""
    receiver = instance_at(plan, packet.destination)
    if receiver is None or packet.protocol != TCP:
        return None
    programs = [program for program in plan.programs if program.instance == receiver.name]
    if any(program.kind == "command" or program.listens == packet.destination_port for program in programs):
        return None
    return replace(packet.answer(), tcp_flags=RST | ACK)


def _end(text: str) -> tuple[str, int | None]:
    """Split a name or an address from its port."""
    name, port = text, ""
    if text.startswith("["):
        name, _, port = text[1:].partition("]")
        port = port.removeprefix(":")
    elif text.count(":") == 1:
        name, _, port = text.partition(":")
    if not port and name == text.strip("[]"):
        return name, None
    if not (port.isascii() and port.isdecimal() and 0 < int(port) < 65536):
        raise SettingError(f"{text}: expected a port from 1 to 65535 behind the name")
    return name, int(port)


# ---- text ----
def _text(found: Exchange) -> Iterator[str]:
    yield f"there  {_first(found.there)}"
    yield from _direction(found.there)
    if found.back is not None:
        yield ""
        yield f"back   {_first(found.back)}"
        yield from _direction(found.back)
    yield ""
    yield from _wrapped(_conclusion(found), "", "")
    if found.parting is not None:
        yield from _wrapped(f"The two directions part: {found.parting.sentence}.", "", "")
        for word, hop in (("there", found.parting.there), ("back", found.parting.back)):
            if hop is not None:
                yield from _wrapped(f"{hop.at}: {hop.rule}", f"  {word:<6} ", " " * 9)


def _first(way: Way) -> Packet:
    """Return the packet as it was sent."""
    way = next((one for one in way.alternatives if one.hops), way)
    return way.hops[0].packet if way.hops else way.packet


def _direction(way: Way) -> Iterator[str]:
    yield from _hops(way.hops)
    if way.end.kind is Kind.AMBIGUOUS:
        yield from _wrapped(f"= {way.end.sentence}", "  ", "    ")
        for number, one in enumerate(way.alternatives, 1):
            yield from _wrapped(f"{number}. {'; '.join(one.choices) or 'as chosen there'}", "  ", "     ")
            yield from _hops(one.hops[len(way.hops) :], indent="    ")
            yield from _wrapped(_end_text(one), "    ", "      ")
        return
    yield from _wrapped(_end_text(way), "  ", "    ")
    if way.choices and way.alternatives:
        count = len(way.alternatives)
        yield from _wrapped(
            f"left open, {count} ways that end alike; this is the one with {'; '.join(way.choices)}", "  ", "    "
        )


def _count(ways: Sequence[object]) -> str:
    return f"{MOST} or more" if len(ways) >= MOST else str(len(ways))


def _end_text(way: Way) -> str:
    reason = f" [{way.end.reason}]" if way.end.reason else ""
    return f"= {way.end.kind.value}: {way.end.sentence}{reason}"


def _hops(hops: tuple[Hop, ...], indent: str = "  ") -> Iterator[str]:
    width = min(max((len(hop.at) for hop in hops), default=0), 24)
    for hop in hops:
        text = hop.rule + (f" ({hop.detail})" if hop.detail else "")
        yield from _wrapped(text, f"{indent}{hop.at:<{width}}  ", " " * (len(indent) + width + 2))


def _conclusion(found: Exchange) -> str:
    if found.answered:
        met = {(True, True): "inspected both ways", (False, False): "not inspected"}.get(
            found.inspected, "inspected in one direction only"
        )
        if found.inspected == (True, True):
            met += ", by the same targets" if found.same_targets else ", by different targets"
        refused = found.back is not None and found.back.packet.tcp_flags & RST and found.back.packet.protocol == TCP
        said = "answered with a RST, since nothing listens there" if refused else "answered"
        return f"Delivered and {said}; {met}."
    if found.there.end.kind is Kind.AMBIGUOUS or (found.back is not None and found.back.end.kind is Kind.AMBIGUOUS):
        answered, first = sum(each.answered for each in found.possible), found.possible[0]
        own = {_kept_by(each) for each in found.possible} - {""}
        if own and all(each.answered for each in found.possible if not _kept_by(each)):
            returns = "returns" if len(own) == 1 else "return"
            names = " and ".join(sorted(own))
            return f"Delivered and answered, if {names} {returns} it: what a program of your own does is not known."
        if answered:
            return f"Delivered and answered in {answered} of {_count(found.possible)} ways that are possible."
        lost = first.back or first.there
        what = "Not delivered" if not any(each.there.delivered for each in found.possible) else "Not answered"
        many = f"in any of {_count(found.possible)} ways that are possible"
        return f"{what} {many}; in the first of them, {lost.end.sentence}."
    if found.back is None:
        return f"Not delivered: {found.there.end.sentence}."
    return f"Delivered, and its answer is lost: {found.back.end.sentence}."


def _kept_by(found: Exchange) -> str:
    """Return the instance whose own program may have kept the packet or its answer; "" for none."""
    ends = [way.end for way in (found.there, found.back) if way is not None]
    return next((end.at for end in ends if end.reason == Cause.OWN_PROGRAM.value), "")


def _changes(now: Exchange, then: Exchange, after: tuple[str, ...]) -> Iterator[str]:
    """What is other after a change than now."""
    yield from _wrapped(f"After {', then '.join(after)}:", "", "  ")
    rows = [
        ("outcome", _conclusion(now), _conclusion(then)),
        ("targets there", _targets(now.there), _targets(then.there)),
        ("targets back", _targets(now.back), _targets(then.back)),
    ]
    changed = [row for row in rows if row[1] != row[2]]
    for what, before, later in changed:
        yield from _wrapped(f"{what}: {before}  =>  {later}", "  ", "    ")
    if not changed:
        yield "  nothing changes for this packet and its answer"
    yield ""


def _targets(way: Way | None) -> str:
    """The targets that a way meets, by node, with all that open choices allow."""
    if way is None:
        return "none"
    met: dict[str, dict[str, None]] = {}
    for one in way.alternatives or (way,):
        for node, target in one.targets:
            met.setdefault(node, {})[target] = None
    return ", ".join(" or ".join(targets) for targets in met.values()) or "none"


def _wrapped(text: str, first: str, others: str) -> list[str]:
    return textwrap.wrap(
        text, WIDTH, initial_indent=first, subsequent_indent=others, break_long_words=False, break_on_hyphens=False
    )
