"""The labs that are tortured, and looking whether they are well."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import yaml

from gwlbemu import Lab
from gwlbemu.errors import GwlbemuError
from gwlbemu.fastpath.build import available, cache_folder
from gwlbemu.net.record import ROOT
from tests.lab.worlds import world
from tests.machine import namespaces, strays
from tests.torture.tally import Tally, at_mark
from tests.waiting import PATIENCE, wait_until

T = TypeVar("T")
LONG_PATIENCE = 3 * PATIENCE  # for a process to answer: what is slow is not dead
SERVER, SERVER_6 = "10.0.1.10", "2001:db8:1:1::10"
PUBLIC = "203.0.113.10"
FIREWALL = {
    "firewall": {
        "default": "deny",
        "midstream": "allow",
        "rules": [
            {"name": "no-ssh", "action": "reject", "protocol": "tcp", "ports": 22},
            {"name": "web", "action": "allow", "protocol": "tcp", "ports": 80},
            {"name": "dns", "action": "allow", "protocol": "udp"},
        ],
    }
}
IDS_RULES = (
    'alert tcp any any -> any 80 (msg:"passwd"; content:"/etc/passwd"; sid:1;)\n'
    'drop udp any any -> any 53 (msg:"dns"; content:"query"; sid:2;)\n'
)
GOOD_PROGRAMS: dict[str, Any] = {
    "fw": FIREWALL,
    "ids": {"ids": {"ips": True, "rules": IDS_RULES}},
    "pass": "passthrough",
}


def topology(programs: Mapping[str, Any], *, lab: str, zones: str = "a", datapath: str = "auto", **changes: Any) -> str:
    """Return a topology whose appliances are `programs` by name, in turn over the `zones`."""
    where = {name: zones[number % len(zones)] for number, name in enumerate(programs)}
    document = yaml.safe_load(world(where, ipv6=True, balancer={"load_balancing.cross_zone.enabled": True}, **changes))
    document |= {"lab": lab, "datapath": datapath}
    for instance in document["vpcs"][1]["instances"]:
        instance["program"] = programs[instance["name"]]
    return yaml.safe_dump(document, sort_keys=False)


def datapaths() -> list[str]:
    """Return the datapaths that this machine can do."""
    return ["python", "ebpf"] if available(cache_folder()) is None else ["python"]


def figures(lab: Lab) -> dict[str, tuple[int, int]]:
    """Return memory in KiB and open files of each process of the lab that runs, by `lab/name`.

    Memory is what a process wrote to alone: pages of the kernel's rings count as resident once they were used.
    """
    found = {}
    for process in lab.status().processes:
        if process.state == "running":
            status = Path(f"/proc/{process.pid}/status").read_text()
            memory = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("RssAnon"))
            found[f"{lab.name}/{process.name}"] = (memory, len(os.listdir(f"/proc/{process.pid}/fd")))
    return found


LONG = 1200.0  # seconds from which on memory has to be flat from the first quarter on
MORE_WHEN_LONG = 16 << 10  # KiB, after the first quarter of a long time


@contextmanager
def flat(
    lab: Lab, tally: Tally, attack: str, *, more_memory: int = 24 << 10, more_files: int = 8, fills: int = 0
) -> Iterator[Callable[[], None]]:
    """Compare memory (KiB) and open files of the processes of a lab that is warm with those after the block.

    Gives what is to be called after each round, so that what happens between is in the tally. `fills` is the memory of
    tables that have a bound and are not full yet, which may come on top.
    """

    def look() -> None:
        tally.look(figures(lab))

    for name in figures(lab):
        tally.looks.pop(name, None)  # of a lab before this one
    look()
    yield look
    look()
    for name in figures(lab):
        looks = tally.looks[name]
        first, last, quarter = looks[0], looks[-1], at_mark(looks, 1)
        if last.memory > first.memory + more_memory + fills or last.files > first.files + more_files:
            tally.problem(attack, 0, f"{name} is not flat: {first} -> {last} (KiB)")
        later = max(look.memory for look in looks if look.at >= quarter.at)
        if last.at - first.at > LONG and later > quarter.memory + MORE_WHEN_LONG + fills:
            tally.problem(attack, 0, f"{name} is not flat: {quarter} after a quarter of the time, then {later} KiB")


def then(one_round: Callable[[int], None], *looks: Callable[[], None]) -> Callable[[int], None]:
    """Return a round that ends with the looks of `flat`."""

    def watched(seed: int) -> None:
        one_round(seed)
        for look in looks:
            look()

    return watched


APPLIANCES = ("firewall", "ids", "passthrough", "broken")


def _silent(lab: Lab) -> str:
    """Return who does not answer, "" when everybody does: a program that was started just now does so soon."""
    try:
        for program in lab.plan.programs:
            if program.kind in APPLIANCES:
                lab.call(program.instance, "status")
    except GwlbemuError as error:
        return str(error)
    return "; ".join(lab.status().errors)


def faults(lab: Lab) -> Iterator[str]:
    """Yield what went wrong in the processes of a lab although none of them died."""
    status = lab.status()
    for node in status.nodes:
        yield from (f"{node.name}: {kind}" for kind in node.faults)
    if status.capture is not None:
        yield from (f"capture: {kind}" for kind in status.capture.faults)
    for program in lab.plan.programs:
        if program.kind in APPLIANCES:
            yield from (f"{program.instance}: {kind}" for kind in lab.call(program.instance, "status")["faults"])


def dead(lab: Lab) -> list[str]:
    """Return a line for every process of the lab that is dead."""
    return [f"{each.name} is {each.state}: {_tail(each.log)}" for each in lab.status().stopped if each.state == "dead"]


def _tail(log: str) -> str:
    with open(log, errors="replace") as file:
        return " | ".join(file.read().splitlines()[-3:])


def unexplained(lab: Lab) -> tuple[int, str]:
    """Return how many packets the counters of nodes and appliances do not account for, and where."""
    lost, where = 0, []
    for node in lab.status().nodes:
        missing = sum(abs(port.frames_in - port.verdicts) for port in node.ports)
        metrics = lab.call(node.name, "metrics")["metrics"]
        missing += abs(metrics["packets_received"] - metrics["verdicts"])
        if missing:
            lost += missing
            where.append(f"{node.name} {missing}")
    for program in lab.plan.programs:
        if program.kind in APPLIANCES:
            counters = lab.call(program.instance, "status")["counters"]
            names = ("undecodable", "returned", "answered", "discarded", "replaced")
            missing = abs(counters.get("received", 0) - sum(counters.get(name, 0) for name in names))
            if missing:
                lost += missing
                where.append(f"{program.instance} {counters}")
    return lost, "; ".join(where)


def settle(lab: Lab, tally: Tally, attack: str, seed: int) -> None:
    """Note deaths, faults and packets that nothing accounts for; what is in flight is waited for."""
    for line in dead(lab):
        tally.counts["deaths"] += 1
        tally.problem(attack, seed, line)
        return
    try:
        wait_until(lambda: not _silent(lab), seconds=LONG_PATIENCE)
    except AssertionError:
        tally.problem(attack, seed, f"silent: {_silent(lab)}")
        return
    for line in patiently(lambda: list(faults(lab)), "faults"):
        tally.problem(attack, seed, f"fault: {line}")
    try:
        wait_until(lambda: patiently(lambda: unexplained(lab), "counters")[0] == 0, "the counters to add up")
    except AssertionError:
        lost, where = unexplained(lab)
        tally.counts["unexplained"] += lost
        tally.problem(attack, seed, f"unexplained: {where}")


def patiently(ask: Callable[[], T], what: str) -> T:
    """Return what `ask` does; who does not answer is asked again: on a busy machine it begins late, and is not dead."""
    found: list[T] = []
    trouble = ""

    def answered() -> bool:
        nonlocal trouble
        try:
            found.append(ask())
        except GwlbemuError as error:
            trouble = str(error)
        return bool(found)

    wait_until(answered, lambda: f"{what}: {trouble}", seconds=LONG_PATIENCE)
    return found[0]


def mend(lab: Lab, names: Iterable[str]) -> None:
    """Heal whatever is broken and register every target again: first who is dead or frozen."""
    order = ("instance", "process", "link", "zone", "health")

    def heal() -> None:
        while failures := lab.status().failures:  # a program that begins anew is broken in no other way any more
            broken = min(failures, key=lambda each: order.index(each.kind))
            lab.heal(broken.kind, broken.name)

    patiently(heal, "healing")
    for name in names:
        patiently(partial(lab.register, "firewalls", name), f"registering {name}")


def leftovers() -> set[str]:
    """Return what is left in our part of the machine: namespaces, processes, files, links, tables, mounts."""
    found = {f"namespace {each}" for each in namespaces()} | {f"process {each}" for each in strays()}
    if ROOT.exists():
        found |= {f"file {path}" for path in ROOT.rglob("*")}
    found |= {f"link {each}" for each in os.listdir("/proc/sys/net/ipv4/conf") if each not in ("all", "default", "lo")}
    tables = subprocess.run(["nft", "list", "tables"], capture_output=True, text=True, check=False).stdout
    found |= {f"nft {line}" for line in tables.splitlines()}
    mounts = Path("/proc/self/mountinfo").read_text().splitlines()
    return found | {f"mount {line.split()[4]}" for line in mounts if " /run/netns/" in line or "/run/gwlbemu/" in line}


def outside() -> int:
    """Return how many packets the interfaces of our own network namespace have seen: a lab sends none there."""
    lines = Path("/proc/self/net/dev").read_text().splitlines()[2:]
    return sum(int(words[1]) + int(words[9]) for line in lines for words in [line.partition(":")[2].split()])


def note_leftovers(tally: Tally, attack: str, seed: int) -> None:
    """Count what is left when no lab is up; what still ends by itself (a killed command's child) is waited for."""
    try:
        wait_until(lambda: not leftovers(), seconds=10)
    except AssertionError:
        left = leftovers()
        tally.counts["leftovers"] += len(left)
        tally.problem(attack, seed, f"left: {sorted(left)[:10]}")
