"""What a drill does to a lab, and how it puts it back: policies, events, recovery; and how it lets time pass.

The nodes' clocks are moved only while nothing but an AWS timer has to pass: the rest of a health check's interval, the
deregistration delay, the propagation delay. Every probe is a real one and takes the time it takes.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection

from gwlbemu.errors import LabError
from gwlbemu.lab import change, failure
from gwlbemu.lab.running import RunningLab
from gwlbemu.topology.plan.values import Target, TargetGroup
from gwlbemu.trials.drill.outcome import STALL_SECONDS, TERMINATE, ClockJump
from gwlbemu.trials.drill.participants import group_with, instance_of
from gwlbemu.trials.drill.subject import Subject
from gwlbemu.views.targets import read_targets

BETWEEN_JUMPS_SECONDS = 0.35  # seconds between two jumps, so that every live flow has packets in between
POLL = 0.05
RECOVERY_SECONDS = 60.0
FAILOVER = ("target_failover.on_deregistration", "target_failover.on_unhealthy")
RESETS = ("send_tcp_reset.on_deregistration.enabled", "send_tcp_reset.on_unhealthy.enabled")
TERMINATIONS = (
    "target_health_state.unhealthy.connection_termination.enabled",
    "deregistration_delay.connection_termination.enabled",
)
RESET_ON_IDLE = "send_tcp_reset.on_idle_timeout.enabled"
_KINDS = {"kill": "instance", "freeze": "process", "zone": "zone"}


def set_policy(lab: RunningLab, subject: Subject, policy: str) -> None:
    """Set the attributes of every group of a gateway load balancer. `reset` sets the listener's as well: the end whose
    packet comes second meets an unknown flow, and would not be told otherwise. Of a network load balancer's groups
    `terminate` and `keep` say whether connections of lost targets end; an application load balancer has no policy.
    Raises SettingError where AWS refuses it.
    """
    if subject.is_application:
        return
    if subject.is_network:
        for group in subject.groups:
            change.set_attributes(lab, group.name, dict.fromkeys(TERMINATIONS, str(policy == TERMINATE).lower()))
        return
    failover = "rebalance" if policy == "rebalance" else "no_rebalance"
    reset = "true" if policy == "reset" else "false"
    for group in subject.groups:
        change.set_attributes(lab, group.name, dict.fromkeys(FAILOVER, failover) | dict.fromkeys(RESETS, reset))
    if policy == "reset":
        for balancer in subject.balancers:
            change.set_attributes(lab, balancer.name, {RESET_ON_IDLE: "true"})


def put_policy_back(lab: RunningLab, subject: Subject) -> None:
    """Give every attribute that `set_policy` sets the value that it has in `subject`."""
    if subject.is_application:
        return
    keys = TERMINATIONS if subject.is_network else (*FAILOVER, *RESETS)
    for group in subject.groups:
        change.set_attributes(lab, group.name, {key: group.attributes[key] for key in keys})
    if not subject.is_network:
        for balancer in subject.balancers:
            change.set_attributes(lab, balancer.name, {RESET_ON_IDLE: balancer.listener_attributes[RESET_ON_IDLE]})


class DrillEvent:
    """One event, and what undoes it. `name` is a target's id, or a zone."""

    def __init__(self, lab: RunningLab, subject: Subject, event: str, name: str) -> None:
        self._lab, self._event, self._name = lab, event, name
        self._group: TargetGroup | None = None
        self._target: Target | None = None
        if event != "zone":
            self._group = group_with(subject.groups, name)
            self._target = next(target for target in self._group.targets if target.id == name)
            self._instance = instance_of(lab.plan, self._group, name)

    def apply(self) -> None:
        """Let it happen. Raises what `lab.failure` and `lab.change` raise."""
        if self._event == "deregister":
            assert self._group is not None
            change.deregister(self._lab, self._group.name, self._name)
        else:
            failure.fail(self._lab, _KINDS[self._event], self._name if self._event == "zone" else self._instance)

    def undo(self) -> None:
        """Heal what `apply` broke; harmless where that is healed already."""
        if self._event == "deregister":
            assert self._group is not None
            assert self._target is not None
            foreign = self._target.zone if self._group.target_type == "ip" else None
            change.register(self._lab, self._group.name, self._name, foreign)
        else:
            failure.heal(self._lab, _KINDS[self._event], self._name if self._event == "zone" else self._instance)


class NodeClocks:
    """Lets time pass for the nodes and remembers every jump. `meanwhile` is called while it waits."""

    def __init__(self, lab: RunningLab, subject: Subject, meanwhile: Callable[[], None]) -> None:
        self._lab, self._subject, self._meanwhile = lab, subject, meanwhile
        self._longest_jump = subject.idle_seconds / 3  # no flow with packets may look idle
        self.jumps: list[ClockJump] = []

    def skip(self, seconds: float) -> None:
        """Let `seconds` pass on the nodes' clocks, in jumps."""
        while seconds > 0:
            jump = min(seconds, self._longest_jump)
            at = time.monotonic()
            for node in self._subject.nodes:
                self._lab.call(node.name, "advance", seconds=jump)
            self.jumps.append(ClockJump(at, jump))
            seconds -= jump
            self.wait(BETWEEN_JUMPS_SECONDS)

    def wait(self, seconds: float, until: Callable[[], bool] = lambda: False) -> bool:
        """Wait in real time; True as soon as `until()` is."""
        give_up_at = time.monotonic() + seconds
        while not until():
            if time.monotonic() >= give_up_at:
                return False
            self._meanwhile()
            time.sleep(POLL)
        return True

    def since(self, at: float) -> float:
        """Seconds that have passed since then on the nodes' clocks."""
        return time.monotonic() - at + sum(jump.seconds for jump in self.jumps if jump.at >= at)


def wait_noticed(
    lab: RunningLab, subject: Subject, clock: NodeClocks, targets: Collection[str], blind_zone: str, *, can_be: bool
) -> bool:
    """Let health checks find that `targets` have failed, at every node outside `blind_zone` that uses them.

    What `can_be` found gets a longer time: a busy machine is late with probes.
    """
    checks = [group.health_check for group in subject.groups if _ids(group) & set(targets)]
    watching = {node.name for node in subject.nodes if node.zone != blind_zone}

    def found() -> bool:
        seen = [each for each in read_targets(lab).complete() if each.id in targets and each.node in watching]
        return all(each.state.startswith("unhealthy") for each in seen)  # also unhealthy.draining

    clock.wait(2 * STALL_SECONDS)  # before the first jump, so that it falls into the silence of the flows concerned
    probes = max(check.unhealthy_threshold_count for check in checks) + 1
    for _ in range(2 * probes if can_be else probes):
        clock.skip(max(check.interval_seconds - check.timeout_seconds for check in checks))
        if clock.wait(max(check.timeout_seconds for check in checks) + 0.3, found):
            return True
    return False


def wait_recovered(lab: RunningLab, subject: Subject, clock: NodeClocks, targets: Collection[str]) -> None:
    """Let health checks find that `targets` are well again. Raises LabError when they do not."""
    interval = max(group.health_check.interval_seconds for group in subject.groups if _ids(group) & set(targets))
    nodes = {node.name for node in subject.nodes}

    def well() -> bool:
        seen = [each for each in read_targets(lab).complete() if each.id in targets and each.node in nodes]
        return bool(seen) and all(each.state in ("healthy", "unused") for each in seen)

    give_up_at = time.monotonic() + RECOVERY_SECONDS
    while not clock.wait(BETWEEN_JUMPS_SECONDS, well):
        if time.monotonic() > give_up_at:
            raise LabError(f"{', '.join(sorted(targets))} did not recover within {RECOVERY_SECONDS:g} s")
        clock.skip(interval)


def deregistration_delay(subject: Subject, target: str) -> float:
    """Return the deregistration delay of a target's group, in seconds."""
    return float(group_with(subject.groups, target).attributes["deregistration_delay.timeout_seconds"])


def _ids(group: TargetGroup) -> set[str]:
    return {target.id for target in group.targets}
