"""`python -m appliances.broken`."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence

from appliances import process
from appliances.action import Action
from appliances.broken.modes import MODES, Situation
from appliances.frames import FrameLoop
from appliances.tunnel import Received
from gwlbemu.ports.arguments import Arguments, number, one_of
from gwlbemu.ports.loop import Loop
from gwlbemu.ports.port import Port

DESCRIPTION = """\
An appliance that misbehaves on demand, for tests and lessons. The mode can be changed while it runs, through the
control socket: {"verb": "set", "mode": "wrong-cookie"} or {"verb": "set", "mode": "slow", "delay": 0.5}."""


LONGEST_DELAY = 3600.0  # seconds


class Broken:
    """An appliance in one of the `MODES`, which `set` changes; `delay` is in seconds, for mode slow."""

    def __init__(self, mode: str, delay: float) -> None:
        self.mode = mode
        self.delay = delay
        self._number = 0

    def decide(self, received: Received, *, now: float) -> Action:
        """Give the action of the mode for one packet."""
        situation = Situation(self._number, self.delay)
        self._number += 1
        return MODES[self.mode](received, situation)

    def set(self, request: Arguments) -> Mapping[str, object]:
        """Change mode or delay, or both."""
        mode = one_of(request, "mode", MODES, self.mode)
        self.delay = number(request, "delay", 0, LONGEST_DELAY, self.delay)
        self.mode, self._number = mode, 0
        return {"mode": self.mode, "delay": self.delay}


def main(arguments: Sequence[str]) -> int:
    """Run until a signal; return the exit code."""
    modes = "\n".join(f"  {name:20}{mode.__doc__}" for name, mode in MODES.items())
    parser = process.parser("appliances.broken", DESCRIPTION, f"modes:\n{modes}")
    parser.add_argument(
        "--mode", choices=tuple(MODES), metavar="MODE", default="no-return", help="(default: no-return)"
    )
    parser.add_argument("--delay", type=float, default=1.0, help="seconds, for mode slow (default: 1)")
    options = parser.parse_args(arguments)
    broken = Broken(options.mode, options.delay)

    def mover(port: Port, loop: Loop) -> FrameLoop:
        return FrameLoop(port, broken.decide, loop.call_at, faults=loop.faults)

    return process.run(options, mover, verbs={"set": broken.set})


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
