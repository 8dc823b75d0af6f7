"""The firewall's log: one JSON object per decision."""

from __future__ import annotations

import json
from datetime import UTC, datetime

from appliances.firewall.judge import Decision
from appliances.networks import address_text
from gwlbemu.wire.aws import format_endpoint
from gwlbemu.wire.protocols import TCP, UDP, name


def line(decision: Decision, at: float) -> str:
    """Return the log line for a decision; `at` is seconds since 1970."""
    ip = decision.ip
    flow: dict[str, str | int] = {
        "protocol": name(ip.protocol),
        "source": address_text(ip.source),
        "destination": address_text(ip.destination),
    }
    if ip.protocol in (TCP, UDP) and not ip.fragment_offset:
        flow |= {"source_port": ip.source_port, "destination_port": ip.destination_port}
    entry = {
        "time": datetime.fromtimestamp(at, UTC).isoformat(timespec="microseconds"),
        "rule": decision.rule,
        "action": decision.action,
        "flow": flow,
        "endpoint": format_endpoint(decision.endpoint),
        "cookie": f"{decision.cookie:08x}",
    }
    return json.dumps(entry)
