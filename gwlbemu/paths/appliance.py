"""What the program of a target does with a GENEVE datagram: the bundled ones are asked themselves.

A program of the user's own, and whatever else is not known here, is taken to return every packet as it came.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple

from appliances import inner
from appliances.action import Action, Answer, Discard, Return
from appliances.broken.modes import MODES, Situation
from appliances.firewall import rules
from appliances.firewall.judge import Decision, Judge
from appliances.ids import rules as ids_rules
from appliances.ids.detect import Detector
from appliances.tunnel import ETHERNET, IPV4, Received, read, swap, wrap
from gwlbemu.errors import WireError
from gwlbemu.topology.plan.values import Program

LINK = bytes(12) + IPV4

_policy = lru_cache(maxsize=1 << 10)(rules.parse)
_signatures = lru_cache(maxsize=1 << 10)(ids_rules.parse)


class Outcome(NamedTuple):
    """The datagram that comes back (None: it keeps the packet), why, and whether it is an answer of the appliance."""

    datagram: bytes | None
    why: str
    is_answer: bool = False


class Appliance:
    """One appliance for the length of one walk: what it has seen is what the walk showed it."""

    def __init__(self, program: Program) -> None:
        self._decisions: list[Decision] = []
        self._seen = 0
        self._decide = self._decider(program)

    def receive(self, datagram: bytes) -> Outcome:
        """Return what becomes of a datagram from a node."""
        try:
            received = read(LINK + datagram)
        except WireError as error:
            return Outcome(None, f"it cannot read the packet: {error}")
        self._seen += 1
        self._decisions.clear()
        action = self._decide(received)
        rule = f"rule {self._decisions[-1].rule}" if self._decisions else ""
        if isinstance(action, Return):
            return Outcome(swap(received.frame)[ETHERNET:], rule)
        if isinstance(action, Answer):
            return Outcome(wrap(received, action.packet)[ETHERNET:], rule, is_answer=True)
        if isinstance(action, Discard):
            return Outcome(None, rule or action.reason)
        return Outcome(action.frames[0][ETHERNET:] if action.frames else None, "")

    def _decider(self, program: Program) -> Callable[[Received], Action]:
        if program.kind == "firewall":
            allowed = program.argv[program.argv.index("--midstream") + 1] == "allow"
            policy = _policy(program.config, program.instance)
            judge = Judge(policy, midstream_allowed=allowed, report=self._decisions.append)
            return lambda received: judge.decide(received, now=0.0)
        if program.kind == "broken":
            mode = MODES.get(program.argv[program.argv.index("--mode") + 1])
            if mode is not None:
                return lambda received: mode(received, Situation(self._seen - 1, 0.0))
        if program.kind == "ids" and "--ips" in program.argv:
            detector = Detector(_signatures(program.config, program.instance), ips=True)
            return lambda received: _inspected(detector, received)
        return lambda received: Return()


def _inspected(detector: Detector, received: Received) -> Action:
    try:
        finding = detector.inspect(received.endpoint, inner.read(received.packet), now=0.0)
    except WireError:
        return Return()
    return Discard("dropped by a rule") if finding.keep else Return()
