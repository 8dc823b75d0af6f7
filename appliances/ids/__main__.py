"""`python -m appliances.ids`."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path

from appliances import process
from appliances.action import RETURN, Action, Discard
from appliances.frames import FrameLoop
from appliances.ids import rules as rule_language
from appliances.ids.detect import Detector
from appliances.ids.eve import alert
from appliances.inner import read
from appliances.tunnel import Received
from gwlbemu.errors import GwlbemuError, WireError
from gwlbemu.ports.logfile import LogFile
from gwlbemu.ports.loop import Loop
from gwlbemu.ports.port import Port

DESCRIPTION = """\
An intrusion detection system behind a Gateway Load Balancer: looks into the payloads of both directions and returns
everything; alerts are written as EVE JSON. With --ips it keeps what a drop rule matches."""


class Ids:
    """Inspects a packet, writes its alerts, and returns it unless told to keep it."""

    def __init__(self, detector: Detector, write: Callable[[str], object], clock: Callable[[], float]) -> None:
        self._detector = detector
        self._write = write
        self._clock = clock

    def decide(self, received: Received, *, now: float) -> Action:
        """Give the one action for a packet from the load balancer; what cannot be read is returned unseen."""
        try:
            inner = read(received.packet)
        except WireError:
            return RETURN
        finding = self._detector.inspect(received.endpoint, inner, now=now)
        for rule in finding.alerts:
            self._write(alert(rule, finding, received, inner, at=self._clock()))
        return Discard("dropped by rule") if finding.keep else RETURN


def main(arguments: Sequence[str]) -> int:
    """Run until a signal; return the exit code, 2 for a rule file or a log that is refused."""
    parser = process.parser("appliances.ids", DESCRIPTION, rule_language.__doc__ or "")
    parser.add_argument("--rules", type=Path, required=True, metavar="FILE.rules", help="Suricata rules, see below")
    parser.add_argument("--eve", type=Path, required=True, metavar="FILE", help="append alerts here, as EVE JSON lines")
    parser.add_argument("--ips", action="store_true", help="do not return what a drop rule matches")
    options = parser.parse_args(arguments)
    try:
        detector = Detector(rule_language.load(options.rules), ips=options.ips)
        eve = LogFile(options.eve)
    except GwlbemuError as error:
        return process.failure(options.name, error)
    with closing(eve):
        ids = Ids(detector, eve.write, time.time)

        def mover(port: Port, loop: Loop) -> FrameLoop:
            return FrameLoop(port, ids.decide, loop.call_at, faults=loop.faults, more=detector.counters)

        return process.run(options, mover, log=eve)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
