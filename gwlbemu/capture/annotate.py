"""What we know about a captured GENEVE frame, in a comment: flow, endpoint, cookie, which way it goes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from gwlbemu.capture.dissect import Dissection, dissect_frame
from gwlbemu.capture.text import head_text
from gwlbemu.wire.aws import format_endpoint

REMEMBERED = 1 << 13  # comments, some 300 bytes each; up to twice as many are there
_USUAL_START, _GENEVE_PORT = b"\x08\x00\x45", b"\x17\xc1"


@dataclass(frozen=True, slots=True)
class Names:
    """What the lab calls its endpoints (64-bit ids), targets and nodes (addresses)."""

    endpoints: Mapping[int, str] = field(default_factory=dict)
    targets: Mapping[bytes, str] = field(default_factory=dict)
    nodes: Mapping[bytes, str] = field(default_factory=dict)


class Annotator:
    """Comments for frames, cheap enough for each GENEVE frame of a capture: one per flow, direction and header is
    remembered. Those of live flows are kept, others forgotten: at most `2 * remembered` comments are there.
    """

    def __init__(self, names: Names, *, remembered: int = REMEMBERED) -> None:
        self._names = names
        self._most = remembered
        self._recent: dict[bytes, tuple[str, ...]] = {}
        self._before: dict[bytes, tuple[str, ...]] = {}  # the recent ones of before, until `_recent` is full

    def comments(self, frame: bytes, missing: int = 0) -> tuple[str, ...]:
        """Return the comments of an Ethernet frame, of whose end `missing` bytes are not there: none without GENEVE."""
        if frame[12:15] != _USUAL_START or frame[23:24] != b"\x11" or frame[36:38] != _GENEVE_PORT:
            return self._describe(frame, missing) if frame[12:14] == b"\x08\x00" else ()
        # 14 Ethernet, 20 IPv4, 8 UDP, 40 GENEVE: the inner packet starts at 82 when there are 8 words of options.
        if (
            frame[42:43] != b"\x08"
            or frame[82:83] != b"\x45"
            or frame[88:89] not in (b"\0", b"\x40")
            or frame[89:90] != b"\0"
        ):
            return self._describe(frame, missing)
        key = frame[26:34] + frame[42:82] + frame[91:92] + frame[94:106]
        known = self._recent.get(key)
        if known is None:
            if len(self._recent) >= self._most:
                self._before, self._recent = self._recent, {}
            known = self._recent[key] = self._before.pop(key, ()) or self._describe(frame, missing)
        return known

    def __len__(self) -> int:
        return len(self._recent) + len(self._before)

    def _describe(self, frame: bytes, missing: int) -> tuple[str, ...]:
        dissection = dissect_frame(frame, missing=missing)
        if dissection.tunnel is None or dissection.outer is None:
            return ()
        options = dissection.tunnel.options
        parts = [head_text(dissection.inner)] if dissection.inner else []
        if options.endpoint_id is not None:
            parts.append(self._names.endpoints.get(options.endpoint_id, format_endpoint(options.endpoint_id)))
        if options.flow_cookie is not None:
            parts.append(f"cookie 0x{options.flow_cookie:08x}")
        way = self._way(dissection)
        if way:
            parts.append(way)
        if dissection.trouble:
            parts.append(dissection.trouble)
        return (", ".join(parts),) if parts else ()

    def _way(self, dissection: Dissection) -> str:
        assert dissection.outer is not None
        source, destination = dissection.outer.ip.source, dissection.outer.ip.destination
        if destination in self._names.targets and source not in self._names.targets:
            return f"to target {self._names.targets[destination]}"
        if source in self._names.targets:
            return f"returned by {self._names.targets[source]}"
        if destination in self._names.nodes:
            return f"to node {self._names.nodes[destination]} from a stranger"
        return ""
