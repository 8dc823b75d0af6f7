"""What the appliances' own logs say about a packet: the firewall's decisions, and the IDS's alerts as EVE.

Best effort: an appliance of somebody else's logs as it likes, and a line that is not understood is passed over.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from gwlbemu.errors import plain
from gwlbemu.lab.running import RunningLab
from gwlbemu.ports.logfile import older
from gwlbemu.topology.plan.ends import owner_of
from gwlbemu.views.traces import TracedPacket
from gwlbemu.wire.protocols import TCP, UDP, name


class LoggedFlow(NamedTuple):
    """A packet's flow as an appliance sees it, in the packet's direction."""

    protocol: int
    source: str
    source_port: int
    destination: str
    destination_port: int

    @classmethod
    def of(cls, step: TracedPacket) -> LoggedFlow:
        """Return the flow of a packet that a node sent to the appliance."""
        return cls(step.protocol, step.source, step.source_port, step.destination, step.destination_port)


class ApplianceLogs:
    """The logs of a lab's appliances from now on."""

    def __init__(self, lab: RunningLab) -> None:
        self._lab = lab
        stats = {path: path.stat() for path in lab.state.all_decisions()}
        self._began_at = {(path, stat.st_ino): stat.st_size for path, stat in stats.items()}

    def sentence(self, target: str, flow: LoggedFlow) -> str:
        """Say that `target` (an instance or an address) did not return a packet of `flow`, and why if its log tells."""
        owner = owner_of(self._lab.plan, target)
        appliance = owner.name if owner else target
        path = self._lab.state.decisions(appliance)
        for entry in self._entries(path):
            reason = _firewall(entry, flow) or _ids(entry, flow)
            if reason:
                return f"{appliance} dropped it: {plain(reason)}"
        log = path if path.exists() else self._lab.state.log(appliance)
        return f"{appliance} did not return it; its log is {log}" if log.exists() else f"{appliance} did not return it"

    def _entries(self, path: Path) -> Iterator[Mapping[str, Any]]:
        """What was written since we began, newest first; the log may have been begun anew in between."""
        for line in reversed([*self._lines(older(path), path), *self._lines(path, path)]):
            try:
                entry = json.loads(line)
            except (ValueError, RecursionError):
                continue
            if isinstance(entry, dict):
                yield entry

    def _lines(self, file_path: Path, path: Path) -> list[bytes]:
        try:
            with file_path.open("rb") as file:
                known = self._began_at.get((path, os.fstat(file.fileno()).st_ino))
                if known is None and file_path != path and any(each == path for each, _ in self._began_at):
                    return []  # older than what was there when we began
                file.seek(known or 0)
                return file.read().splitlines()
        except OSError:
            return []


def _firewall(entry: Mapping[str, Any], flow: LoggedFlow) -> str:
    logged = entry.get("flow")
    wanted: dict[str, object] = {
        "protocol": name(flow.protocol),
        "source": flow.source,
        "destination": flow.destination,
    }
    if flow.protocol in (TCP, UDP):
        wanted |= {"source_port": flow.source_port, "destination_port": flow.destination_port}
    if logged != wanted or entry.get("action") == "allow":
        return ""
    return f"rule {entry.get('rule')} ({entry.get('action')})"


def _ids(entry: Mapping[str, Any], flow: LoggedFlow) -> str:
    alert = entry.get("alert")
    ends = (entry.get("src_ip"), entry.get("src_port", 0), entry.get("dest_ip"), entry.get("dest_port", 0))
    if not isinstance(alert, dict) or alert.get("action") != "blocked" or ends != flow[1:]:
        return ""
    return f"rule {alert.get('signature_id')} ({alert.get('signature')})"
