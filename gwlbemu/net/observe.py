"""How the things that a lab owns are now; reads the record and the kernel, changes nothing and waits for nobody."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from gwlbemu.net import namespaces, processes
from gwlbemu.net.record import ROOT, OwnedNamespace, OwnedProcess, read


@dataclass(frozen=True, slots=True)
class Observation:
    """What stands in the record, sorted by how it is."""

    processes: tuple[tuple[OwnedProcess, str], ...]  # with "running", "frozen" or "dead"
    missing: tuple[OwnedNamespace, ...]  # namespaces whose name is gone or somebody else's

    @property
    def whole(self) -> bool:
        """Whether everything is there and runs."""
        return not self.missing and all(state == "running" for _, state in self.processes)


def observe(lab: str, *, root: Path = ROOT) -> Observation:
    """Look at every recorded thing of a lab; of processes of one name only the last, the one that was started last."""
    owned = read(lab, root=root)
    latest = {entry.name: entry for entry in owned.processes}
    return Observation(
        tuple((entry, processes.state(entry.id)) for entry in latest.values()),
        tuple(
            entry
            for entry in owned.namespaces
            if namespaces.identity_of(namespaces.path_of(entry.name)) != entry.identity
        ),
    )
