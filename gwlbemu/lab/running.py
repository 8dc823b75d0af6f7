"""A handle on a lab that is up: its plan, its processes, and ways to ask and tell them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gwlbemu.command import command
from gwlbemu.errors import LabError
from gwlbemu.lab.control import TIMEOUT, call
from gwlbemu.lab.engines import needs_proxy, proxy_name
from gwlbemu.lab.state import State, is_damaged
from gwlbemu.net import processes
from gwlbemu.net.inits import living
from gwlbemu.net.record import ROOT, list_labs
from gwlbemu.net.record import read as read_record
from gwlbemu.topology import names
from gwlbemu.topology.plan.encode import PlanVersionError, from_json
from gwlbemu.topology.plan.values import Plan

CAPTURE = names.CAPTURE  # the name of the capture's process


@dataclass(frozen=True, slots=True)
class Process:
    """One process of a lab as it is now. `log` is the path of what it prints.

    `state`: running, frozen, dead, or ended: of a program that is no more while others that it started go on in its
    instance, as of a script that sets an appliance up.
    """

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

    def call(self, name: str, verb: str, *, within_seconds: float = TIMEOUT, **arguments: Any) -> dict[str, Any]:
        """Ask one process (a node, an appliance or `capture`) over its control socket and return its answer.

        Raises LabError when it is frozen or dead or does not answer in time, SettingError when it refuses.
        """
        self.need(name)
        try:
            return call(self.state.control(name), verb, within_seconds=within_seconds, **arguments)
        except LabError:
            self.need(name)
            raise

    def need(self, *names: str) -> None:
        """Raise LabError when one of the processes is dead or frozen: a frozen one would act when it wakes."""
        for process in self.processes():
            if process.name in names and process.state != "running":
                raise LabError(f"{process.name} is {process.state}; its log is {process.log}")

    def _without_proxy(self) -> set[str]:
        """What the proxies of nodes that need none would be called."""
        return {proxy_name(node.name) for node in self.plan.network_nodes if not needs_proxy(self.plan, node)}

    def processes(self) -> list[Process]:
        """Return every process of the lab, dead ones too; of one that was started again, the newest."""
        contents = read_record(self.plan.lab, root=self.state.root)
        newest = {entry.name: entry for entry in contents.processes}
        found = []
        for entry in newest.values():
            state = processes.state(entry.id)
            if state == "dead" and (init := living(contents, entry.namespace)) and processes.has_children(init.id):
                state = "ended"
            if state == "dead" and entry.name in self._without_proxy():
                continue  # it was ended when nothing needed it any more
            found.append(Process(entry.name, entry.namespace, entry.pid, state, str(self.state.log(entry.name))))
        return found


def open_lab(name: str | None = None, *, root: Path = ROOT) -> RunningLab:
    """Return the lab called `name`, or without a name the only one that is up.

    Raises LabError when there is none, when several are up and none is named, and for a damaged state folder.
    """
    labs = list_labs(root=root)
    if name is None:
        if len(labs) != 1:
            up_now = (
                f"several labs are up ({', '.join(labs)}): choose one with --lab"
                if labs
                else f"no lab is up ({command('up', 'FILE')})"
            )
            raise LabError(up_now)
        name = labs[0]
    elif name not in labs:
        raise LabError(f"no lab {name} is up" + (f" (up: {', '.join(labs)})" if labs else ""))
    state = State(name, root)
    return RunningLab(read_plan(state), state)


def read_plan(state: State, path: Path | None = None) -> Plan:
    """Return the plan of a running lab as it is now, or the one in the file `path` of its folder.

    Raises LabError when there is none (half built), when another version of gwlbemu wrote it, and when it is damaged.
    """
    take_it_down = command("down", "--lab", state.lab)
    try:
        text = (path or state.plan).read_text(encoding="utf-8")
        if is_damaged(text):
            raise state.damaged(path or state.plan)
        return from_json(text)
    except FileNotFoundError:
        raise LabError(f"lab {state.lab} is half built: take it down first ({take_it_down})") from None
    except PlanVersionError:
        raise LabError(
            f"lab {state.lab} was brought up by another version of gwlbemu: this one can only take it down"
            f" ({take_it_down})"
        ) from None
    except ValueError:
        raise state.damaged(path or state.plan) from None
