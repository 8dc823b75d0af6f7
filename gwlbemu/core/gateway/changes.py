"""What the fast path has to learn, in the order in which it happened."""

from __future__ import annotations

from gwlbemu.core.gateway.flows import Flow, flow_identity
from gwlbemu.core.gateway.records import FlowChange, FlowChangeKind, TargetChange
from gwlbemu.core.gateway.targets import GatewayMember


class Changes:
    """Collects the changes of flows and targets; unless `collect`, it is given them and forgets them at once."""

    def __init__(self, collect: bool) -> None:
        self._collect = collect
        self._changes: list[FlowChange | TargetChange] = []

    def take(self) -> list[FlowChange | TargetChange]:
        """Return what was noted since the last call."""
        taken, self._changes = self._changes, []
        return taken

    def flow_placed(self, flow: Flow) -> None:
        """Note that the fast path may carry a flow from now on."""
        self._note(FlowChangeKind.PLACED, flow)

    def flow_updated(self, flow: Flow) -> None:
        """Note that a flow has another target, cookie or idle timeout, or that its silence begins anew."""
        self._note(FlowChangeKind.UPDATED, flow)

    def flow_removed(self, flow: Flow) -> None:
        """Note that the packets of a flow come to the core again."""
        self._note(FlowChangeKind.REMOVED, flow)

    def target_held(self, member: GatewayMember, held: bool) -> None:
        """Note that every packet of a target's flows needs a decision, or no longer does."""
        if self._collect:
            self._changes.append(TargetChange(held, member.address))

    def _note(self, kind: FlowChangeKind, flow: Flow) -> None:
        if self._collect:
            self._changes.append(
                FlowChange(
                    kind,
                    *flow_identity(flow),
                    flow.target.id,
                    flow.target.address,
                    flow.cookie,
                    flow.tunnel.source_port,
                    flow.idle_timeout,
                )
            )
