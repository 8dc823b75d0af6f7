"""What a live view needs of a whole lab at one moment, as one dict; a process that cannot answer is not waited for."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from gwlbemu.errors import GwlbemuError
from gwlbemu.lab.control import call
from gwlbemu.lab.failure import failures
from gwlbemu.lab.running import CAPTURE, Process, RunningLab

PATIENCE = 1.0  # seconds for an answer; a process may have been frozen or killed a moment ago
FLOWS = 200  # the newest of each node: a live view must not make a busy node list all it has


def snapshot(lab: RunningLab, *, now: float) -> dict[str, Any]:
    """Take stock of the lab. `now` is the moment, in seconds of any clock, from which rates are made.

    Keys: lab, at, processes (name, state, log), failures (kind, name), capture (its status or an "error", None when it
    is off), nodes: name, load_balancer, target_group, zone, and an "error" or ports, targets, metrics, flows.
    """
    processes = {process.name: process for process in lab.processes()}
    groups = {balancer.name: balancer.target_group for balancer in lab.plan.load_balancers}
    nodes = [
        {
            "name": node.name,
            "load_balancer": node.load_balancer,
            "target_group": groups[node.load_balancer],
            "zone": node.zone,
            **ask(lab, processes.get(node.name), "status", "metrics", "flows"),
        }
        for node in lab.plan.gateway_nodes
    ]
    capture = ask(lab, processes.get(CAPTURE), "status") if lab.plan.capture.enabled else None
    return {
        "lab": lab.plan.lab,
        "at": now,
        "processes": [asdict(process) for process in processes.values()],
        "failures": [list(failure) for failure in failures(lab)],
        "capture": capture,
        "nodes": nodes,
    }


def ask(lab: RunningLab, process: Process | None, *verbs: str) -> dict[str, Any]:
    """The answers of a process to all the verbs in one dict, or an "error" when it is not able to give them now."""
    if process is None or process.state != "running":
        return {"error": "not started" if process is None else process.state}
    found: dict[str, Any] = {}
    try:
        for verb in verbs:
            arguments = {"limit": FLOWS, "newest": True} if verb == "flows" else {}
            found |= call(lab.state.control(process.name), verb, within_seconds=PATIENCE, **arguments)
    except GwlbemuError as error:
        return {"error": str(error)}
    return found
