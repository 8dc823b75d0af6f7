"""What was lost at an instance: in the receive buffers of its sockets, and at its port."""

from __future__ import annotations

from collections.abc import Iterator

from gwlbemu.review.finding import HINT, Finding, Severity, counted
from gwlbemu.review.places import Places
from gwlbemu.review.seen import PortDrops, Seen
from gwlbemu.topology.plan.port_rules import DIRECTIONS, REASONS

_MANY = 5  # packets with a wrong checksum; fewer may be somebody's test
_SHARE = 0.01  # of what was sent to an appliance; less is told and is no reason to fail


def drop_findings(places: Places, seen: Seen) -> Iterator[Finding]:
    """Yield what full buffers threw away, and what the ports of instances did not let through."""
    sent: dict[str, int] = {}
    for each in seen.carried:
        sent[each.target] = sent.get(each.target, 0) + each.packets_to
    zones = {one.name: one.zone for one in places.plan.instances}
    for name, instance in seen.instances.items():
        path = places.instance(name, "program")
        if not instance.lost or path is None or seen.on_purpose(name, zones.get(name, "")) is not None:
            continue
        what = " and ".join(f"{counted(count, 'packet')} ({sockets})" for sockets, count in instance.lost)
        share = sum(count for _, count in instance.lost) / max(sent.get(name, 0), 1)
        severity: Severity = "warning" if share >= _SHARE else HINT
        text = f"{name} has lost {what} for which a receive buffer in it had no room"
        change = "a larger receive buffer (SO_RCVBUF), or a program that reads as fast as packets come"
        yield Finding("receive-buffer", severity, text, path, change)
    for drop in seen.port_drops:
        yield from _port(places, drop)
    for wrong in seen.wrong_checksums:
        who = wrong.name if wrong.kind == wrong.name else f"{wrong.kind} {wrong.name}"
        text = f"{who} has dropped {counted(wrong.packets, 'packet')} whose {wrong.layer} checksum is wrong"
        text += "; whose doing that is was not seen"
        change = "journeys of the capture name wrong checksums at the first tap that saw them (gwlbemu inspect)"
        severity = "warning" if wrong.packets >= _MANY else HINT
        yield Finding("wrong-checksum", severity, text, places.anything(wrong.name), change)


def _port(places: Places, drop: PortDrops) -> Iterator[Finding]:
    path = places.instance(drop.instance)
    if path is None:
        return
    text = f"the port of {drop.instance} has dropped {counted(drop.packets, 'packet')} that it"
    text += f" {DIRECTIONS[drop.direction]}: {REASONS[drop.reason]}"
    if drop.reason == "address":
        change = f"source_dest_check: false, if {drop.instance} is to forward packets of others"
        yield Finding("port-drop", "warning", text, (*path, "source_dest_check"), change)
    elif drop.reason == "group":
        change = "a rule of its groups that lets them through, if they are to pass"
        yield Finding("port-drop", HINT, text, (*path, "security_groups"), change)
    else:
        change = "nothing to change here: no VPC carries such packets"
        yield Finding("port-drop", HINT, text, path, change)
