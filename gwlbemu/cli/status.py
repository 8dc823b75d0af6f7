"""status: processes, datapath, packets in and out, drops, and what is broken."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

import click

from gwlbemu.cli.common import json_option, lab_option, print_json, table
from gwlbemu.errors import LabError
from gwlbemu.lab.failure import failures
from gwlbemu.lab.running import CAPTURE, Process, RunningLab, open_lab
from gwlbemu.lab.shortcuts import installed
from gwlbemu.topology.plan.shortcuts import shortcuts

_PORT_KEYS = ("frames_in", "verdicts", "socket_drops", "frames_out", "unsent")


@click.command("status")
@lab_option
@json_option
def status_command(lab_name: str | None, as_json: bool) -> int:
    """Processes, datapath, packets in and out, drops and what is broken. Exit code 1 when something is."""
    status = lab_status(open_lab(lab_name))
    if as_json:
        print_json(status)
    else:
        click.echo("\n".join(status_lines(status)))
    well = all(process["state"] == "running" for process in status["processes"])
    return 0 if well and not status["failures"] and not status["never_started"] else 1


def lab_status(lab: RunningLab) -> dict[str, Any]:
    """Everything that `status` shows; a process that does not answer has an "error" instead of its own words."""
    processes = lab.processes()
    expected = {node.name for node in lab.plan.gateway_nodes} | {program.instance for program in lab.plan.programs}
    return {
        "lab": lab.plan.lab,
        "source": lab.plan.source,
        "processes": [asdict(process) for process in processes],
        "never_started": sorted(expected - {process.name for process in processes}),
        "nodes": {node.name: _ask(lab, processes, node.name) for node in lab.plan.gateway_nodes},
        "shortcuts": shortcuts_of(lab),
        "capture": _ask(lab, processes, CAPTURE) if lab.plan.capture.enabled else None,
        "failures": [{"kind": kind, "name": name} for kind, name in failures(lab)],
    }


def shortcuts_of(lab: RunningLab) -> dict[str, Any]:
    """In how many of the lab's fabrics and routers a shortcut stands, and why not in all."""
    now = installed(lab.state)
    return {"standing": len(now.namespaces), "of": len(shortcuts(lab.plan)), "reason": now.reason}


def _ask(lab: RunningLab, processes: list[Process], name: str) -> dict[str, Any]:
    """One process's answer, or what is wrong with it: a dead node must not hide the others, nor a frozen one wait."""
    for process in processes:
        if process.name == name and process.state != "running":
            return {"error": _ailing(asdict(process))}
    try:
        return lab.call(name, "status")
    except LabError as error:
        return {"error": str(error)}


def _ailing(process: dict[str, Any]) -> str:
    return f"{process['name']} is {process['state']}; its log is {process['log']}"


def status_lines(status: dict[str, Any]) -> Iterator[str]:
    """The text of `lab_status`; what needs somebody's eye begins with "!"."""
    yield f"{status['lab']}   ({status['source']})\n"
    keys = ["name", "state", "pid", "namespace", "log"]
    yield table([[str(process[key]) for key in keys] for process in status["processes"]], [key.upper() for key in keys])
    answers = {name: answer for name, answer in status["nodes"].items() if "error" not in answer}
    rows = [
        [name, answer["datapath"], port["name"], *(str(port[key]) for key in _PORT_KEYS)]
        for name, answer in answers.items()
        for port in answer["ports"]
    ]
    yield "\n" + table(rows, ["NODE", "DATAPATH", "PORT", *(key.replace("_", " ").upper() for key in _PORT_KEYS)])
    for name, answer in answers.items():
        if answer.get("datapath_reason"):
            yield f"{name}: no fast path: {answer['datapath_reason']}"
    cut = status["shortcuts"]
    pulled = any(failure["kind"] in ("instance", "link", "zone") for failure in status["failures"])
    why = cut["reason"] or ("not where a cable is pulled" if pulled else "")
    yield f"shortcuts: {cut['standing']} of {cut['of']} fabrics and routers" + (f", {why}" if why else "")
    capture = status["capture"]
    if capture is not None and "error" not in capture:
        yield "\ncapture: " + ", ".join(
            f"{k.replace('_', ' ')} {v}" for k, v in capture.items() if isinstance(v, int | str)
        )
        if capture["dropped"]:
            taps = ", ".join(f"{tap['name']} {tap['dropped']}" for tap in capture["taps"] if tap["dropped"])
            yield f"! capture lost {capture['dropped']} packets: {taps}; the traffic itself was not affected"
    errors = [answer["error"] for answer in [*status["nodes"].values(), capture or {}] if "error" in answer]
    ailing = [_ailing(process) for process in status["processes"] if process["state"] != "running"]
    yield from (f"! {error}" for error in dict.fromkeys([*ailing, *errors]))
    if status["never_started"]:
        yield f"! half built, {', '.join(status['never_started'])} never started: gwlbemu down --lab {status['lab']}"
    for failure in status["failures"]:
        words = f"{failure['kind']} {failure['name']}"
        yield f"! {words} is broken on purpose (gwlbemu heal {words})"
