"""What the doctor reads from a running lab: its nodes' own words, the kernel's counters, the appliances' counters."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict
from typing import Any

from gwlbemu.command import command
from gwlbemu.errors import NetError
from gwlbemu.lab.failure import failures
from gwlbemu.lab.running import RunningLab
from gwlbemu.net.inside import inside
from gwlbemu.net.namespaces import path_of
from gwlbemu.net.sockets import Sockets, read_sockets, wrong_checksums
from gwlbemu.net.xdp import xdp_mode
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
_COUNTING = ("firewall", "ids", "passthrough", "broken")  # kinds of appliances that answer with their counters
_QUESTIONS: dict[str, dict[str, Any]] = {"targets": {}, "traffic": {}, "metrics": {}}


def read_seen(lab: RunningLab) -> Seen:
    """Read everything. Raises NetError without root, LabError for a state folder that is damaged.

    Where packets seem to get no answer it looks a second time: those may have been on their way.
    """
    answers = _ask(lab)
    if any(each["unanswered"] >= ENOUGH for one in answers.values() for each in one["traffic"]["traffic"]):
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
            for node in plan.gateway_nodes
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
    )


def _ask(lab: RunningLab) -> dict[str, Answers]:
    answers, _ = ask(lab, [node.name for node in lab.plan.gateway_nodes], _QUESTIONS)
    return answers


def _instances(lab: RunningLab) -> dict[str, InstanceSeen]:
    """The targets' instances from inside, and the programs of the others."""
    processes = {process.name: process for process in lab.processes()}
    counting = [program.instance for program in lab.plan.programs if program.kind in _COUNTING]
    commands = {program.instance for program in lab.plan.programs if program.kind == "command"}
    answers, _ = ask(lab, counting, {"status": {}}, within_seconds=PATIENCE)
    found = {}
    for instance in lab.plan.instances:
        process = processes.get(instance.name)
        if not instance.appliance:
            if process is not None:
                found[instance.name] = InstanceSeen(process.state, last_words(process))
            continue
        said = answers[instance.name]["status"].get("counters", {}) if instance.name in answers else None
        sockets = _sockets(instance)
        lost = tuple((each.what, each.packets) for each in sockets.drops) if sockets else ()
        if said is not None:  # it counts those of its own socket
            lost = (("packet socket", said["kernel drops"]),) if said.get("kernel drops") else ()
        found[instance.name] = InstanceSeen(
            program=process.state if process else "",
            last_words=last_words(process) if process else "",
            lost=lost,
            tcp_listening=sockets.tcp_listening if sockets else None,
            udp_bound=sockets.udp_bound if sockets else None,
            accept_overflows=sockets.accept_overflows if sockets else 0,
            xdp=_xdp(instance) if instance.name in commands else "",
            said=said,
        )
    return found


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
