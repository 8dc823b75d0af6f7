"""The labs of a run, one per path, all up side by side and idle until their turn; all gone at the end, also on ^C."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from gwlbemu.bench import application, machine, network, overlay, ovs
from gwlbemu.bench.loads import Ends
from gwlbemu.bench.plans import kernel_only, path_plan
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
class MeasuredPath:
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
        """Return how many flows go on without another decision: entries in the kernel, or else flows of the core."""
        entries = self.fast_stats().get("entries")
        return self.known() if entries is None else entries

    def known(self) -> int:
        """Return how many flows the core knows."""
        assert self.node is not None
        return int(self.lab.call(self.node, "metrics")["metrics"]["ActiveFlowCount"])

    def fast_stats(self) -> dict[str, int]:
        """Return what a fast node says about its map; nothing from a Python node."""
        assert self.node is not None
        stats: dict[str, int] = self.lab.call(self.node, "status").get("fastpath", {})
        return stats


@dataclass(frozen=True, slots=True)
class PathSetup:
    """How a path's lab comes about."""

    datapath: str = "python"
    offload: bool = False
    shortcuts: bool = True
    inspected: bool = True
    kernel: str = ""  # hops | vxlan | ovs: what stands in for the node process
    network: bool = False  # a network load balancer's lab


PATHS = {  # what we are compared with is the kernel's own: its bridges, its routers
    "plain": PathSetup(offload=True, shortcuts=False, inspected=False),
    "hops": PathSetup(offload=True, shortcuts=False, kernel="hops"),
    "vxlan": PathSetup(offload=True, shortcuts=False, kernel="vxlan"),
    "ovs": PathSetup(shortcuts=False, kernel="ovs"),
    "fast-long": PathSetup("ebpf", shortcuts=False),
    "python": PathSetup(),
    "fast": PathSetup("ebpf"),
    "fast-super": PathSetup("ebpf", offload=True),
    "crowd": PathSetup("auto"),
    "network": PathSetup(network=True),
    "network-long": PathSetup(network=True, shortcuts=False),
    "network-hops": PathSetup(network=True, shortcuts=False, kernel="hops"),
}


class PathLabs:
    """Brings up paths by name, and remembers in `missing` why one cannot be."""

    def __init__(self, reflector: str, say: Callable[[str], None]) -> None:
        self._reflector, self._say = reflector, say
        self.paths: dict[str, MeasuredPath] = {}
        self.missing: dict[str, str] = {}
        self._labs: list[str] = []

    def open(self, name: str) -> MeasuredPath | None:
        """Return the path, brought up at its first use; None when this machine has no such path (see `missing`)."""
        if name in self.paths or name in self.missing:
            return self.paths.get(name)
        lab = LAB.format(name)
        refuse_if_up(lab)
        self._say(f"lab {lab}")
        self._labs.append(lab)  # before it is made: whatever happens now, `close` takes it down
        try:
            self.paths[name] = self._build(name, PATHS[name])
        except GwlbemuError as error:
            self.missing[name] = str(error)
            self._say(f"no {name}: {error}")
            down(lab)
        return self.paths.get(name)

    def _build(self, name: str, setup: PathSetup) -> MeasuredPath:
        if setup.network:
            return self._build_network(name, setup)
        if setup.kernel == "ovs":
            ovs.check()
        plan = path_plan(
            LAB.format(name),
            datapath=setup.datapath,
            offload=setup.offload,
            shortcuts=setup.shortcuts,
            inspected=setup.inspected,
            reflector=self._reflector,
        )
        lab = up(kernel_only(plan, programs=setup.kernel == "ovs") if setup.kernel else plan)
        node = plan.gateway_nodes[0]
        if setup.kernel == "ovs":
            ovs.bridge(plan, lab.state.folder)
        elif setup.kernel:
            overlay.route(plan, node.namespace, vxlan=setup.kernel == "vxlan")
        troubles = wait_until_healthy(lab, HEALTHY_SECONDS)
        if troubles:
            raise NetError("; ".join(troubles))
        if not setup.kernel:
            self._pin(lab, node.name)
            running = lab.call(node.name, "status")["datapath"]
            if setup.datapath == "ebpf" and running != "ebpf":
                raise NetError(f"the node runs on {running}")
        return MeasuredPath(name, lab, ends_of(plan), None if setup.kernel else node.name)

    def _build_network(self, name: str, setup: PathSetup) -> MeasuredPath:
        plan = network.network_plan(LAB.format(name), shortcuts=setup.shortcuts)
        lab = up(network.hops_plan(plan) if setup.kernel else plan)
        if setup.kernel:
            network.route_hops(plan)
        if troubles := wait_until_healthy(lab, HEALTHY_SECONDS):
            raise NetError("; ".join(troubles))
        return MeasuredPath(name, lab, network.network_ends(plan, routed=bool(setup.kernel)))

    def open_front(self, name: str, stack: ExitStack, folder: Path) -> application.Front:
        """Bring up a lab with an application load balancer (`application-plain`: with ten lines of HAProxy in its
        place), whose server answers until `stack` is closed. Raises what `up` raises, NetError when it is not well.
        """
        lab_name, ten_lines = LAB.format(name), name == "application-plain"
        refuse_if_up(lab_name)
        self._say(f"lab {lab_name}")
        self._labs.append(lab_name)
        plan = application.application_plan(lab_name)
        lab = up(application.without_load_balancer(plan) if ten_lines else plan)
        application.begin(stack, lab, plan, folder, ten_lines=ten_lines)
        front = application.front_of(name, lab, plan)
        if troubles := wait_until_healthy(lab, HEALTHY_SECONDS):
            raise NetError("; ".join(troubles))
        application.pin(front)
        return front

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
    """Raise LabError when a lab of this name is somebody else's."""
    if lab in list_labs():
        raise LabError(
            f"a lab {lab} is up already: another run, or one that was killed ({command('down', '--lab', lab)})"
        )


def ends_of(plan: Plan) -> Ends:
    """Return where loads begin and end in a lab of `plans.path_plan`."""
    by_name = {each.name: each.namespace for each in plan.instances}
    client = next(each for each in plan.namespaces if each.name == by_name["client"])
    router = next(each.mac for each in client.neighbours if each.address == "10.0.1.1")
    return Ends(by_name["client"], by_name["server"], router)


@contextmanager
def path_labs(reflector: Path | None, say: Callable[[str], None]) -> Iterator[PathLabs]:
    """Bring up paths for as long as the block runs; all their labs are gone at its end."""
    opened = PathLabs(str(reflector) if reflector else "", say)
    try:
        yield opened
    finally:
        opened.close()
