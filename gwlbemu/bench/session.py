"""One run: every experiment in interleaved rounds, so that what is compared was measured seconds apart."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from gwlbemu.bench import application, capture_file, loads, machine, network, plans, tools
from gwlbemu.bench.figures import VERBS
from gwlbemu.bench.labs import MeasuredPath, PathLabs, refuse_if_up
from gwlbemu.bench.loads import Flows
from gwlbemu.bench.results import Results
from gwlbemu.errors import GwlbemuError, NetError
from gwlbemu.lab.commands import own_module
from gwlbemu.lab.topology_file import BUNDLED
from gwlbemu.net.remove import down

FEW = Flows(1000)
WIRE_PATHS = ("python", "fast", "ovs")
WARM_RATE = 20_000  # packets/s that place new flows without loss on either path
BURST_RATE = 100_000  # new flows/s offered
FILL_BURST_SECONDS = 4
PAUSES_SECONDS = 300.0
CAPTURED_FLOWS = 1000
BYTES_PER_CROWD_FLOW = 3000  # free memory that must be there for each


@dataclass(frozen=True, slots=True)
class Effort:
    """How much is done: seconds of each load."""

    rounds: int = 5
    seconds: float = 1.0
    tcp_seconds: float = 2.0
    echoes: int = 2000
    crowd: int = 1_000_000
    fill_seconds: float = 75  # UDP flows are forgotten after 120 s without a packet
    labs: int = 3
    instances: int = 100
    table: int = 2_000_000  # flows of a full flow table: emulation.max_flows
    captured: int = 110_000  # packets of a capture
    connections: int = 100_000  # through a network load balancer
    idle: int = 20_000  # connections to an application load balancer
    change_seconds: float = 10.0  # of changes of an application load balancer


FULL = Effort()
QUICK = Effort(
    rounds=2,
    seconds=0.5,
    tcp_seconds=1.0,
    echoes=500,
    crowd=100_000,
    fill_seconds=15,
    labs=1,
    table=50_000,
    captured=20_000,
    connections=20_000,
    idle=2_000,
    change_seconds=2.0,
)


class Session:
    """Measures into `results`; a path that fails is left out of the rest of its experiment, with the reason."""

    def __init__(
        self,
        labs: PathLabs,
        sender: list[str],
        effort: Effort,
        results: Results,
        folder: Path,
        say: Callable[[str], None],
    ) -> None:
        self.labs, self.sender, self.effort, self.results, self.say = labs, sender, effort, results, say
        self._folder = folder

    def run(self, experiment: str) -> None:
        """Run one of `figures.EXPERIMENTS`."""
        {
            "packets": self._packets,
            "tcp": self._tcp,
            "round-trip": self._round_trips,
            "flows": self._flows,
            "pauses": self._pauses,
            "up": self._labs,
            "inspect": self._inspect,
            "network": self._network,
            "application": self._application,
        }[experiment]()

    def _each_round(self, experiment: str, paths: list[str], measure: Callable[[MeasuredPath], None]) -> None:
        broken: set[str] = set()
        for number in range(self.effort.rounds):
            self.say(f"{experiment}, round {number + 1} of {self.effort.rounds}")
            for name in paths:
                path = None if name in broken else self.labs.open(name)
                if path is None:
                    continue
                try:
                    measure(path)
                except (GwlbemuError, OSError) as error:
                    broken.add(name)
                    self.results.missing[f"{experiment}/{name}"] = str(error)

    def _packets(self) -> None:
        def measure(path: MeasuredPath) -> None:
            self._rate("packets", path.name, path, FEW)

        self._each_round("packets", ["plain", "hops", "vxlan", "ovs", "python", "fast-long", "fast"], measure)
        for _ in range(self.effort.rounds):
            self.results.add("packets", "scapy", loads.scapy_packets(seconds=0.3))

    def _rate(self, experiment: str, label: str, path: MeasuredPath, flows: Flows) -> None:
        """64-byte packets/s that arrive of what an unlimited sender offers."""
        loads.packets(path.ends, self.sender, flows, seconds=1, rate=WARM_RATE, count=min(flows.count, 2000))
        got = loads.packets(path.ends, self.sender, flows, seconds=self.effort.seconds)
        if not got.delivered:
            raise NetError("no packet arrived")
        self.results.add(experiment, label, got.rate, loss=got.loss)

    def _tcp(self) -> None:
        for suffix, segment in (("", loads.SEGMENT), ("-1500", loads.INTERNET_SEGMENT)):
            self._streams(suffix, segment)

    def _streams(self, suffix: str, segment: int) -> None:
        sizes: dict[str, float] = {}

        def measure(path: MeasuredPath) -> None:
            packets, size = loads.received(path.ends.server)
            speed = loads.stream(path.ends, seconds=self.effort.tcp_seconds, segment=segment)
            more_packets, more_size = loads.received(path.ends.server)
            sizes[path.name] = (more_size - size) / max(more_packets - packets, 1)
            series = "tcp-wire" if path.name in WIRE_PATHS else "tcp-super"
            self.results.add(series + suffix, path.name.removesuffix("-super"), speed)

        self._each_round(f"tcp{suffix}", ["plain", "vxlan", "fast-super", "fast", "python", "ovs"], measure)
        words = ", ".join(f"{name} {size:,.0f}" for name, size in sizes.items())
        self.results.notes.append(f"tcp{suffix}: bytes of a packet as the server receives it: {words}")

    def _round_trips(self) -> None:
        def measure(path: MeasuredPath) -> None:
            self.results.add("round-trip", path.name, loads.round_trip(path.ends, count=self.effort.echoes))

        self._each_round("round-trip", ["plain", "hops", "vxlan", "ovs", "python", "fast"], measure)

    # ---- many flows --------------------------------------------------------------------------------------------------
    def _flows(self) -> None:
        """New flows in bursts; the bursts become a crowd, which is measured against a node that knows few flows."""
        few, crowd = self.labs.open(self.results.subject), self.labs.open("crowd")
        if few is None or crowd is None:
            return
        pid = crowd.node_pid
        before = machine.resident(pid), machine.map_memory(pid)
        self._bursts(crowd)
        used = self._fill(crowd, self._affordable())
        known, installed = max(crowd.known(), 1), max(crowd.installed(), 1)
        resident, in_maps = machine.resident(pid) - before[0], machine.map_memory(pid) - before[1]
        self.results.add("memory", self.results.subject, resident / known + in_maps / installed)
        self.results.settings["crowd"] = f"{known:,} flows"
        self.results.notes.append(
            f"memory: {resident / 2**20:.0f} MiB in Python for {known:,} flows,"
            f" {in_maps / 2**20:.0f} MiB in maps for {installed:,}"
        )
        if refused := crowd.fast_stats().get("refused", 0):
            self.results.notes.append(f"the kernel's map was full: {refused:,} flows stayed with Python")
        for number in range(self.effort.rounds):
            self.say(f"crowd, round {number + 1} of {self.effort.rounds}")
            self._rate("crowd", "few", few, FEW)
            self._rate("crowd", "crowd", crowd, Flows(used))

    def _bursts(self, path: MeasuredPath) -> None:
        """One burst of new flows per round, more than the node can follow."""
        used = 0
        for _ in range(self.effort.rounds):
            count = int(BURST_RATE * self.effort.seconds)
            before = path.installed()
            got = loads.packets(
                path.ends, self.sender, Flows(count, used), seconds=self.effort.seconds, rate=BURST_RATE, count=count
            )
            placed = path.installed() - before
            self.results.add("new-flows", self.results.subject, placed / got.seconds, loss=1 - placed / got.offered)
            used += count

    def _affordable(self) -> int:
        room = machine.free_memory() // 2 // BYTES_PER_CROWD_FLOW
        if room < self.effort.crowd:
            self.results.notes.append(f"free memory is enough for a crowd of {room:,} flows only")
        return min(self.effort.crowd, room)

    def _fill(self, path: MeasuredPath, wanted: int) -> int:
        """Place flows 0 to `wanted`, no faster than the node follows; returns how many numbers were used in time."""
        rate = min(0.5 * median(self.results.series["new-flows"][self.results.subject]), 4 * WARM_RATE)
        give_up_at = time.monotonic() + self.effort.fill_seconds
        used = 0
        while used < wanted and time.monotonic() < give_up_at:
            used += self._place(path, used, wanted, rate)
        if path.known() < used * 0.999:  # once more those that were lost on the way
            first = 0
            while first < used:
                first += self._place(path, first, used, 4 * rate)
        return used

    def _place(self, path: MeasuredPath, first: int, end: int, rate: float) -> int:
        count = min(end - first, int(rate * FILL_BURST_SECONDS))
        flows = Flows(count, first)
        loads.packets(path.ends, self.sender, flows, seconds=loads.LONGEST, rate=rate, count=count)
        self.say(f"crowd: flows up to {first + count:,}")
        return count

    # ---- a full flow table -------------------------------------------------------------------------------------------
    def _pauses(self) -> None:
        """How long each verb keeps packets waiting, and what a full table takes; a process without interfaces."""
        count = self.effort.table
        self.say(f"pauses: {count:,} flows")
        words = own_module("gwlbemu.programs.gateway.pauses", str(count))
        try:
            done = subprocess.run(words, capture_output=True, text=True, timeout=PAUSES_SECONDS, check=True)
        except (subprocess.TimeoutExpired, subprocess.CalledProcessError) as error:
            self.results.missing[VERBS] = str(error)[-300:]
            return
        found = json.loads(done.stdout)
        self.results.add("pause", VERBS, max(found["pauses"].values()))
        self.results.add("memory-full", VERBS, found["bytes"] / 2**20)
        self.results.settings["full flow table"] = f"{count:,} flows"
        each = ", ".join(f"{verb} {pause:.1f}" for verb, pause in found["pauses"].items())
        self.results.notes.append(f"pause in ms while a verb runs with {count:,} flows: {each}")

    # ---- a network load balancer -------------------------------------------------------------------------------------
    def _network(self) -> None:
        """Through a network load balancer, and over the same hops without it; then with many connections."""
        self._each_round("packets", ["network-hops", "network-long", "network"], self._network_rates)
        path = self.labs.open("network")
        if path is None:
            return
        self.results.settings["connections"] = f"{self.effort.connections:,} through the network load balancer"
        for number in range(self.effort.rounds):
            self.say(f"connections, round {number + 1} of {self.effort.rounds}")
            try:
                self._connections(path)
            except (GwlbemuError, OSError) as error:
                self.results.missing["connections/network"] = str(error)
                return

    def _network_rates(self, path: MeasuredPath) -> None:
        self._rate("packets", path.name, path, FEW)
        speed = loads.stream(path.ends, seconds=self.effort.tcp_seconds, segment=loads.SEGMENT)
        self.results.add("tcp-network", path.name, speed)

    def _connections(self, path: MeasuredPath) -> None:
        """Begin many connections as fast as can be, hold them, and end them all at once."""
        wanted, before = self.effort.connections, network.kernel_memory()
        self._rate("crowd", "network-few", path, FEW)
        share = wanted // len(network.SOURCES)
        for source in network.SOURCES:
            got = loads.packets(path.ends, self.sender, Flows(share), seconds=loads.LONGEST, count=share, source=source)
            self.results.add("new-connections", "network", got.rate, loss=got.loss)
            loads.packets(  # once more those that were lost on the way
                path.ends, self.sender, Flows(share), seconds=loads.LONGEST, rate=WARM_RATE, count=share, source=source
            )
        known = network.held(path.lab)
        self.results.add("held", "network", known / (share * len(network.SOURCES)))
        self.results.add("kernel-memory", "network", (network.kernel_memory() - before) / max(known, 1))
        self._rate("crowd", "network-crowd", path, Flows(share))
        self.results.add("flush", "network", network.flush(path.lab))

    # ---- an application load balancer --------------------------------------------------------------------------------
    def _application(self) -> None:
        """Through an application load balancer, and through a ten-line HAProxy in its place."""
        with ExitStack() as stack:
            fronts = [each for name in ("application-plain", "application") if (each := self._front(name, stack))]
            if len(fronts) < 2:
                return
            plain, front = fronts
            for number in range(self.effort.rounds):
                self.say(f"requests, round {number + 1} of {self.effort.rounds}")
                try:
                    self._requests(plain, front, plain_first=number % 2 == 0)
                except (GwlbemuError, OSError) as error:
                    self.results.missing["requests/application"] = str(error)
                    break
            self._held_idle(front)
            self.say("changes under requests")
            lost, of = application.lost_in_changes(front, seconds=self.effort.change_seconds)
            self.results.add("lost-requests", "application", lost)
            self.results.settings["changed under"] = f"{of:,} requests"

    def _front(self, name: str, stack: ExitStack) -> application.Front | None:
        try:
            return self.labs.open_front(name, stack, self._folder)
        except GwlbemuError as error:
            self.results.missing[name] = str(error)
            return None

    def _requests(self, plain: application.Front, front: application.Front, *, plain_first: bool) -> None:
        for each in (plain, front) if plain_first else (front, plain):
            self.results.add("requests", each.name, application.requests(each, seconds=self.effort.tcp_seconds))
        self.results.add("node-memory", "application", application.memory(front) / 2**20)
        application.log(front, on=True)
        try:
            self.results.add(
                "requests", "application-logged", application.requests(front, seconds=self.effort.tcp_seconds)
            )
        finally:
            application.log(front, on=False)

    def _held_idle(self, front: application.Front) -> None:
        wanted = application.affordable(front, self.effort.idle)
        if wanted < self.effort.idle:
            self.results.notes.append(f"the limit of open files is enough for {wanted:,} idle connections only")
        self.say(f"{wanted:,} idle connections")
        held, took = application.hold(front, wanted)
        self.results.add("held-idle", "application", held / wanted)
        self.results.add("connection-memory", "application", took / wanted)
        self.results.settings["idle"] = f"{wanted:,} connections to the application load balancer"

    # ---- labs --------------------------------------------------------------------------------------------------------
    def _labs(self) -> None:
        """The command `gwlbemu up` from its start to healthy targets, as somebody at a terminal sees it."""
        self.labs.close()  # a crowd is not idle: its node looks through it every second
        two_zones = BUNDLED / "two-zones.yaml"
        hundred = self._folder / "hundred.yaml"
        hundred.write_text(plans.many_instances("bench-hundred", self.effort.instances))
        for number in range(self.effort.labs):
            self.say(f"labs, round {number + 1} of {self.effort.labs}")
            self._lab("two-zones", two_zones, 9)
            if number < 2:
                self._lab("hundred", hundred, self.effort.instances)

    def _lab(self, name: str, file: Path, instances: int) -> None:
        lab = f"bench-up-{name}"
        refuse_if_up(lab)
        words = own_module("gwlbemu.cli.main", "up", str(file), "--lab", lab)
        start = time.perf_counter()
        try:
            done = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)
            took = time.perf_counter() - start
        except subprocess.TimeoutExpired:
            self.results.missing[name] = "not up within 60 s"
            return
        finally:
            down(lab)
        if done.returncode:
            self.results.missing[name] = (done.stderr.strip() or done.stdout.strip())[-300:]
            return
        self.results.add("lab-up", name, took)
        self.results.add("lab-up-instance", name, took / instances)

    # ---- a capture ---------------------------------------------------------------------------------------------------
    def _inspect(self) -> None:
        """Read one long capture as packets, as journeys and with tshark; CPU time, since it is one process each."""
        path = self._folder / "long.pcapng"
        packets = capture_file.write(path, self.effort.captured, CAPTURED_FLOWS)
        size = path.stat().st_size / 1e6
        self.results.settings["capture"] = f"{packets:,} packets in {CAPTURED_FLOWS:,} flows, {size:.0f} MB"
        ours = own_module("gwlbemu.cli.main", "inspect", str(path))
        readers = {"plain": ours, "journeys": [*ours, "--journeys"], "tshark": ["tshark", "-r", str(path)]}
        if shutil.which("tshark") is None:
            self.results.missing["tshark"] = "not installed"
            del readers["tshark"]
        for number in range(self.effort.rounds):
            self.say(f"inspect, round {number + 1} of {self.effort.rounds}")
            for name, words in readers.items():
                seconds, memory = tools.cost(words)
                self.results.add("inspect", name, packets / seconds)
                self.results.add("inspect-memory", name, memory / 2**20)
