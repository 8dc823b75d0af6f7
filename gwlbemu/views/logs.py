"""What the processes of a lab write: what each of them prints, and the access logs of application load balancers.

A log is read as it grows, whoever begins it anew meanwhile (see `ports.logfile`).
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from gwlbemu.command import command
from gwlbemu.core.elb.application_attributes import ApplicationAttributes
from gwlbemu.core.elb.balancer_types import APPLICATION
from gwlbemu.errors import LabError, SettingError, UnknownNameError
from gwlbemu.lab.running import RunningLab
from gwlbemu.ports.logfile import older
from gwlbemu.topology.plan.values import LoadBalancer

ENABLED = "access_logs.s3.enabled"


class Tail:
    """The lines of one log, from its beginning, as they are written. What stands in the part before comes first."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._inode, self._offset, self._rest = 0, 0, b""

    def lines(self) -> list[str]:
        """Return the whole lines that have come since the last call."""
        data = self._rest + self._new()
        whole, _, self._rest = data.rpartition(b"\n")
        return whole.decode(errors="replace").splitlines() if whole else []

    def last(self) -> list[str]:
        """Return what has no end yet, of a process that writes no more."""
        rest, self._rest = self._rest, b""
        return [rest.decode(errors="replace")] if rest else []

    def _new(self) -> bytes:
        try:
            with self._path.open("rb") as file:
                status = os.fstat(file.fileno())
                before = self._before(status.st_ino) if status.st_ino != self._inode else b""
                if status.st_ino != self._inode or status.st_size < self._offset:  # begun anew
                    self._inode, self._offset = status.st_ino, 0
                file.seek(self._offset)
                data = file.read()
                self._offset += len(data)
                return before + data
        except FileNotFoundError:
            return b""

    def _before(self, inode: int) -> bytes:
        """What the part before has that was not read: all of it at first, else what came since."""
        try:
            with older(self._path).open("rb") as file:
                was = os.fstat(file.fileno()).st_ino
                if self._inode in (0, was) and was != inode:
                    file.seek(self._offset if self._inode else 0)
                    return file.read()
        except FileNotFoundError:
            pass
        return b""


class Logs:
    """Several logs as one. With `by_time`, lines that come together are put into the order of their second word."""

    def __init__(self, paths: Iterable[Path], *, by_time: bool = False) -> None:
        self._tails = [Tail(path) for path in paths]
        self._by_time = by_time

    def lines(self, *, at_end: bool = False) -> list[str]:
        """Return what has come since the last call, `at_end` with what has no line end."""
        found = [line for tail in self._tails for line in [*tail.lines(), *(tail.last() if at_end else ())]]
        return sorted(found, key=_instant) if self._by_time else found


def _instant(line: str) -> str:
    """The instant of a line of an access log: ISO 8601, which sorts as text (ALB guide, Access log entries)."""
    return line.split(" ", 2)[1] if line.count(" ") > 1 else ""


def process_log(lab: RunningLab, name: str) -> Logs:
    """Return what the process `name` prints. Raises UnknownNameError when the lab has none."""
    known = sorted(process.name for process in lab.processes())
    if name not in known:
        raise UnknownNameError(f"no process {name} in lab {lab.plan.lab}; there are: {', '.join(known)}")
    return Logs([lab.state.log(name)])


def access_log(lab: RunningLab, name: str) -> Logs:
    """Return the access log of an application load balancer, of all its nodes by time, or of one of its nodes.

    Raises UnknownNameError for a name that no such has, LabError where there is none because access logs are off.
    """
    balancer, nodes = _logging(lab, name)
    paths = [lab.state.access_log(node) for node in nodes]
    if not any(path.exists() for path in paths) and (why := why_no_access_log(lab, balancer)):
        raise LabError(why)
    return Logs(paths, by_time=True)


def access_logs_off(lab: RunningLab, name: str) -> str:
    """Return the sentence that says that access logs are off, and which command turns them on; "" while they are on."""
    return why_no_access_log(lab, _logging(lab, name)[0])


def why_no_access_log(lab: RunningLab, balancer: LoadBalancer) -> str:
    """Return why nothing comes to the access log of a load balancer now; "" where something does."""
    if ApplicationAttributes.from_text(load_balancer=balancer.attributes).access_logs:
        return ""
    words = command("set", "--lab", lab.plan.lab, balancer.name, f"{ENABLED}=true")
    return f"access logs of {balancer.name} are off ({words})"


def _logging(lab: RunningLab, name: str) -> tuple[LoadBalancer, Sequence[str]]:
    """The load balancer that `name` is, or is a node of, and the names of the nodes that are meant."""
    nodes = {node.name: node.load_balancer for node in lab.plan.application_nodes}
    balancers = {each.name: each for each in lab.plan.load_balancers}
    if name in nodes:
        return balancers[nodes[name]], [name]
    if name in balancers and balancers[name].type == APPLICATION:
        return balancers[name], [node for node, balancer in nodes.items() if balancer == name]
    if name in balancers or name in lab.plan.node_types:
        kind = balancers[name].type if name in balancers else lab.plan.node_types[name]
        raise SettingError(f"{name} is of a {kind} load balancer: access logs are of application load balancers")
    known = [each.name for each in balancers.values() if each.type == APPLICATION]
    raise UnknownNameError(
        f"no application load balancer {name} in lab {lab.plan.lab}; there are: {', '.join([*known, *nodes]) or 'none'}"
    )
