"""drill: break things under live connections and see whether each fares as the contract says."""

from __future__ import annotations

import sys

import click

from gwlbemu.cli.common import complete_topology, echo, json_option, lab_option, load_plan, need_root, print_json, table
from gwlbemu.errors import LabError
from gwlbemu.topology.plan.values import Plan
from gwlbemu.trials.drill.outcome import APPLICATION_EVENTS, NETWORK_EVENTS, NETWORK_POLICIES, OUTCOMES, POLICIES
from gwlbemu.trials.drill.report import FlowReport, RequestPhase, RunReport, as_json

_EVENTS = tuple(dict.fromkeys((*NETWORK_EVENTS, *APPLICATION_EVENTS)))


@click.command("drill")
@click.argument("file", metavar="[FILE]", required=False, shell_complete=complete_topology)
@lab_option
@click.option(
    "--event", "events", type=click.Choice(_EVENTS), multiple=True, help="What happens (default: all of them)."
)
@click.option(
    "--policy",
    "policies",
    type=click.Choice((*POLICIES, *NETWORK_POLICIES)),
    multiple=True,
    help="Under which policy (default: all).",
)
@click.option(
    "--flows", type=click.IntRange(2, 200), default=12, show_default=True, metavar="N", help="How many connections."
)
@click.option("--from", "source", metavar="INSTANCE", help="Who opens the connections.")
@click.option(
    "--to",
    "destinations",
    multiple=True,
    metavar="INSTANCE|ADDRESS|LOADBALANCER",
    help="The web servers (may be repeated), or a load balancer.",
)
@click.option(
    "--port",
    type=click.IntRange(1, 65535),
    help="Of the web servers (default: 80), or of the listener (default: the first).",
)
@json_option
def drill_command(
    file: str | None, lab_name: str | None, events: tuple[str, ...], policies: tuple[str, ...], flows: int,
    source: str | None, destinations: tuple[str, ...], port: int | None, as_json: bool,
) -> int:  # fmt: skip
    """Fail a target or a zone under live TCP connections and report what became of each.

    With FILE in a lab of its own, which is gone afterwards; without in the running lab, which is put back as it was
    (its nodes' clocks move on). kill: a target's instance is terminated; deregister: it is taken out of its group;
    zone: a whole zone is lost; freeze: the target hangs. Policies: target failover no_rebalance or rebalance, or
    no_rebalance with every send_tcp_reset attribute.

    A network or application load balancer is drilled where one is named, where there is no gateway load balancer, or
    where no web server answers but behind one. Network: policies terminate and keep, whether connections of a lost
    target end; tables: a node's rules are flushed. Application: 200 requests a second; engine: a node's HAProxy is
    killed; no policies.

    Exit code 1 when something did not come out as the contract says.
    """
    from gwlbemu.trials.drill.series import Options, drill_file, drill_running

    need_root()
    options = Options(events, policies, flows, source, destinations, port)
    tell = (lambda text: echo(text, err=True)) if sys.stderr.isatty() else (lambda text: None)
    if file is not None:
        if lab_name is not None:
            raise click.UsageError("give a FILE or a --lab, not both")
        runs = drill_file(_plan(file), options, tell)
    else:
        runs = drill_running(lab_name, options, tell)
    if all(run.impossible for run in runs):
        raise LabError("; ".join(dict.fromkeys(run.impossible for run in runs)))
    if as_json:
        print_json(_json(runs))
    else:
        echo(_text(runs))
    return 0 if all(run.ok for run in runs) else 1


def _plan(file: str) -> Plan:
    """The plan under a name that is free: the file's own may be up."""
    from gwlbemu.net.record import list_labs

    name = load_plan(file, None).lab
    taken = set(list_labs())
    free = next(each for each in (f"{name}-drill{n or ''}" for n in range(len(taken) + 1)) if each not in taken)
    return load_plan(file, free)


def _json(runs: list[RunReport]) -> list[dict[str, object]]:
    return [as_json(run) for run in runs]


def _text(runs: list[RunReport]) -> str:
    parts = [_run_text(run) for run in runs]
    if any(run.requests for run in runs):
        rows = [_request_row(run) for run in runs]
        parts.append(table(rows, ["event", "requests", "failed", "as the contract says"]))
    else:
        rows = [_summary_row(run) for run in runs]
        parts.append(table(rows, ["event", "policy", *OUTCOMES, "longest silence", "as the contract says"]))
    if any(flow.seconds_skipped for run in runs for flow in run.flows):
        parts.append(
            "Seconds are those of the load balancer's clock: while it only waited for its next probe, it was moved on."
        )
    return "\n\n".join(parts)


def _run_text(run: RunReport) -> str:
    title = ", ".join(filter(None, (run.event, run.policy)))
    if run.impossible:
        return f"{title}: not possible here: {run.impossible}"
    effect = (
        "nobody noticed"
        if run.took_effect_after_seconds is None
        else f"took effect after {run.took_effect_after_seconds:.1f} s"
    )
    rows = [
        [
            f"{flow.client_port} -> {flow.server}",
            _route(flow.before),
            _route(flow.after),
            flow.outcome,
            _seconds(flow),
            "; ".join(filter(None, ("" if flow.as_expected else f"expected {flow.expected}", flow.note))),
        ]
        for flow in run.flows
    ]
    lines = [f"{title}: {', '.join(run.struck)}; {effect}"]
    text = table(rows, ["flow", "before", "after", "fate", "seconds without a packet", ""])
    if run.requests:
        text = _phases_text(run.requests)
    lines += [f"  {line}" for line in text.splitlines()]
    lines += [f"  {'ok ' if check.ok else 'NOT'} {check.contract:<5}  {check.text}" for check in run.checks]
    lines += [f"  note: {note}" for note in run.notes]
    return "\n".join(lines)


def _phases_text(phases: tuple[RequestPhase, ...]) -> str:
    answers = sorted({status for phase in phases for status in phase.answers})
    errors = sorted({error for phase in phases for error in phase.no_answer})
    rows = [
        [
            phase.name,
            str(phase.requests),
            *(str(phase.answers.get(status, 0)) for status in answers),
            *(str(phase.no_answer.get(error, 0)) for error in errors),
            str(phase.again),
            f"{phase.longest_seconds:.2f} s",
        ]
        for phase in phases
    ]
    return table(rows, ["requests that began", "all", *answers, *errors, "sent again", "slowest"])


def _request_row(run: RunReport) -> list[str]:
    if run.impossible:
        return [run.event, "-", "-", "not possible here"]
    requests, failed = (sum(getattr(phase, key) for phase in run.requests) for key in ("requests", "failed"))
    return [run.event, str(requests), str(failed), "yes" if run.ok else "NO"]


def _route(targets: tuple[str, ...]) -> str:
    return " ".join(targets) or "-"


def _seconds(flow: FlowReport | None) -> str:
    if flow is None:
        return "-"
    skipped = f" ({flow.seconds_skipped:g} skipped)" if flow.seconds_skipped else ""
    return f"{flow.seconds_silent:.1f}{'+' if flow.still_silent else ''}{skipped}"


def _summary_row(run: RunReport) -> list[str]:
    if run.impossible:
        return [run.event, run.policy, *("-" for _ in OUTCOMES), "-", "not possible here"]
    counts = [str(run.counts[outcome]) for outcome in OUTCOMES]
    return [run.event, run.policy, *counts, _seconds(run.longest_outage), "yes" if run.ok else "NO"]
