"""The doctor: what is wrong with a topology file, or with a lab that is up. Reads, and changes nothing."""

from __future__ import annotations

from dataclasses import dataclass

from gwlbemu.command import command
from gwlbemu.errors import LabError, NetError, TopologyError
from gwlbemu.lab.running import RunningLab, read_plan
from gwlbemu.lab.topology_file import read_topology
from gwlbemu.net.inside import inside
from gwlbemu.net.namespaces import path_of
from gwlbemu.ports.interface import mtu
from gwlbemu.review.finding import HINT, Finding
from gwlbemu.review.live import live_findings
from gwlbemu.review.review import planned_mtus, review, sorted_findings, with_changes
from gwlbemu.topology.file.document import Path, dotted, line_of
from gwlbemu.topology.file.parse import Parsed, parse
from gwlbemu.topology.plan.resolve import resolve
from gwlbemu.topology.plan.values import Plan
from gwlbemu.views.seen import read_seen


@dataclass(frozen=True, slots=True)
class Report:
    """What was found, and the file whose lines the findings name."""

    parsed: Parsed
    findings: tuple[Finding, ...]

    @property
    def sound(self) -> bool:
        """Nothing that needs mending; hints do not count."""
        return all(finding.severity == HINT for finding in self.findings)

    def place(self, finding: Finding) -> tuple[str, int, str]:
        """The file, the line, and the key as a person would write it."""
        return self.place_of(finding.path)

    def place_of(self, path: Path) -> tuple[str, int, str]:
        """The file, the line, and a path as a person would write it."""
        return self.parsed.source, line_of(self.parsed.lines, path), dotted(path)


def examine_file(text: str, source: str) -> Report:
    """What is wrong with a topology file, without root. Raises TopologyError for a file that AWS would refuse."""
    parsed = parse(text, source)
    return Report(parsed, tuple(review(parsed.topology, mtus=planned_mtus(resolve(parsed)))))


def examine_lab(lab: RunningLab) -> Report:
    """What is wrong with a running lab: its topology with what was changed since, and what its nodes say.

    Raises LabError for a lab that came up from no file.
    """
    parsed, plan = parse(*text_of_lab(lab)), read_plan(lab.state)
    topology = with_changes(parsed.topology, plan)
    mtus = planned_mtus(plan) | measured_mtus(plan)
    found = [*review(topology, mtus=mtus), *live_findings(topology, plan, read_seen(lab))]
    return Report(parsed, tuple(sorted_findings(found)))


def measured_mtus(plan: Plan) -> dict[str, int]:
    """The MTU that the interface of every appliance has now; without those that cannot be entered."""
    found = {}
    for instance in plan.instances:
        if instance.appliance:
            try:
                with inside(path_of(instance.namespace)):
                    found[instance.name] = mtu("eth0")
            except (NetError, OSError):
                continue
    return found


def text_of_lab(lab: RunningLab) -> tuple[str, str]:
    """Return the file as it was when the lab came up, and its name: its own as long as it still says the same.

    Raises LabError for a lab that came up from no file.
    """
    if not lab.state.topology.exists():
        raise LabError(f"lab {lab.plan.lab} did not come up from a file: name one ({command('doctor', 'FILE')})")
    text, _ = read_topology(lab.state.topology)
    try:
        same = read_topology(lab.plan.source)[0] == text
    except TopologyError:
        same = False
    return text, lab.plan.source if same else str(lab.state.topology)
