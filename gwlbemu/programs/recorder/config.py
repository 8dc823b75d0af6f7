"""What the capture process is told: its taps, where to write, and the names for its comments."""

from __future__ import annotations

import json
import socket
from dataclasses import asdict, dataclass

from gwlbemu.capture.annotate import Names
from gwlbemu.wire.aws import parse_endpoint


@dataclass(frozen=True, slots=True)
class TapConfig:
    """An interface to record: `device` in a namespace, under a name for people."""

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
    logs: str = ""  # the folder of what the lab's processes print, which is kept small

    def to_json(self) -> str:
        """Return the text that `from_json` reads."""
        return json.dumps(asdict(self), indent=1)

    @classmethod
    def from_json(cls, text: str) -> CaptureConfig:
        """Read what `to_json` wrote."""
        data = json.loads(text)
        return cls(**data | {"taps": tuple(TapConfig(**each) for each in data["taps"])})

    def names(self) -> Names:
        """Return what comments call endpoints, targets and nodes."""
        return Names(
            {parse_endpoint(identity): name for identity, name in self.endpoints.items()},
            {socket.inet_aton(address): name for address, name in self.targets.items()},
            {socket.inet_aton(address): name for name, address in self.nodes.items()},
        )
