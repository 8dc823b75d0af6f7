"""explain: the way of a packet and of its answer, hop by hop, without sending one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from ipaddress import ip_address

import click

from gwlbemu.cli.common import complete_topology, echo, json_option, lab_option, load_plan, name_silent, print_json
from gwlbemu.errors import SettingError
from gwlbemu.lab.topology_file import read_topology
from gwlbemu.paths.answer import expected_answers
from gwlbemu.paths.values import Exchange, Packet, States, Way
from gwlbemu.paths.walk import Paths, Request, exchange
from gwlbemu.topology.plan.dns_names import resource_named
from gwlbemu.topology.plan.ends import instance_at, listener_port, web_port
from gwlbemu.topology.plan.values import Plan
from gwlbemu.views.explanation import Places, conclusion, explanation, wrapped
from gwlbemu.wire import protocols
from gwlbemu.wire.protocols import ICMP, TCP, UDP

NAMES = {name: number for number, name in protocols.NAMES.items()}


@click.command("explain")
@click.argument("source", metavar="A[:PORT]")
@click.argument("destination", metavar="B[:PORT]")
@click.argument("file", metavar="[FILE]", required=False, shell_complete=complete_topology)
@lab_option
@click.option(
    "--proto", default="tcp", show_default=True, metavar="tcp|udp|icmp|N", help="The protocol, or its number."
)
@click.option("--size", type=click.IntRange(28, 65535), default=60, show_default=True, help="Bytes of the IP packet.")
@click.option(
    "--after",
    multiple=True,
    metavar="CHANGE",
    help='Suppose a change first, such as "fail instance fw-a1". Repeatable.',
)
@click.option("--request", metavar="METHOD PATH", help='What is asked over HTTP, such as "GET /api?v=1".')
@click.option("--header", "headers", multiple=True, metavar="NAME:VALUE", help="A header of the request. Repeatable.")
@json_option
def explain_command(
    source: str, destination: str, file: str | None, lab_name: str | None, proto: str, size: int,
    after: tuple[str, ...], request: str | None, headers: tuple[str, ...], as_json: bool,
) -> int:  # fmt: skip
    """Say which way a packet from A to B and its answer take, and which rule decides at each hop. No packet is sent.

    A and B are instances, addresses or DNS names, B may be a network or application load balancer; an IPv6 address with
    a port stands in brackets. Of FILE without root, or of the running lab as it is now. A port that is not given is
    left open; of FILE, so is what a lab's own seed would choose. Where a load balancer ends the connection, the one
    that it begins to a target is told, too.
    Exit code 1 unless it is delivered and answered, by a target where a load balancer asks one.
    """
    if file is not None and lab_name is not None:
        raise click.UsageError("give a FILE or a --lab, not both")
    if file is not None:
        plan, states, places = load_plan(file, None), States(), Places.of(*read_topology(file))
    else:
        plan, states, places = _of_lab(lab_name)
    packet = _packet(plan, source, destination, proto, size)
    asked = _request(request, headers, packet)
    now = exchange(Paths(plan), packet, states, expected_answers(plan), request=asked)
    then = now
    if after:
        from gwlbemu.views.suppose import suppose

        for text in after:
            plan, states = suppose(plan, states, text)
        then = exchange(Paths(plan), packet, states, expected_answers(plan), request=asked)
    if as_json:
        plain = places.told(asdict(now))
        print_json({"now": plain, "after": places.told(asdict(then))} if after else plain)
    else:
        changes = _changes(now, then, after) if after else ()
        echo("\n".join([*changes, *explanation(then, places)]))
    return 0 if then.served else 1


def _of_lab(name: str | None) -> tuple[Plan, States, Places]:
    from gwlbemu.lab.running import open_lab
    from gwlbemu.views.doctor import text_of_lab
    from gwlbemu.views.states import present_states

    lab = open_lab(name)
    plan, states, silent = present_states(lab)
    name_silent(each.sentence for each in silent)
    return plan, states, Places.of(*text_of_lab(lab)) if lab.state.topology.exists() else Places()


def _packet(plan: Plan, source: str, destination: str, proto: str, size: int) -> Packet:
    protocol = NAMES.get(proto) or (int(proto) if proto.isascii() and proto.isdecimal() and int(proto) < 256 else -1)
    if protocol < 0:
        raise SettingError(f"--proto {proto}: expected tcp, udp, icmp or a number from 0 to 255")
    (here, own), (there, port) = _end(source), _end(destination)
    here, there = resource_named(plan, here), resource_named(plan, there)
    if protocol not in (TCP, UDP):
        if own is not None or port is not None:
            raise SettingError(f"protocol {protocols.name(protocol)} has no ports")
        return Packet(here, there, protocol, size=size, df=protocol != ICMP)
    receiver = instance_at(plan, there)
    if port is None and receiver is not None and protocol == TCP:
        port = web_port(plan, receiver)
    if port is None and receiver is None:
        port = listener_port(plan, there, protocol)
    if port is None:
        raise SettingError(f"{destination}: to which port? {there}:80, for example")
    return Packet(here, there, protocol, own, port, size=size, df=protocol == TCP)


def _request(text: str | None, headers: tuple[str, ...], packet: Packet) -> Request | None:
    """Return the request that is asked about; a client that asks an address names that as its Host."""
    if text is None:
        if headers:
            raise SettingError("--header: of which request? Give --request, too")
        return None
    method, _, target = text.partition(" ")
    if not method.isalpha() or not target.startswith("/"):
        raise SettingError(f'--request {text!r}: expected a method and a path, such as "GET /api"')
    pairs = [each.partition(":") for each in headers]
    for name, colon, _ in pairs:
        if not name or not colon:
            raise SettingError(f"--header {name}: expected NAME:VALUE")
    given = [(name, value.strip()) for name, _, value in pairs]
    if _is_address(packet.destination) and not any(name.lower() == "host" for name, _ in given):
        given.append(("Host", packet.destination))
    return Request(method.upper(), target, tuple(given))


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True


def _end(text: str) -> tuple[str, int | None]:
    """Split a name or an address from its port."""
    name, port = text, ""
    if text.startswith("["):
        name, _, port = text[1:].partition("]")
        port = port.removeprefix(":")
    elif text.count(":") == 1:
        name, _, port = text.partition(":")
    if not port and name == text.strip("[]"):
        return name, None
    if not (port.isascii() and port.isdecimal() and 0 < int(port) < 65536):
        raise SettingError(f"{text}: expected a port from 1 to 65535 behind the name")
    return name, int(port)


# ---- text ----
def _changes(now: Exchange, then: Exchange, after: tuple[str, ...]) -> Iterator[str]:
    """What is other after a change than now."""
    yield from wrapped(f"After {', then '.join(after)}:", "", "  ")
    rows = [
        ("outcome", conclusion(now), conclusion(then)),
        ("targets there", _targets(now.there), _targets(then.there)),
        ("targets back", _targets(now.back), _targets(then.back)),
    ]
    changed = [row for row in rows if row[1] != row[2]]
    for what, before, later in changed:
        yield from wrapped(f"{what}: {before}  =>  {later}", "  ", "    ")
    if not changed:
        yield "  nothing changes for this packet and its answer"
    yield ""


def _targets(way: Way | None) -> str:
    """The targets that a way meets, by node, with all that open choices allow."""
    if way is None:
        return "none"
    met: dict[str, dict[str, None]] = {}
    for one in way.alternatives or (way,):
        for node, target in one.targets:
            met.setdefault(node, {})[target] = None
    return ", ".join(" or ".join(targets) for targets in met.values()) or "none"
