"""inject: crafted packets from inside an instance, and what became of each."""

from __future__ import annotations

import dataclasses
import textwrap
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

import click

from gwlbemu.capture.pcapng import enhanced_packet, interface_description, section_header
from gwlbemu.cli.common import echo, json_option, lab_option, name_silent, need_root, print_json
from gwlbemu.errors import WireError
from gwlbemu.lab.running import open_lab
from gwlbemu.trials.craft import PacketSpec
from gwlbemu.trials.inject import inject, sent_frame
from gwlbemu.trials.injection import demo_packets, prepare
from gwlbemu.trials.packet_report import NodeVerdict, PacketReport
from gwlbemu.wire.mismatch import Mismatch

WIDTH = 98


@click.command("inject")
@lab_option
@click.option(
    "--from",
    "source",
    metavar="INSTANCE",
    help="Where the packets start (default: one whose packets are inspected, on the internet if there is one).",
)
@click.option(
    "--to",
    "destination",
    metavar="INSTANCE|ADDRESS",
    help="Where they go; an instance is reached by the address the sender would use "
    "(default: a web server on whose way packets are inspected, by preference at a public address).",
)
@click.option("--tcp", type=click.IntRange(1, 65535), metavar="PORT", help="A TCP segment to PORT.")
@click.option("--udp", type=click.IntRange(1, 65535), metavar="PORT", help="A UDP datagram to PORT.")
@click.option("--icmp", is_flag=True, help="An ICMP echo request.")
@click.option("--flags", default="S", show_default=True, metavar="FLAGS", help="TCP flags, letters out of FSRPAUEC.")
@click.option("--payload", default="", metavar="TEXT", help="Payload of each packet.")
@click.option(
    "--sport",
    type=click.IntRange(1, 65535),
    metavar="PORT",
    help="Source port (default: a fresh one, the same for all).",
)
@click.option(
    "--count", type=click.IntRange(1, 1000), default=1, show_default=True, metavar="N", help="How many packets."
)
@click.option("--interval", type=click.FloatRange(0, 10), default=0.0, metavar="SECONDS", help="Pause between packets.")
@click.option(
    "--pcap",
    "pcap",
    type=click.Path(dir_okay=False, writable=True),
    metavar="FILE",
    help="Also write what was sent to FILE (pcapng).",
)
@click.option("--demo", is_flag=True, help="A handful of packets that show what this lab does with them.")
@click.argument("expression", required=False)
@json_option
def inject_command(
    lab_name: str | None, source: str | None, destination: str | None, tcp: int | None, udp: int | None, icmp: bool,
    flags: str, payload: str, sport: int | None, count: int, interval: float, pcap: str | None, demo: bool,
    expression: str | None, as_json: bool,
) -> int:  # fmt: skip
    """Send packets from inside an instance and report what became of each.

    EXPRESSION is any scapy packet, for example "IP(dst='203.0.113.10')/UDP(dport=53)/b'x'".
    Packets of one flow share its answers. Exit code 1 when a packet was not delivered or its answer was lost (0 for
    --demo: it shows both), and when a node did not answer. Lines with "explain" are what `gwlbemu explain` says.
    """
    lab = open_lab(lab_name)
    need_root()
    chosen = [value for value in (tcp is not None, udp is not None, icmp, expression is not None, demo) if value]
    if len(chosen) != 1:
        raise click.UsageError(
            "say what to send: exactly one of --tcp PORT, --udp PORT, --icmp, --demo or a scapy expression"
        )
    body = payload.encode()
    if expression is not None:
        recipes: tuple[PacketSpec, ...] = (PacketSpec("expression", expression=expression),)
    elif demo:
        recipes = demo_packets(lab.plan, source=source, destination=destination)
    elif tcp is not None:
        recipes = (PacketSpec("tcp", tcp, flags=flags, payload=body),)
    elif udp is not None:
        recipes = (PacketSpec("udp", udp, payload=body),)
    else:
        recipes = (PacketSpec("icmp", payload=body),)
    ordered = prepare(lab.plan, recipes, source=source, destination=destination, source_port=sport or 0, count=count)
    began_ns = time.time_ns()
    reports = inject(lab, ordered.sender, ordered.receiver, ordered.packets, interval)
    if pcap:
        frames = [sent_frame(lab, ordered.sender, packet) for packet in ordered.packets]
        _write(Path(pcap), f"{ordered.sender.name}/eth0", began_ns, zip(frames, reports, strict=True))
    if as_json:
        print_json([_json(report) for report in reports])
    else:
        for report in reports:
            echo("\n".join(_lines(report)))
    silent = reports[0].silent
    name_silent(silent)
    return 0 if not silent and (demo or all(report.is_well for report in reports)) else 1


def _json(report: PacketReport) -> dict[str, object]:
    """The report's fields, with mismatches as objects, and what follows from them."""

    def plain(pairs: list[tuple[str, object]]) -> dict[str, object]:
        return {key: value._asdict() if isinstance(value, Mismatch) else value for key, value in pairs}

    derived = {"outcome": report.outcome, "why": report.why, "inspected": report.inspected}
    return dataclasses.asdict(report, dict_factory=plain) | derived


def _write(path: Path, tap: str, began_ns: int, sent: Iterable[tuple[bytes, PacketReport]]) -> None:
    """What was sent, each packet with what became of it as a comment; all of a run carry the time at which it began."""
    blocks = [section_header(), interface_description(tap)]
    blocks += [enhanced_packet(0, began_ns, frame, direction="out", comments=[report.why]) for frame, report in sent]
    try:
        path.write_bytes(b"".join(blocks))
    except OSError as error:
        raise WireError(f"{path}: cannot be written: {error.strerror}") from error


def _lines(report: PacketReport) -> Iterator[str]:
    """A packet's story: what was sent, each hop, how it ended, what came back, and what the path model adds."""
    yield from _wrapped(f"#{report.number}  {report.summary}", "", "    ")
    yield from _hops(report.hops)
    for each in report.connections:
        counted = f"{each.state}, {each.packets_to} to it, {each.packets_from} back"
        yield from _wrapped(f"{each.node} -> {each.where}  {counted}", f"    {each.listener:<12} ", " " * 17)
    if report.answer is not None and report.is_answer_lost:
        yield from _wrapped(f"answer: {report.answer.summary}", "    ", "      ")
        yield from _hops(report.answer.hops)
    yield from _wrapped(f"= {report.why}", "  ", "    ")
    if report.outcome == "delivered":
        for reply, count in Counter(report.replies).items():
            word = "reply" if count == 1 else f"{count} replies"
            yield from _wrapped(f"{word}: {reply}", "    ", "      ")
        met = report.answer.met if report.answer and not report.is_answer_lost else ()
        yield from _wrapped(f"by {', '.join(met)}", " " * 11, " " * 11) if met else ()
    yield from _explained(report)


def _explained(report: PacketReport) -> Iterator[str]:
    """What the path model adds to what was seen: where it departs from it, or why something was lost."""
    expected = report.expected
    if expected is None:
        return
    if not expected.agrees:
        yield from _wrapped(f"! explain expected otherwise: {expected.expected}", "    ", "      ")
    elif not report.is_said and (not report.is_well or report.inspected in ((True, False), (False, True))):
        for number, line in enumerate((*expected.ends, *expected.parting)):
            yield from _wrapped(line, "             " if number else "    explain: ", " " * 15)


def _hops(hops: Iterable[NodeVerdict]) -> Iterator[str]:
    """One line per verdict, each once: a packet that goes in circles meets the same ones again."""
    for (endpoint, text), count in Counter((hop.endpoint, _verdict(hop)) for hop in hops).items():
        times = f" ({count} times)" if count > 1 else ""
        yield from _wrapped(text + times, f"    {endpoint:<12} ", " " * 17)


def _verdict(hop: NodeVerdict) -> str:
    if hop.is_refusal:
        return f"{hop.node} refuses what {hop.target} returned"
    if hop.verdict == "to-target":
        return f"{hop.node} -> {hop.target}  cookie {hop.cookie}"
    if hop.verdict == "to-endpoint":
        return f"returned by {hop.target}" + (f" with {hop.wrong}" if hop.wrong else "")
    if hop.verdict == "reset":
        return f"{hop.node} answers with a TCP reset"
    return f"{hop.node} drops it: {hop.why}"


def _wrapped(text: str, first: str, others: str) -> list[str]:
    return textwrap.wrap(
        text, WIDTH, initial_indent=first, subsequent_indent=others, drop_whitespace=True, break_long_words=False,
        break_on_hyphens=False,
    )  # fmt: skip
