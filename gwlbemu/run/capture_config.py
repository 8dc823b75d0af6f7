"""What the capture process is told: its taps, where to write, and the names for its comments."""

from __future__ import annotations

import json
import socket
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from gwlbemu.capture.annotate import Names
from gwlbemu.net.namespaces import path_of
from gwlbemu.wire.aws import parse_endpoint

if TYPE_CHECKING:
    from gwlbemu.run.state import State
    from gwlbemu.topology.plan import Plan


@dataclass(frozen=True, slots=True)
class TapConfig:
    name: str
    namespace: str  # path
    device: str


@dataclass(frozen=True, slots=True)
class CaptureConfig:
    """Everything the capture process knows at its start."""

    lab: str
    taps: tuple[TapConfig, ...]
    nodes: dict[str, str]  # name -> address; packets that a node dropped appear on an interface of its name
    endpoints: dict[str, str]  # vpce id -> name
    targets: dict[str, str]  # address -> name
    folder: str
    file_bytes: int
    files: int
    snapshot_length: int
    control: str
    discards: str

    def to_json(self) -> str:
        return json.dumps(asdict(self), indent=1)

    @classmethod
    def from_json(cls, text: str) -> CaptureConfig:
        """Read what `to_json` wrote."""
        data = json.loads(text)
        return cls(**data | {"taps": tuple(TapConfig(**each) for each in data["taps"])})

    def names(self) -> Names:
        return Names(
            {parse_endpoint(identity): name for identity, name in self.endpoints.items()},
            {socket.inet_aton(address): name for address, name in self.targets.items()},
            {socket.inet_aton(address): name for name, address in self.nodes.items()},
        )


def capture_config_for(plan: Plan, state: State) -> str:
    """The configuration of the lab's capture, as JSON."""
    balancers = {each.target_group for each in plan.load_balancers}
    return CaptureConfig(
        lab=plan.lab,
        taps=tuple(TapConfig(each.name, str(path_of(each.namespace)), each.device) for each in plan.taps),
        nodes={each.name: each.address for each in plan.nodes},
        endpoints={each.endpoint_id: each.name for each in plan.endpoints},
        targets={
            target.address: target.id
            for group in plan.target_groups
            if group.name in balancers
            for target in group.targets
        },
        folder=str(state.capture_folder),
        file_bytes=plan.capture.file_size_mib << 20,
        files=plan.capture.files,
        snapshot_length=plan.capture.snapshot_length,
        control=str(state.control("capture")),
        discards=str(state.control("discards")),
    ).to_json()
