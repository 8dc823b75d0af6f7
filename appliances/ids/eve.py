"""Alerts as Suricata writes them: EVE JSON (Suricata user guide, EVE JSON Format), one object per line.

`tunnel` names the outer packet, as Suricata does for a packet it found inside a tunnel; `gwlb` is ours: the endpoint
and the flow cookie it came with.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime

from appliances.ids.detect import Inspection
from appliances.ids.rules import Rule
from appliances.inner import Inner
from appliances.networks import address_text
from appliances.tunnel import Received
from gwlbemu.wire.aws import format_endpoint
from gwlbemu.wire.protocols import ICMPV6, NAMES

NAMES_IN_EVE = {**{number: name.upper() for number, name in NAMES.items()}, ICMPV6: "IPv6-ICMP"}
GENERATOR = 1  # gid of every rule without a gid keyword


def alert(rule: Rule, finding: Inspection, received: Received, inner: Inner, *, at: float) -> str:
    """Return the EVE line of one rule that one packet made true; `at` is seconds since 1970."""
    ip, outer = inner.ip, received.outer
    entry: dict[str, object] = {
        "timestamp": datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%S.%f%z"),
        "flow_id": finding.flow_id,
        "event_type": "alert",
        "src_ip": address_text(ip.source),
        "dest_ip": address_text(ip.destination),
        "proto": NAMES_IN_EVE.get(ip.protocol, str(ip.protocol)),
    }
    if ip.source_port or ip.destination_port:
        entry |= {"src_port": ip.source_port, "dest_port": ip.destination_port}
    if inner.icmp is not None:
        entry |= {"icmp_type": inner.icmp.type, "icmp_code": inner.icmp.code}
    entry |= {
        "direction": "to_server" if finding.to_server else "to_client",
        "tunnel": {
            "src_ip": address_text(outer.source),
            "src_port": outer.source_port,
            "dest_ip": address_text(outer.destination),
            "dest_port": outer.destination_port,
            "proto": "UDP",
            "depth": 1,
        },
        "gwlb": {"endpoint": format_endpoint(received.endpoint), "flow_cookie": f"{received.cookie:08x}"},
        "alert": {
            "action": "blocked" if finding.keep and rule.action == "drop" else "allowed",
            "gid": GENERATOR,
            "signature_id": rule.sid,
            "rev": rule.rev,
            "signature": rule.message,
            "category": rule.category,
            "severity": rule.priority,
        },
    }
    return json.dumps(entry)
