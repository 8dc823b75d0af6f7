"""Why a target fails its health checks, as far as it was seen, and what mends that."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from gwlbemu.review.finding import counted
from gwlbemu.review.places import Places
from gwlbemu.review.seen import Seen
from gwlbemu.topology.file.document import Path
from gwlbemu.topology.plan.values import TargetGroup


def why(places: Places, seen: Seen, target: Mapping[str, Any]) -> str:
    """Return what is known of a target's state, to be put behind it: what the check and the instance itself show."""
    instance = seen.instance(places.name(target))
    known = [str(target.get("description", ""))] if target["state"] != "healthy" else []
    if instance.stands_still:
        known.append(f"its program is {instance.program}")
    if target["state"] == "unhealthy" and instance.accept_overflows:
        known.append(f"a queue for its TCP connections was full {counted(instance.accept_overflows, 'time')}")
    known = [each for each in known if each]
    return f" ({'; '.join(known)})" if known else ""


def mend_of_health(
    places: Places, seen: Seen, balancer: str, group: TargetGroup, targets: Sequence[Mapping[str, Any]]
) -> tuple[Path, str]:
    """Return where and how the health of the first of the targets is mended, by what was seen."""
    path, target = places.group(group.name), targets[0]
    port = group.health_check.port or int(target["port"])  # TRAFFIC_PORT is 0
    name, reason = places.name(target), str(target.get("reason", ""))
    instance = seen.instance(name)
    program = places.program(name, balancer)
    if instance.stands_still:
        return program, f"a program that runs: that of {name} is {instance.program}"
    listening = instance.tcp_listening
    if reason == "Target.ResponseCodeMismatch":
        return (*path, "health_check", "path"), f"a path that is answered with a status of {group.health_check.matcher}"
    if listening is not None and port not in listening:
        if listening:
            ports = " and ".join(str(port) for port in sorted(listening)[:5])
            return (*path, "health_check", "port"), f"the port where {name} listens, which is {ports}"
        return program, f"a program that listens on TCP port {port}: nothing in {name} listens on any"
    return (*path, "health_check"), "nothing is known that would mend it here: the cause was not seen"
