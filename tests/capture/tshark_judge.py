"""What `inspect` says of a capture, held to what tshark says of it, field by field.

    python -m tests.capture.tshark_judge FILE...

Compared is every IP packet that we tell of, with its upper layer and each tunnel. tshark goes on inside tunnels that
we do not open; a layer that only it has is counted, not a difference. So is a layer that tshark calls malformed.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from gwlbemu.capture.checks import Check, State, judge_layer
from gwlbemu.capture.dissect import Dissection, Layer, dissect
from gwlbemu.capture.packet import CapturedPacket
from gwlbemu.capture.reader import CaptureReader
from gwlbemu.capture.render import dictionary
from gwlbemu.capture.text import address_text, tcp_head
from gwlbemu.capture.tunnels import TunnelLayer
from gwlbemu.wire.protocols import HOP_BY_HOP, ICMP, ICMPV6, TCP, UDP

Fields = dict[str, str]
OURS = "frame vlan ip ipv6 tcp udp icmp icmpv6 geneve vxlan"
OPTIONS = (
    "ip.defragment:FALSE", "ipv6.defragment:FALSE", "ip.check_checksum:TRUE", "tcp.check_checksum:TRUE",
    "udp.check_checksum:TRUE", "udp.ignore_ipv6_zero_checksum:FALSE", "tcp.relative_sequence_numbers:FALSE",
    "tcp.desegment_tcp_streams:FALSE", "tcp.analyze_sequence_numbers:FALSE", "ip.use_geoip:FALSE",
)  # fmt: skip
STATES = {"0": State.WRONG, "1": State.RIGHT, "2": State.UNJUDGED, "3": State.ABSENT, "4": State.WRONG}
UPPER = {TCP: "tcp", UDP: "udp", ICMP: "icmp", ICMPV6: "icmpv6"}


@dataclass
class Verdict:
    """What came of it: how many packets and fields were compared, differences in words, what only one side had."""

    packets: int = 0
    fields: int = 0
    differences: list[str] = field(default_factory=list)
    aside: Counter[str] = field(default_factory=Counter)

    def compare(self, where: str, name: str, ours: object, theirs: object) -> None:
        """Note a difference between two values."""
        self.fields += 1
        if str(ours) != str(theirs):
            self.differences.append(f"{where}: {name}: ours {ours}, tshark's {theirs}")


def judge_file(path: Path, verdict: Verdict) -> None:
    """Compare one capture; packets behind the place where we stop reading are a difference."""
    with path.open("rb") as file:
        reader = CaptureReader(file)
        ours = list(reader)
    theirs = tshark(path)
    if len(ours) != len(theirs):
        verdict.differences.append(f"{path.name}: {len(ours)} packets, tshark has {len(theirs)}; {reader.ending}")
    for captured, layers in zip(ours, theirs, strict=False):
        verdict.packets += 1
        _judge_packet(f"{path.name} packet {captured.number}", captured, layers, verdict)


def tshark(path: Path) -> list[list[tuple[str, Fields]]]:
    """Return each packet's layers in their order, with tshark's fields."""
    options = [word for option in OPTIONS for word in ("-o", option)]
    command = ["tshark", "-n", *options, "-r", str(path), "-T", "json", "--no-duplicate-keys"]
    text = subprocess.run(command, capture_output=True, check=False).stdout.decode(errors="replace")
    return [_layers(packet["_source"]["layers"]) for packet in json.loads(text or "[]", strict=False)]


def _layers(layers: dict[str, object]) -> list[tuple[str, Fields]]:
    found = {
        name: [_flat(one) for one in (value if isinstance(value, list) else [value])] for name, value in layers.items()
    }
    frame = found["frame"][0]
    ordered = [("frame", frame)]
    left = {name: iter(each) for name, each in found.items()}
    for name in frame["frame.protocols"].split(":"):
        ordered.append((name, next(left.get(name, iter(())), {})))
    return ordered


def _flat(value: object) -> Fields:
    """A layer's own fields; a packet that an error quotes is not among them."""
    flat: Fields = {}
    if isinstance(value, dict):
        for name, each in value.items():
            if isinstance(each, dict):
                if name not in UPPER.values() and name not in ("ip", "ipv6"):
                    flat = _flat(each) | flat
            elif isinstance(each, list):
                flat[name] = ",".join(map(str, each))
            else:
                flat[name] = str(each)
    return flat


def _judge_packet(where: str, captured: CapturedPacket, theirs: list[tuple[str, Fields]], verdict: Verdict) -> None:
    frame = theirs[0][1]
    ours = dissect(captured)
    verdict.compare(where, "length", captured.original_length, frame["frame.len"])
    verdict.compare(where, "captured", len(captured.data), frame["frame.cap_len"])
    seconds, _, ticks = frame["frame.time_epoch"].partition(".")
    verdict.compare(where, "time", captured.at_ns, int(seconds) * 10**9 + int(ticks.ljust(9, "0")[:9]))
    dictionary(captured, ours)
    tags = [fields.get(f"{name}.id") for name, fields in theirs if name in ("vlan", "ieee8021ad")]
    vlans = [tag for tag in tags if tag]
    verdict.compare(where, "vlans", ",".join(map(str, ours.vlans)), ",".join(vlans[: len(ours.vlans)]))
    packets = [index for index, (name, fields) in enumerate(theirs) if f"{name}.src" in fields and "ip" in name]
    mine = ours.layers
    for place, layer in enumerate(mine):
        if place >= len(packets):
            told = "malformed" if any("malformed" in name for name, _ in theirs) else "not opened by tshark"
            verdict.aside[f"{told}: {theirs[0][1]['frame.protocols']}"] += 1
            return
        index = packets[place]
        _judge_layer(f"{where} layer {place + 1}", layer, theirs[index:], verdict)
    if len(packets) > len(mine):
        verdict.aside[f"not opened by us: {frame['frame.protocols']} ({ours.trouble})"] += 1
    tunnels = [fields for name, fields in theirs if name == "geneve"]
    for tunnel, fields in zip(_tunnels(ours), tunnels, strict=False):
        _judge_tunnel(where, tunnel, fields, verdict)


def _tunnels(dissection: Dissection) -> list[TunnelLayer]:
    inside = [carried.tunnel for carried in dissection.carried]
    return [tunnel for tunnel in (dissection.tunnel, *inside) if tunnel]


def _judge_layer(where: str, layer: Layer, theirs: list[tuple[str, Fields]], verdict: Verdict) -> None:
    (name, fields), ip, checks = theirs[0], layer.ip, judge_layer(layer)
    verdict.compare(where, "version", "ip" if ip.version == 4 else "ipv6", name)
    if name != ("ip" if ip.version == 4 else "ipv6"):
        return
    told: dict[str, object]
    if ip.version == 4:
        told = {
            "ip.src": address_text(ip.source), "ip.dst": address_text(ip.destination), "ip.ttl": ip.ttl,
            "ip.len": ip.total_length, "ip.id": f"0x{ip.identification:04x}", "ip.dsfield.dscp": ip.dscp,
            "ip.flags.df": int(layer.dont_fragment), "ip.flags.mf": int(ip.more_fragments),
            "ip.frag_offset": ip.fragment_offset // 8, "ip.hdr_len": ip.header_length,
        }  # fmt: skip
    else:
        told = {
            "ipv6.src": address_text(ip.source), "ipv6.dst": address_text(ip.destination), "ipv6.hlim": ip.ttl,
            "ipv6.tclass.dscp": ip.dscp, "ipv6.plen": 0 if layer.jumbo else ip.total_length - 40,
        }  # fmt: skip
        if layer.data[6] == HOP_BY_HOP and layer.jumbo:
            told["ipv6.opt.jumbo"] = ip.total_length - 40
    _compare(where, told, fields, verdict)
    if checks and checks[0].layer.endswith("IP"):
        _compare_state(where, checks[0], "ip", fields, verdict)
    upper = UPPER.get(ip.protocol)
    found = next((fields for name, fields in theirs[1:3] if name == upper), None)
    if upper is None or not found or ip.fragment_offset:
        return
    told = {}
    if upper in ("tcp", "udp"):
        told = {f"{upper}.srcport": ip.source_port, f"{upper}.dstport": ip.destination_port}
    if tcp := tcp_head(layer):
        told |= {
            "tcp.flags": f"0x{tcp.flags:04x}", "tcp.seq_raw": tcp.sequence, "tcp.ack_raw": tcp.acknowledgement,
            "tcp.len": tcp.payload_length, "tcp.window_size_value": tcp.window,
        }  # fmt: skip
    if flags := found.get("tcp.flags"):
        found = found | {"tcp.flags": f"0x{int(flags, 16) & 0xFF:04x}"}  # we tell eight of them
    _compare(where, told, found, verdict)
    if checks and not checks[-1].layer.endswith("IP"):
        _compare_state(where, checks[-1], upper, found, verdict)


def _compare(where: str, told: dict[str, object], fields: Fields, verdict: Verdict) -> None:
    for name, value in told.items():
        if name in fields:
            verdict.compare(where, name, value, fields[name])
        else:
            verdict.aside[f"tshark has no {name}"] += 1


def _compare_state(where: str, check: Check, name: str, fields: Fields, verdict: Verdict) -> None:
    """Compare what became of a checksum; tshark calls an unfinished one bad. What belongs there must agree, too."""
    status = fields.get(f"{name}.checksum.status")
    if status is None:
        verdict.aside["tshark judges no checksum"] += 1
        return
    if name == "udp" and "udp.length.bad" in fields:
        verdict.aside["tshark judges a checksum under a wrong length"] += 1
        return
    ours = State.WRONG if check.state is State.UNFINISHED else check.state
    verdict.compare(where, f"{check.layer} checksum", ours, STATES[status])
    calculated = fields.get(f"{name}.checksum_calculated")
    if ours is State.WRONG and check.expected is not None and calculated:
        verdict.compare(where, f"{check.layer} checksum expected", f"0x{check.expected:04x}", calculated)


def _judge_tunnel(where: str, tunnel: TunnelLayer, fields: Fields, verdict: Verdict) -> None:
    header = tunnel.header
    told: dict[str, object] = {
        "geneve.vni": f"0x{header.vni:06x}", "geneve.proto_type": f"0x{header.protocol_type:04x}",
        "geneve.flags.oam": int(header.control), "geneve.flags.critical": int(header.critical),
    }  # fmt: skip
    _compare(where, told, fields, verdict)


def main(names: list[str]) -> int:
    """Judge files and print what came of it; return 1 when anything differs."""
    verdict = Verdict()
    for name in names:
        judge_file(Path(name), verdict)
    print("\n".join(verdict.differences))
    for what, count in verdict.aside.most_common():
        print(f"aside: {count} x {what}")
    print(f"{len(verdict.differences)} differences in {verdict.fields} fields of {verdict.packets} packets")
    return 1 if verdict.differences else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
