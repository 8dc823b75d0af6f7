"""What one run measured, as plain values: written to JSON, read back for a comparison."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field

from gwlbemu.errors import SettingError

FORMAT = 1


@dataclass(slots=True)
class Results:
    """Raw series with everything a reader needs to judge them. Keys: experiment, then path; one number per round.

    `subject` is the path that the figures are about; `missing` says why a path (or "experiment/path") has no number.
    """

    machine: dict[str, str] = field(default_factory=dict)
    settings: dict[str, str] = field(default_factory=dict)
    subject: str = "fast"
    series: dict[str, dict[str, list[float]]] = field(default_factory=dict)
    loss: dict[str, dict[str, list[float]]] = field(default_factory=dict)  # part of what was sent, 0 to 1
    missing: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def add(self, experiment: str, path: str, value: float, *, loss: float | None = None) -> None:
        """Keep one round's number."""
        self.series.setdefault(experiment, {}).setdefault(path, []).append(value)
        if loss is not None:
            self.loss.setdefault(experiment, {}).setdefault(path, []).append(loss)

    def to_json(self) -> str:
        """Return the text that `from_json` reads."""
        return json.dumps({"format": FORMAT, **asdict(self)}, indent=1) + "\n"

    @classmethod
    def from_json(cls, text: str) -> Results:
        """Read what `to_json` wrote; SettingError for anything else."""
        try:
            data = json.loads(text)
            if data.pop("format") != FORMAT:
                raise SettingError("results of another version of gwlbemu bench")
            return cls(**data)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise SettingError("not a result of gwlbemu bench --json") from error
