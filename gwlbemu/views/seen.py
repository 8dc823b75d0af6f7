"""What the doctor reads from a running lab: its nodes' own words, the kernel's counters, the appliances' counters."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict
from typing import Any

from gwlbemu.command import command
from gwlbemu.core.elb.balancer_types import APPLICATION, GATEWAY, NETWORK
from gwlbemu.errors import GwlbemuError, NetError
from gwlbemu.lab.failure import failures
from gwlbemu.lab.running import RunningLab
from gwlbemu.net.inside import inside
from gwlbemu.net.namespaces import path_of
from gwlbemu.net.sockets import Sockets, read_sockets, wrong_checksums
from gwlbemu.net.xdp import xdp_mode
from gwlbemu.review.finding import listed
from gwlbemu.review.live_traffic import ENOUGH
from gwlbemu.review.seen import (
    Carried,
    IcmpAnswers,
    InstanceSeen,
    OnPurpose,
    RefusedReturns,
    Seen,
    WrongChecksums,
)
from gwlbemu.topology.plan.values import Instance
from gwlbemu.views.ask import PATIENCE, Answers, ask
from gwlbemu.views.last_words import last_words
from gwlbemu.views.port_drops import read_port_drops
from gwlbemu.views.targets import targets_of

_TOO_LONG = "Dropped_InnerPacketTooLong"
_AGAIN_SECONDS = 0.5  # longer than a packet is with an appliance
_KERNEL_DROPS = "kernel drops"  # the counter of its packet socket, which every bundled appliance has
_LONGEST_NAME = 100  # characters of a counter's name
_HIGHEST_COUNT = (1 << 64) - 1
_COUNTING = ("firewall", "ids", "passthrough", "broken")  # kinds of appliances that answer with their counters
# What a node is asked, by type of load balancer.
_QUESTIONS: dict[str, dict[str, dict[str, Any]]] = {
    GATEWAY: {"targets": {}, "traffic": {}, "metrics": {}},
    NETWORK: {"targets": {}, "status": {}},
    APPLICATION: {"targets": {}, "status": {}},
}


def read_seen(lab: RunningLab) -> Seen:
    """Read everything. Raises NetError without root, LabError for a state folder that is damaged.

    Where packets seem to get no answer it looks a second time: those may have been on their way.
    """
    answers = _ask(lab)
    traffic = [each for one in answers.values() for each in one.get("traffic", {}).get("traffic", ())]
    if any(each["unanswered"] >= ENOUGH for each in traffic):
        time.sleep(_AGAIN_SECONDS)
        answers = _ask(lab)
    plan = lab.plan
    nodes = [node for node in plan.gateway_nodes if node.name in answers]
    said = {node.name: answers[node.name]["traffic"] for node in nodes}
    return Seen(
        targets={
            node.name: [asdict(each) for each in targets_of(plan, node, answers[node.name]["targets"])]
            if node.name in answers
            else None
            for node in plan.nodes
        },
        processes={process.name: process.state for process in lab.processes()},
        carried=tuple(
            Carried(load_balancer=node.load_balancer, node=node.name, **each)
            for node in nodes
            for each in said[node.name]["traffic"]
        ),
        refused=tuple(
            RefusedReturns(load_balancer=node.load_balancer, node=node.name, **each)
            for node in nodes
            for each in said[node.name]["refused"]
        ),
        icmp=tuple(IcmpAnswers(node=node.name, **each) for node in nodes for each in said[node.name]["unreachable"]),
        broken=tuple(
            OnPurpose(kind, name, command("heal", "--lab", plan.lab, kind, name)) for kind, name in failures(lab)
        ),
        instances=_instances(lab),
        port_drops=read_port_drops(lab),
        wrong_checksums=tuple(_wrong_checksums(lab)),
        too_long={node.name: int(answers[node.name]["metrics"]["metrics"].get(_TOO_LONG, 0)) for node in nodes},
        tables={
            node.name: str(answers[node.name]["status"]["tables"])
            for node in plan.network_nodes
            if node.name in answers
        },
        proxies={
            node.name: str(answers[node.name]["status"].get("proxy", ""))
            for node in plan.addressed_nodes
            if node.name in answers
        },
    )


def _ask(lab: RunningLab) -> dict[str, Answers]:
    types = lab.plan.node_types
    answers: dict[str, Answers] = {}
    for kind, questions in _QUESTIONS.items():
        names = [name for name, its in types.items() if its == kind]
        answers |= ask(lab, names, questions)[0] if names else {}
    return answers


def _instances(lab: RunningLab) -> dict[str, InstanceSeen]:
    """The targets' instances from inside, and the programs of the others."""
    targets = {(group.vpc, target.address) for group in lab.plan.target_groups for target in group.targets}
    processes = {process.name: process for process in lab.processes()}
    counting = [program.instance for program in lab.plan.programs if program.kind in _COUNTING]
    commands = {program.instance for program in lab.plan.programs if program.kind == "command"}
    found = {}
    for instance in lab.plan.instances:
        process = processes.get(instance.name)
        if not instance.appliance and (instance.vpc, instance.address) not in targets:
            if process is not None:
                found[instance.name] = InstanceSeen(process.state, last_words(process))
            continue
        said, not_understood = _counters(lab, instance.name) if instance.name in counting else (None, "")
        sockets = _sockets(instance)
        lost = tuple((each.what, each.packets) for each in sockets.drops) if sockets else ()
        if said is not None and _KERNEL_DROPS in said:  # it counts those of its own socket
            lost = (("packet socket", said[_KERNEL_DROPS]),) if said[_KERNEL_DROPS] else ()
        found[instance.name] = InstanceSeen(
            program=process.state if process else "",
            last_words=last_words(process) if process else "",
            lost=lost,
            tcp_listening=sockets.tcp_listening if sockets else None,
            udp_bound=sockets.udp_bound if sockets else None,
            accept_overflows=sockets.accept_overflows if sockets else 0,
            xdp=_xdp(instance) if instance.name in commands else "",
            said=said,
            not_understood=not_understood,
        )
    return found


def _counters(lab: RunningLab, name: str) -> tuple[dict[str, int] | None, str]:
    """Return the counters of an appliance, and what is unknown of them, and why. What it answers may be anything."""
    try:
        answers, silent = ask(lab, [name], {"status": {}}, within_seconds=PATIENCE)
    except GwlbemuError as error:
        return None, f"it answers with an error ({error})"
    if name in silent:
        runs = name in {process.name for process in lab.processes()} and not silent[name].log
        return None, silent[name].reason if runs else ""
    said = answers[name]["status"].get("counters")
    if not isinstance(said, dict):
        return None, f"its counters are {_kind(said)}, expected an object"
    found = {word: count for word, count in said.items() if _is_count(count) and len(word) <= _LONGEST_NAME}
    wrong = [
        f"{word[:_LONGEST_NAME]!r} is {_kind(count)}, expected a count"
        for word, count in said.items()
        if not _is_count(count)
    ]
    wrong += [f"there is no {_KERNEL_DROPS!r}"] if _KERNEL_DROPS not in said else []
    wrong += ["a name is too long"] if any(len(word) > _LONGEST_NAME for word in said) else []
    return found, listed(wrong)


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= _HIGHEST_COUNT


def _kind(value: object) -> str:
    """What a value is, in JSON's words."""
    if isinstance(value, bool | None):
        return json.dumps(value)
    words = {str: "a string", list: "a list", dict: "an object", float: "a fraction"}
    return words.get(type(value), "another number")


def _xdp(instance: Instance) -> str:
    with suppress(NetError, OSError), inside(path_of(instance.namespace)):
        return xdp_mode("eth0")
    return ""


def _wrong_checksums(lab: RunningLab) -> Iterator[WrongChecksums]:
    for namespace in lab.plan.namespaces:
        counts: dict[str, int] = {}
        with suppress(NetError, OSError), inside(path_of(namespace.name)):
            counts = wrong_checksums()
        for layer, packets in counts.items():
            yield WrongChecksums(namespace.role.replace("-", " "), namespace.resource, layer, packets)


def _sockets(instance: Instance) -> Sockets | None:
    try:
        with inside(path_of(instance.namespace)):
            return read_sockets()
    except (NetError, OSError):
        return None
