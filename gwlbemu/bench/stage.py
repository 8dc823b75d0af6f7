"""The labs of a run, one per path, all up side by side and idle until their turn; all gone at the end, also on ^C."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from gwlbemu.bench import machine, overlay, ovs
from gwlbemu.bench.loads import Ends
from gwlbemu.bench.scenes import kernel_only, way
from gwlbemu.command import command
from gwlbemu.errors import GwlbemuError, LabError, NetError
from gwlbemu.lab.running import RunningLab
from gwlbemu.lab.up import up
from gwlbemu.net.record import list_labs
from gwlbemu.net.remove import down
from gwlbemu.topology.plan.values import Plan
from gwlbemu.views.waiting import wait_until_healthy

HEALTHY_SECONDS = 20.0
LAB = "bench-{}"


@dataclass(frozen=True, slots=True)
class Way:
    """One way from the client to the server. `node` is None where no node process takes part."""

    name: str
    lab: RunningLab
    ends: Ends
    node: str | None = None

    @property
    def node_pid(self) -> int:
        """The process id of the node; NetError when it is dead."""
        for process in self.lab.processes():
            if process.name == self.node and process.state == "running":
                return process.pid
        raise NetError(f"{self.name}: no node process is running")

    def installed(self) -> int:
        """How many flows go on without another decision: entries in the kernel, or else flows of the core."""
        entries = self.fast_stats().get("entries")
        return self.known() if entries is None else entries

    def known(self) -> int:
        """How many flows the core knows."""
        assert self.node is not None
        return int(self.lab.call(self.node, "metrics")["metrics"]["ActiveFlowCount"])

    def fast_stats(self) -> dict[str, int]:
        """What a fast node says about its map; nothing from a Python node."""
        assert self.node is not None
        stats: dict[str, int] = self.lab.call(self.node, "status").get("fastpath", {})
        return stats


@dataclass(frozen=True, slots=True)
class Recipe:
    """How a path's lab comes about."""

    datapath: str = "python"
    offload: bool = False
    shortcuts: bool = True
    inspected: bool = True
    kernel: str = ""  # hops | vxlan | ovs: what stands in for the node process


RECIPES = {  # what we are compared with is the kernel's own: its bridges, its routers
    "plain": Recipe(offload=True, shortcuts=False, inspected=False),
    "hops": Recipe(offload=True, shortcuts=False, kernel="hops"),
    "vxlan": Recipe(offload=True, shortcuts=False, kernel="vxlan"),
    "ovs": Recipe(shortcuts=False, kernel="ovs"),
    "fast-long": Recipe("ebpf", shortcuts=False),
    "python": Recipe(),
    "fast": Recipe("ebpf"),
    "fast-super": Recipe("ebpf", offload=True),
    "crowd": Recipe("auto"),
}


class Stage:
    """Brings up paths by name, and remembers why one cannot be."""

    def __init__(self, reflector: str, say: Callable[[str], None]) -> None:
        self._reflector, self._say = reflector, say
        self.paths: dict[str, Way] = {}
        self.missing: dict[str, str] = {}
        self._labs: list[str] = []

    def open(self, name: str) -> Way | None:
        """The path, brought up at its first use; None when this machine has no such path (see `missing`)."""
        if name in self.paths or name in self.missing:
            return self.paths.get(name)
        lab = LAB.format(name)
        refuse_if_up(lab)
        self._say(f"lab {lab}")
        self._labs.append(lab)  # before it is made: whatever happens now, `close` takes it down
        try:
            self.paths[name] = self._build(name, RECIPES[name])
        except GwlbemuError as error:
            self.missing[name] = str(error)
            self._say(f"no {name}: {error}")
            down(lab)
        return self.paths.get(name)

    def _build(self, name: str, recipe: Recipe) -> Way:
        if recipe.kernel == "ovs":
            ovs.check()
        plan = way(
            LAB.format(name),
            datapath=recipe.datapath,
            offload=recipe.offload,
            shortcuts=recipe.shortcuts,
            inspected=recipe.inspected,
            reflector=self._reflector,
        )
        lab = up(kernel_only(plan, programs=recipe.kernel == "ovs") if recipe.kernel else plan)
        node = plan.gateway_nodes[0]
        if recipe.kernel == "ovs":
            ovs.bridge(plan, lab.state.folder)
        elif recipe.kernel:
            overlay.route(plan, node.namespace, vxlan=recipe.kernel == "vxlan")
        troubles = wait_until_healthy(lab, HEALTHY_SECONDS)
        if troubles:
            raise NetError("; ".join(troubles))
        if not recipe.kernel:
            self._pin(lab, node.name)
            running = lab.call(node.name, "status")["datapath"]
            if recipe.datapath == "ebpf" and running != "ebpf":
                raise NetError(f"the node runs on {running}")
        return Way(name, lab, ends_of(plan), None if recipe.kernel else node.name)

    @staticmethod
    def _pin(lab: RunningLab, node: str) -> None:
        _, core = machine.cores()
        for process in lab.processes():
            if process.name == node:
                with suppress(ProcessLookupError):
                    os.sched_setaffinity(process.pid, {core})

    def close(self) -> None:
        """Take every lab down, whatever state it is in."""
        while self._labs:
            down(self._labs[-1])
            self._labs.pop()
        self.paths.clear()


def refuse_if_up(lab: str) -> None:
    """LabError when a lab of this name is somebody else's."""
    if lab in list_labs():
        raise LabError(
            f"a lab {lab} is up already: another run, or one that was killed ({command('down', '--lab', lab)})"
        )


def ends_of(plan: Plan) -> Ends:
    """Where loads begin and end in a lab of `scenes.way`."""
    by_name = {each.name: each.namespace for each in plan.instances}
    client = next(each for each in plan.namespaces if each.name == by_name["client"])
    router = next(each.mac for each in client.neighbours if each.address == "10.0.1.1")
    return Ends(by_name["client"], by_name["server"], router)


@contextmanager
def stage(reflector: Path | None, say: Callable[[str], None]) -> Iterator[Stage]:
    """A stage whose labs are all gone at the end of the block."""
    opened = Stage(str(reflector) if reflector else "", say)
    try:
        yield opened
    finally:
        opened.close()
