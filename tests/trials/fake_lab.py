"""A lab without processes: nodes that keep traces as the real ones do, and remember what they were asked."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from gwlbemu.errors import LabError, TraceGoneError


@dataclass
class FakeLab:
    """Nodes `node-a` and `node-b`. `frozen` ones do not answer; events are put into `events` by the test."""

    frozen: set[str] = field(default_factory=set)
    asked: list[tuple[str, str]] = field(default_factory=list)
    events: dict[str, list[dict[str, Any]]] = field(default_factory=lambda: {"node-a": [], "node-b": []})
    matches: dict[str, Any] = field(default_factory=dict)
    live: set[tuple[str, str]] = field(default_factory=set)

    def ask_nodes(self, verb: str, **arguments: Any) -> tuple[dict[str, dict[str, Any]], dict[str, str]]:
        """What `views.ask.ask_nodes` does with a lab."""
        silent = {name: f"{name} is frozen; its log is {name}.log" for name in self.events if name in self.frozen}
        return {name: self.call(name, verb, **arguments) for name in self.events if name not in silent}, silent

    def call(self, name: str, verb: str, *, within_seconds: float = 30.0, **arguments: Any) -> dict[str, Any]:
        self.asked.append((name, verb))
        if name in self.frozen:
            raise LabError(f"{name} is frozen; its log is {name}.log")
        if verb == "trace_start":
            self.matches[name] = arguments["match"]
            trace = f"{name}-{len(self.asked)}"
            self.live.add((name, trace))
            return {"trace": trace, "lease_seconds": 5.0}
        if (name, arguments["trace"]) not in self.live:
            raise TraceGoneError(f"trace {arguments['trace']} is over")
        if verb == "trace_stop":
            self.live.discard((name, arguments["trace"]))
        if verb == "trace_renew":
            return {}
        events = self.events[name]
        return {"events": events[arguments.get("after", 0) :], "count": len(events)}

    def count(self, verb: str) -> int:
        """How often a node was asked for `verb`."""
        return [each for _, each in self.asked].count(verb)


def event(number: int, *, at: float, port: int = 80) -> dict[str, Any]:
    """A verdict as a node reports it, on a TCP packet from port 1000 to `port` of 10.0.0.2."""
    return {
        "number": number,
        "time": at,
        "endpoint": "vpce",
        "direction": "out",
        "identity": [6, 1000, port, 7, 40],
        "source": "10.0.0.1",
        "destination": "10.0.0.2",
        "verdict": "to-target",
        "target": "fw",
        "cookie": "0x00000001",
        "reason": "",
    }
