"""A lab: a plan made real (`up`), and a handle on one that is (`RunningLab`).

This file composes: `net` builds and removes, the processes that it starts do the rest.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gwlbemu.errors import LabError, NetError
from gwlbemu.lab import shortcuts
from gwlbemu.lab.configs import node_config_for
from gwlbemu.lab.control import call
from gwlbemu.lab.state import State
from gwlbemu.net import processes
from gwlbemu.net.namespaces import path_of
from gwlbemu.net.record import ROOT, Record, list_labs, open_new
from gwlbemu.net.record import read as read_record
from gwlbemu.net.remove import take_down
from gwlbemu.net.spawn import spawn
from gwlbemu.topology.plan.encode import from_json, to_json
from gwlbemu.topology.plan.values import Plan, Program

CAPTURE = "capture"

OnStep = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Process:
    """One process of a lab as it is now. `state`: running, frozen or dead; `log`: the path of what it prints."""

    name: str
    namespace: str
    pid: int
    state: str
    log: str


@dataclass(frozen=True, slots=True)
class RunningLab:
    """A lab that is up: its plan, and ways to ask and tell its processes."""

    plan: Plan
    state: State

    def call(self, name: str, verb: str, **arguments: Any) -> dict[str, Any]:
        """Ask one process (a node, an appliance or `capture`) over its control socket.

        Raises LabError when it does not answer, SettingError when it refuses.
        """
        self.need(name)
        try:
            return call(self.state.control(name), verb, **arguments)
        except LabError:
            self.need(name)
            raise

    def need(self, *names: str) -> None:
        """LabError when one of the processes is dead or frozen: a frozen one would do what it is told when it wakes."""
        for process in self.processes():
            if process.name in names and process.state != "running":
                raise LabError(f"{process.name} is {process.state}; its log is {process.log}")

    def processes(self) -> list[Process]:
        """Every process that was started for the lab, dead ones too; of one that was started again, the newest."""
        newest = {entry.name: entry for entry in read_record(self.plan.lab, root=self.state.root).processes}
        return [
            Process(entry.name, entry.namespace, entry.pid, processes.state(entry.id), str(self.state.log(entry.name)))
            for entry in newest.values()
        ]


def up(plan: Plan, *, root: Path = ROOT, on_step: OnStep = lambda _: None) -> RunningLab:
    """Build the plan's namespaces and start its processes; on any failure nothing of it is left.

    Returns as soon as every process is started; `wait_until_healthy` waits for the targets.
    """
    from gwlbemu.net.build import build  # pyroute2: 0.15 s that only a command which builds shall pay

    state = State(plan.lab, root)
    _compile_programs(plan, on_step)
    with open_new(plan.lab, root=root) as record:
        try:
            state.make_folders()
            state.plan.write_text(to_json(plan))
            _keep_source(plan, state)
            build(plan, record, on_step=on_step)
            on_step("take shortcuts")
            shortcuts.take(plan, state)
            _start_processes(plan, state, record, on_step)
        except BaseException:
            take_down(record, grace=0.2)
            raise
    return RunningLab(plan, state)


def _compile_programs(plan: Plan, on_step: OnStep) -> None:
    """Compile the eBPF programs once, not in every node at the same time. NetError when the nodes' has to be there.

    Where they cannot be compiled, a node with `datapath: auto` goes without and its status says why; so do shortcuts.
    """
    from gwlbemu.fastpath.build import NODE, VPC, cache_folder, missing

    on_step("compile the eBPF programs")
    if plan.shortcuts:
        missing(cache_folder(), VPC)
    if plan.nodes and plan.datapath != "python":
        reason = missing(cache_folder(), NODE)
        if reason is not None and plan.datapath == "ebpf":
            raise NetError(f"datapath ebpf is not possible here: {reason} (datapath auto would use Python)")


def _keep_source(plan: Plan, state: State) -> None:
    """Keep the text of the topology file, for those who name its lines later; a plan may come without a file."""
    with suppress(OSError):
        state.topology.write_bytes(Path(plan.source).read_bytes())


def _start_processes(plan: Plan, state: State, record: Record, on_step: OnStep) -> None:
    """The capture first, so that it sees everything; appliances before the nodes that probe them."""
    if plan.capture.enabled:
        from gwlbemu.lab.configs import capture_config_for

        config = state.node(CAPTURE)
        config.write_text(capture_config_for(plan, state))
        _start(
            record,
            state,
            CAPTURE,
            plan.namespaces[0].name,
            [sys.executable, "-m", "gwlbemu.programs.recorder.recorder", str(config)],
            on_step,
        )
    for program in plan.programs:
        start_program(program, state, record, on_step)
    for node in plan.nodes:
        config = state.node(node.name)
        config.write_text(node_config_for(plan, node.name, state).to_json())
        _start(
            record,
            state,
            node.name,
            node.namespace,
            [sys.executable, "-m", "gwlbemu.programs.gateway.node", str(config)],
            on_step,
        )


def start_program(program: Program, state: State, record: Record, on_step: OnStep = lambda _: None) -> None:
    """Start the program of an instance; what is left of an earlier one in the state folder makes way."""
    state.control(program.instance).unlink(missing_ok=True)
    _start(record, state, program.instance, program.namespace, _command(program, state), on_step)


def _start(record: Record, state: State, name: str, namespace: str, argv: list[str], on_step: OnStep) -> None:
    on_step(f"start {name}")
    spawn(record, name, argv, namespace=path_of(namespace), log=state.log(name))


def _command(program: Program, state: State) -> list[str]:
    """Fill in what only the machine knows: the interpreter and the paths of the lab."""
    name = program.instance
    config = state.program(name)
    if program.config:
        config.write_text(program.config)
    known = {
        "{python}": sys.executable,
        "{config}": str(config),
        "{log}": str(state.decisions(name)),
        "{control}": str(state.control(name)),
    }
    return [known.get(word, word) for word in program.argv]


def open_lab(name: str | None = None, *, root: Path = ROOT) -> RunningLab:
    """The lab called `name`, or the only one that is up; LabError when there is none, or when `name` is needed."""
    labs = list_labs(root=root)
    if name is None:
        if len(labs) != 1:
            up_now = (
                f"several labs are up ({', '.join(labs)}): choose one with --lab"
                if labs
                else "no lab is up (gwlbemu up FILE)"
            )
            raise LabError(up_now)
        name = labs[0]
    elif name not in labs:
        raise LabError(f"no lab {name} is up" + (f" (up: {', '.join(labs)})" if labs else ""))
    state = State(name, root)
    try:
        return RunningLab(from_json(state.plan.read_text()), state)
    except FileNotFoundError:
        raise LabError(f"lab {name} is half built: take it down first (gwlbemu down --lab {name})") from None
    except ValueError:
        raise state.damaged(state.plan) from None


def ask_nodes(lab: RunningLab, verb: str, **arguments: Any) -> tuple[dict[str, dict[str, Any]], dict[str, str]]:
    """Ask every node: its answer by name, and by name a sentence why there is none; a frozen one is not waited for."""
    processes = {process.name: process for process in lab.processes()}
    answers: dict[str, dict[str, Any]] = {}
    silent: dict[str, str] = {}
    for node in lab.plan.nodes:
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


def wait_until_healthy(lab: RunningLab, timeout: float) -> list[str]:
    """Wait until every registered target is healthy at every node; returns what is still not, one sentence each.

    Does not wait for a process that has died.
    """
    give_up_at = time.monotonic() + timeout
    while True:
        # Looked for first: whoever dies after this is among the troubles of the next round.
        dead = any(process.state == "dead" for process in lab.processes())
        troubles = _troubles(lab)
        if not troubles or dead or time.monotonic() > give_up_at:
            return troubles
        time.sleep(0.05)


def _last_words(process: Process) -> str:
    """What a dead process said last."""
    if process.state != "dead":
        return ""
    with suppress(OSError):
        lines = Path(process.log).read_text(errors="replace").split("\n")
        return next((f": {line.strip()}" for line in reversed(lines) if line.strip()), "")
    return ""


def _troubles(lab: RunningLab) -> list[str]:
    ailing = [process for process in lab.processes() if process.state != "running"]
    found = [f"{process.name} is {process.state}{_last_words(process)}; see {process.log}" for process in ailing]
    answers, silent = ask_nodes(lab, "targets")
    found += [why for name, why in silent.items() if name not in {process.name for process in ailing}]
    for name, answer in answers.items():
        for target in answer["targets"]:
            if target["state"] not in ("healthy", "unused"):
                reason = target.get("description") or target.get("reason") or ""
                found.append(f"{target['id']} is {target['state']} for {name}: {reason}")
    return found
