"""Break parts of a running lab, and heal them: `gwlbemu fail KIND NAME`, `gwlbemu heal KIND NAME`.

    kind      what happens                                                     what it is like on AWS
    instance  its program is killed and its cable pulled                       the instance is terminated
    process   its program is frozen (SIGSTOP): it answers nothing              a hung appliance; TCP may still connect
              (a node with the fast path: its established flows go on;
              that of another load balancer: all goes on, unchecked)
    link      the cable of its interface is pulled                             a lost network path
    health    its health check answers 503 (TCP: refuses), traffic goes on     an appliance that reports itself unfit
              (a gateway load balancer's targets alone: those of others
              are checked where their connections go)
    zone      every cable of the zone's instances and nodes is pulled          the loss of an Availability Zone
    node      every cable of a load balancer's node is pulled                  a load balancer that is out in one zone

Transit gateways go on as they were when a zone is lost. AWS's affinity then gives way to healthy zones (Transit Gateway
guide), which makes no difference here: the subnets of the lost zone still route, so what was to come out there still
comes on. Into an attachment with appliance mode a flow that falls to the lost zone is lost, there is no failover.

A node of a network load balancer is the kernel of its namespace, told by a process, its keeper. `heal node` also does
what it needs apart from cables: a keeper that is dead is started again, and tables that somebody has flushed or changed
are written anew. Meanwhile the kernel goes on with what it has. An application load balancer's node is an HAProxy and
its keeper: `heal node` starts whichever is dead, and HAProxy goes on with what it was last told.

A cable is pulled at the bridge's end of the veth, so that addresses and routes inside stay and healing is one call.
What is broken stands in `failures.json` of the state folder; nothing else remembers it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from contextlib import ExitStack

from gwlbemu.command import command
from gwlbemu.errors import LabError, SettingError, UnknownNameError
from gwlbemu.lab import shortcuts
from gwlbemu.lab.engines import start_missing
from gwlbemu.lab.running import RunningLab, read_plan
from gwlbemu.lab.up import start_keeper, start_program
from gwlbemu.net import processes
from gwlbemu.net.interfaces import set_link
from gwlbemu.net.namespaces import path_of
from gwlbemu.net.record import Record, open_existing, read
from gwlbemu.topology.file.changes import KINDS as KINDS
from gwlbemu.topology.plan.machine_half import End
from gwlbemu.topology.plan.values import ApplicationNode, Plan

_NO_WAY_BACK = "a gateway load balancer's node does not come back: take the lab down and up"


def fail(lab: RunningLab, kind: str, name: str) -> list[str]:
    """Break it; returns what was done, a sentence each. Raises UnknownNameError for a name that is not of that kind."""
    return _apply(lab, kind, name, broken=True)


def heal(lab: RunningLab, kind: str, name: str) -> list[str]:
    """Undo `fail`, harmless on what is not broken; returns what that changed."""
    return _apply(lab, kind, name, broken=False)


def failures(lab: RunningLab) -> list[tuple[str, str]]:
    """Return what is broken now: (kind, name), in the order it was broken."""
    try:
        found = json.loads(lab.state.failures.read_text(encoding="utf-8"))
        listed = [(kind, name) for kind, name in found]
        if not all(kind in KINDS and isinstance(name, str) for kind, name in listed):
            raise ValueError("not what `fail` writes")
    except FileNotFoundError:
        return []
    except (ValueError, TypeError, RecursionError):
        raise lab.state.damaged(lab.state.failures) from None
    return listed


def _apply(lab: RunningLab, kind: str, name: str, *, broken: bool) -> list[str]:
    refuse_unknown(lab.plan, kind, name)
    with open_existing(lab.plan.lab, root=lab.state.root) as record:
        return _fail(lab, kind, name) if broken else _heal(lab, kind, name, record)


def _fail(lab: RunningLab, kind: str, name: str) -> list[str]:
    """Write it down, then break it: who dies in between leaves something that `heal` mends."""
    before = failures(lab)
    cables = list(_cables(lab.plan, kind, name))
    now = [entry for entry in before if entry != (kind, name)] + [(kind, name)]
    with lab.state.replaced(lab.state.failures, json.dumps(now)):
        if cables:
            shortcuts.remove(lab.plan, lab.state, {end.namespace for end in cables})
        done = _set_cables(cables, up=False)
        if kind == "instance":
            done += _kill(lab, name)
        if kind == "process":
            done += _freeze(lab, name, broken=True)
        if kind == "health":
            lab.call(name, "health", fail=_health_failure(lab.plan, name))
            if (kind, name) not in before:
                done.append(f"{name} fails its health checks")
    return done


def _heal(lab: RunningLab, kind: str, name: str, record: Record) -> list[str]:
    """Mend it, then write that down; what cannot be mended whole is as broken as before."""
    before = failures(lab)
    cables = list(_cables(lab.plan, kind, name))
    restarts = kind == "instance" and _is_gone(lab, name)
    over = {(kind, name)} | ({("process", name), ("health", name)} if restarts else set())
    over |= {("process", name)} if kind == "node" and _is_dead(lab, name) else set()
    now = [entry for entry in before if entry not in over]
    with ExitStack() as undo, lab.state.prepared(lab.state.failures, json.dumps(now)):
        elsewhere = {end: entry for entry in now for end in _cables(lab.plan, *entry)}
        plugged = [
            end for end in cables if end not in elsewhere and set_link(path_of(end.namespace), end.name, up=True)
        ]
        done = [f"cable {end.name} of {end.namespace} plugged in" for end in plugged]
        done += [
            f"cable {end.name} of {end.namespace} stays pulled: {' '.join(elsewhere[end])} is broken"
            for end in cables
            if end in elsewhere
        ]
        undo.callback(_set_cables, plugged, up=False)
        if cables:
            undo.callback(shortcuts.detach, lab.plan, {end.namespace for end in plugged})
            shortcuts.install(lab.plan, lab.state, broken={end.namespace for end in elsewhere})
        if restarts:
            done += _restart(lab, name, record)
        if kind == "process":
            done += _freeze(lab, name, broken=False)
        if kind == "node":
            done += _mend_node(lab, name, record)
            started = start_missing(read_plan(lab.state), lab.state, record, only=name)
            done += [f"proxy of {each} started again" for each in started]
        if kind == "health":
            lab.call(name, "health", fail="none")
            if (kind, name) in before:
                done.append(f"{name} passes its health checks")
        undo.pop_all()
    return done


def _set_cables(cables: Iterable[End], *, up: bool) -> list[str]:
    return [
        f"cable {end.name} of {end.namespace} {'plugged in' if up else 'pulled'}"
        for end in cables
        if set_link(path_of(end.namespace), end.name, up=up)
    ]


def refuse_unknown(plan: Plan, kind: str, name: str) -> None:
    """Raise SettingError for a kind that nothing can be broken by, UnknownNameError for a name that is not of it."""
    if kind not in KINDS:
        raise SettingError(f"kind {kind!r}: expected one of {', '.join(KINDS)}")
    known = sorted(_names_of(plan, kind))
    if name not in known:
        what = "instance with a health check" if kind == "health" else kind
        if kind == "health" and name in _checked_at_their_traffic(plan):
            raise SettingError(
                f"{name} is checked where its connections go, so that its health checks cannot fail alone:"
                f" {command('fail', '--lab', plan.lab, 'process', name)} stops both"
            )
        raise UnknownNameError(f"no {what} {name}; there are: {', '.join(known)}")


def _names_of(plan: Plan, kind: str) -> set[str]:
    """Return the names that `fail KIND` takes."""
    programs = {program.instance for program in plan.programs}
    if kind == "zone":
        return {subnet.zone for subnet in plan.subnets}
    if kind == "process":
        return programs | {node.name for node in plan.nodes}
    if kind == "node":
        return {node.name for node in plan.nodes}
    if kind == "health":
        return {instance.name for instance in plan.instances if instance.appliance}
    return {instance.name for instance in plan.instances}


def _checked_at_their_traffic(plan: Plan) -> set[str]:
    """The instances that are targets of no gateway load balancer, whose programs know of no health checks."""
    places = {(group.vpc, target.address) for group in plan.target_groups for target in group.targets}
    return {one.name for one in plan.instances if (one.vpc, one.address) in places and not one.appliance}


def _health_failure(plan: Plan, name: str) -> str:
    """How to fail: a TCP check looks no further than the connection, so it has to be refused; HTTP is answered 503."""
    checks = {g.health_check.protocol for g in plan.target_groups if name in {target.id for target in g.targets}}
    return "tcp" if "TCP" in checks else "http"


def _cables(plan: Plan, kind: str, name: str) -> Iterator[End]:
    """The bridge's end of each cable concerned; a process or a health check has none."""
    if kind not in ("instance", "link", "zone", "node"):
        return
    if kind == "zone":
        inside = {instance.namespace for instance in plan.instances if instance.zone == name and instance.vpc}
        inside |= {node.namespace for node in plan.nodes if node.zone == name}
    elif kind == "node":
        inside = {node.namespace for node in plan.nodes if node.name == name}
    else:
        inside = {instance.namespace for instance in plan.instances if instance.name == name}
    for link in plan.links:
        for mine, other in ((link.a, link.b), (link.b, link.a)):
            if mine.namespace in inside and other.namespace not in inside:
                yield other


def _kill(lab: RunningLab, name: str) -> list[str]:
    """End the program, and by its init whatever else runs in the instance."""
    owned = read(lab.plan.lab, root=lab.state.root)
    mine = [entry.id for entry in owned.processes if entry.name == name]
    ended = processes.end(mine, grace=0.0)
    namespaces = {each.namespace for each in lab.plan.instances if each.name == name}
    processes.end_inits(entry.id for entry in owned.inits if entry.namespace in namespaces)
    return [f"process {process.pid} of {name} killed" for process in ended]


def _is_gone(lab: RunningLab, name: str) -> bool:
    """Whether an instance has a program, which does not run."""
    lives = any(process.name == name and process.state != "dead" for process in lab.processes())
    return not lives and any(program.instance == name for program in lab.plan.programs)


def _restart(lab: RunningLab, name: str, record: Record) -> list[str]:
    (program,) = (program for program in lab.plan.programs if program.instance == name)
    start_program(lab.plan, program, lab.state, record)
    return [f"program of {name} started again"]


def _is_dead(lab: RunningLab, name: str) -> bool:
    return any(process.name == name and process.state == "dead" for process in lab.processes())


def _mend_node(lab: RunningLab, name: str, record: Record) -> list[str]:
    """Start a keeper that is dead, or let a network node's write its tables again if they are not as it wrote them."""
    keeper = next((node for node in lab.plan.addressed_nodes if node.name == name), None)
    dead = _is_dead(lab, name)
    if dead and keeper is None:
        raise LabError(f"{name} is dead, and {_NO_WAY_BACK}")
    if keeper is None:
        return []
    if dead:
        secret = lab.state.secret.read_text(errors="surrogateescape")
        start_keeper(read_plan(lab.state), keeper, lab.state, secret, record)
        told = "" if isinstance(keeper, ApplicationNode) else "; it writes its tables anew"
        return [f"keeper of {name} started again{told}"]
    if isinstance(keeper, ApplicationNode):
        return []
    if lab.call(name, "status")["tables"] == "intact":
        return []
    lab.call(name, "repair")
    return [f"tables of {name} written anew"]


def _freeze(lab: RunningLab, name: str, broken: bool) -> list[str]:
    for entry in read(lab.plan.lab, root=lab.state.root).processes:
        state = processes.state(entry.id)
        if entry.name == name and state != "dead":
            (processes.freeze if broken else processes.resume)(entry.id)
            changed = state != ("frozen" if broken else "running")
            return [f"process {entry.pid} of {name} {'frozen' if broken else 'goes on'}"] if changed else []
    kind = "instance" if name in _names_of(lab.plan, "instance") else "node"
    again = (
        _NO_WAY_BACK
        if name in {node.name for node in lab.plan.gateway_nodes}
        else f"{command('heal', '--lab', lab.plan.lab, kind, name)} starts it again"
    )
    raise LabError(f"{name} is dead, there is nothing to {'freeze' if broken else 'wake'}: {again}")
