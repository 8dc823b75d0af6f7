"""Asking every process of a lab, without waiting for one that is dead or frozen."""

from __future__ import annotations

from typing import Any

from gwlbemu.errors import LabError
from gwlbemu.lab.running import RunningLab


def ask_nodes(lab: RunningLab, verb: str, **arguments: Any) -> tuple[dict[str, dict[str, Any]], dict[str, str]]:
    """Ask every node: its answer by name, and by name a sentence why there is none; a frozen one is not waited for."""
    processes = {process.name: process for process in lab.processes()}
    answers: dict[str, dict[str, Any]] = {}
    silent: dict[str, str] = {}
    for node in lab.plan.gateway_nodes:
        process = processes.get(node.name)
        if process is not None and process.state != "running":
            silent[node.name] = f"{node.name} is {process.state}; its log is {process.log}"
            continue
        try:
            answers[node.name] = lab.call(node.name, verb, **arguments)
        except LabError as error:
            silent[node.name] = f"{node.name} does not answer: {error}"
    return answers, silent


def target_states(lab: RunningLab) -> dict[str, list[dict[str, Any]]]:
    """What each node that answers says about its targets, one dict per target (see `Balancer.target_health`)."""
    return {name: answer["targets"] for name, answer in ask_nodes(lab, "targets")[0].items()}
