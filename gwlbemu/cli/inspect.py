"""inspect: a capture file, packet by packet or journey by journey; ours or anybody's."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import click

from gwlbemu.capture.dissect import Dissection
from gwlbemu.capture.flowfilter import FlowFilter, parse_flow
from gwlbemu.capture.translations import Translations
from gwlbemu.cli.common import echo, lab_option
from gwlbemu.cli.inspect_view import HEALTH_CHECK, OTHER_FLOW, CaptureFile, Progress, View, few_collections

if TYPE_CHECKING:
    from gwlbemu.lab.running import RunningLab


@click.command("inspect")
@click.argument("files", nargs=-1, metavar="[FILE]...", type=click.Path(path_type=Path))
@click.option(
    "--last", is_flag=True, help="The capture of the running lab instead of a FILE, without its health checks."
)
@lab_option
@click.option(
    "--flow", metavar="EXPRESSION", help="Only these packets: 'tcp 198.51.100.10-10.0.1.10:80', 'cookie=0x..'."
)
@click.option("--journeys", "by_journey", is_flag=True, help="Group by packet: every tap it crossed, and what changed.")
@click.option("--limit", type=click.IntRange(1), metavar="N", help="Only the last N packets (or journeys).")
@click.option(
    "-v", "--verbose", is_flag=True, help="Also TTL, DF, length, VLAN of the outer packet, and each checksum."
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object per packet and line.")
def inspect_command(
    files: tuple[Path, ...],
    last: bool,
    lab_name: str | None,
    flow: str | None,
    by_journey: bool,
    limit: int | None,
    verbose: bool,
    as_json: bool,
) -> int:
    """Show captured packets, one line each: outer, GENEVE options, inner, and what is wrong with them.

    Reads pcap and pcapng, from anywhere. A broken file is shown as far as it goes; then the exit code is 1, or 3 when
    nothing in it could be read. With --last it is 1 when the lab's capture is dead or frozen. What an application load
    balancer that is a target hands on of a network load balancer's health checks is shown: to it those are requests.

    --flow follows the flow under the addresses and ports that translators give it, as far as its packets show; of the
    connections that a proxy opens in its place --journeys has the requests of HTTP that X-Amzn-Trace-Id or
    X-Forwarded-For tells apart, and nothing else is known.
    """
    if last == bool(files):
        raise click.UsageError("say what to inspect: capture FILEs, or --last for the running lab's capture")
    if by_journey and (as_json or verbose):
        raise click.UsageError(f"--journeys is text for people: choose it or {'--json' if as_json else '--verbose'}")
    lab, paths = _capture_of_lab(lab_name) if last else (None, list(files))
    wanted = parse_flow(flow) if flow else None
    if lab and limit:
        paths = paths[-2:]  # the newest may have been begun a moment ago
    with ExitStack() as stack:
        stack.enter_context(few_collections())
        captures = [CaptureFile(path, stack) for path in paths]
        progress = stack.enter_context(Progress(captures, at_end=limit is not None))
        view = View(
            _refusal(wanted, lab), progress, limit=limit, as_json=as_json, verbose=verbose,
            translations=Translations() if wanted is not None and wanted.has_ends else None,
        )  # fmt: skip
        if by_journey:
            view.show_journeys(captures)
        else:
            view.show_packets(captures)
    view.close(captures)
    if lab:
        if not as_json:
            echo("each packet stands once per tap: in Wireshark, choose one with frame.interface_name")
            if wanted is not None and wanted.has_ends and (names := _proxied(lab)):
                echo(f"{names}: a proxy opens connections of its own: which belongs to whom is unknown from packets")
        return _tell_trouble(lab)
    if any(not capture.reader.ending.complete and not capture.total for capture in captures):
        return 3
    return 0 if all(capture.reader.ending.complete for capture in captures) else 1


def _capture_of_lab(name: str | None) -> tuple[RunningLab, list[Path]]:
    """Return a lab and its capture's files. Who reads a file of his own does not wait for these imports."""
    from gwlbemu.lab.running import open_lab
    from gwlbemu.views.capture import capture_files

    lab = open_lab(name)
    return lab, capture_files(lab)


def _proxied(lab: RunningLab) -> str:
    """The network load balancers of which a proxy carries connections."""
    from gwlbemu.lab.engines import needs_proxy

    return ", ".join(dict.fromkeys(n.load_balancer for n in lab.plan.network_nodes if needs_proxy(lab.plan, n)))


def _tell_trouble(lab: RunningLab) -> int:
    """Say when the lab's capture records nothing now; return the exit code."""
    from gwlbemu.views.capture import capture_trouble

    trouble = capture_trouble(lab)
    if trouble:
        echo(f"! {trouble}", err=True)
    return 1 if trouble else 0


def _refusal(flow: FlowFilter | None, lab: RunningLab | None) -> Callable[[Dissection], str]:
    """Return a function that says why a packet is not shown: of another flow than `flow`, or, without that, of a health
    check of `lab`; "" for one that is.
    """
    if flow is not None:
        return lambda dissection: "" if flow.matches(dissection) else OTHER_FLOW
    if lab is None:
        return lambda _: ""
    from gwlbemu.views.health_checks import health_checks

    checks = health_checks(lab.plan)

    def refuse(dissection: Dissection) -> str:
        layer = dissection.flow_layer
        is_check = layer is not None and checks.has(layer.ip, tunnelled=dissection.tunnel is not None)
        return HEALTH_CHECK if is_check else ""

    return refuse
