"""reach: who reaches whom, and who looks at it, as a matrix."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import click

from gwlbemu.cli.common import json_option, lab_option, load_plan, name_silent, need_root, print_json
from gwlbemu.cli.output import say
from gwlbemu.errors import plain
from gwlbemu.views.model import Model
from gwlbemu.views.outcome import Outcome
from gwlbemu.views.reach import SYMBOLS, Pair, by_model, questions
from gwlbemu.wire import protocols
from gwlbemu.wire.protocols import ICMP, TCP, UDP

MOST_TOLD = 20  # pairs that are told in a sentence below a matrix
TOLD = ("!", "<", "?")  # those that somebody has to look at
_PORT = click.IntRange(1, 65535)


@click.command("reach")
@click.argument("file", metavar="[FILE]", required=False)
@lab_option
@click.option("--tcp", type=_PORT, multiple=True, metavar="PORT", help="A TCP connection to PORT (default: 80).")
@click.option("--udp", type=_PORT, multiple=True, metavar="PORT", help="A UDP datagram to PORT.")
@click.option("--icmp", is_flag=True, help="An ICMP echo request.")
@click.option("--by-packets", is_flag=True, help="Send packets in the running lab, and hold them against the model.")
@json_option
def reach_command(
    file: str | None, lab_name: str | None, tcp: tuple[int, ...], udp: tuple[int, ...], icmp: bool, by_packets: bool,
    as_json: bool,
) -> int:  # fmt: skip
    """Print who reaches whom: all pairs of instances but appliances, those on the internet among them.

    Of FILE without root, or of the running lab as it is now; by the path model, or by packets that are sent in the lab.
    Exit code 1 when packets and model differ.
    """
    if file is not None and (lab_name is not None or by_packets):
        raise click.UsageError("give a FILE, or a lab that is up (--lab, --by-packets), not both")
    kinds: list[tuple[int, int | None]] = [*((TCP, port) for port in tcp), *((UDP, port) for port in udp)]
    kinds += [(ICMP, None)] if icmp else []
    found: list[tuple[int, int | None, list[Pair]]] = []
    for kind in kinds or [(TCP, 80)]:
        found.append((*kind, _pairs(file, lab_name, *kind, by_packets=by_packets)))
    if as_json:
        print_json([_plain(pair) for _, _, pairs in found for pair in pairs])
    else:
        say("\n\n".join("\n".join(_text(*each)) for each in found))  # its lines are plain, and some are red
    return 1 if any(pair.differs for _, _, pairs in found for pair in pairs) else 0


def _pairs(file: str | None, lab_name: str | None, protocol: int, port: int | None, *, by_packets: bool) -> list[Pair]:
    if file is not None:
        plan = load_plan(file, None)
        return [*by_model(Model(plan), questions(plan, protocol, port))]
    from gwlbemu.lab.running import open_lab
    from gwlbemu.views.states import present_states

    lab = open_lab(lab_name)
    need_root()
    plan, states, silent = present_states(lab)
    name_silent(each.sentence for each in silent)
    asked = questions(plan, protocol, port)
    if not by_packets:
        return [*by_model(Model(plan, states), asked)]
    from gwlbemu.trials.reach import by_packets as sent

    return sent(lab, [*asked])


# ---- text ----
def _text(protocol: int, port: int | None, pairs: Sequence[Pair]) -> Iterator[str]:
    name = protocols.name(protocol) + (f" {port}" if port else "")
    if not pairs:
        yield f"{name}: there are no two instances"
        return
    instances = list(dict.fromkeys(end for pair in pairs for end in (pair.question.sender, pair.question.receiver)))
    cells = {(pair.question.sender, pair.question.receiver): pair for pair in pairs}
    width, column = max(map(len, instances)), max(2, len(str(len(instances)))) + 1
    yield name
    yield " " * (width + 4) + "".join(f"{number:>{column}}" for number in range(1, len(instances) + 1)) + "  to"
    for number, sender in enumerate(instances, 1):
        row = "".join(_cell(cells.get((sender, receiver)), column) for receiver in instances)
        yield f"{sender:<{width}} {number:>3}{row}"
    used = {pair.symbol for pair in pairs}
    yield from (f"  {symbol} {meaning}" for symbol, meaning in SYMBOLS.items() if symbol in used)
    differing = [pair for pair in pairs if pair.differs]
    if differing:
        yield _red("  * packets and model differ")
    odd = [*differing, *(pair for pair in pairs if pair.symbol in TOLD and not pair.differs)]
    for pair in odd[:MOST_TOLD]:
        yield from _told(pair)
    if len(odd) > MOST_TOLD:
        yield f"  and {len(odd) - MOST_TOLD} more; --json has all"


def _cell(pair: Pair | None, width: int) -> str:
    if pair is None:
        return f"{'.':>{width}}"
    if pair.differs:
        return _red(f"{pair.symbol + '*':>{width}}")
    return f"{pair.symbol:>{width}}"


def _told(pair: Pair) -> Iterator[str]:
    head = f"{pair.question.sender} -> {pair.question.receiver}: "
    if pair.differs:
        yield _red(f"  * {head}packets: {pair.outcome.sentence}")
        yield _red(f"    model: {'; or '.join(one.sentence for one in pair.model)}")
        return
    told = [pair.seen] if pair.seen else pair.model
    yield plain(f"  {pair.symbol} {head}{'; or '.join(dict.fromkeys(one.sentence for one in told))}")


def _red(text: str) -> str:
    return click.style(plain(text), fg="red")


# ---- JSON ----
def _plain(pair: Pair) -> dict[str, object]:
    asked = pair.question
    return {
        "from": asked.sender,
        "to": asked.receiver,
        "protocol": protocols.name(asked.protocol),
        "port": asked.port,
        "symbol": pair.symbol,
        "model": [_outcome(one) for one in pair.model],
        "packets": _outcome(pair.seen) if pair.seen else None,
        "differs": pair.differs,
    }


def _outcome(outcome: Outcome) -> dict[str, object]:
    return outcome.as_dict() | {"sentence": outcome.sentence}
