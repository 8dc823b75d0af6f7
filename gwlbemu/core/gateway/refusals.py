"""What targets sent back and the node refused: an appliance that returns packets wrongly is told from one that returns
none.

Refused packets are wrong somewhere, so what is read of them may be wrong, too: it is where AWS's layout has it, or
unknown.
"""

from __future__ import annotations

from typing import NamedTuple

from gwlbemu.core.gateway.verdict import Drop, Reason
from gwlbemu.wire.mismatch import Mismatch

_ENDPOINT_OPTION = bytes.fromhex("010801")  # class and type of AWS's option 1, which comes first in what we send
_MOST = 1000  # rows; a target that makes up endpoints and protocols fills no memory


class Refused(NamedTuple):
    """Packets of a target that were refused for one reason; `wrong`, a sentence, is what did not fit in the last one.

    `endpoint` and `protocol` are None where unknown. `late` ones have the headers of flows that had ended before
    their time, by a RST, a failed target or a jump of the clock: nothing that the target did wrong.
    """

    target: str
    endpoint: int | None
    protocol: int | None
    reason: Reason
    packets: int
    wrong: str
    late: bool


class Refusals:
    """Counts refused packets by target, endpoint, protocol, reason, and whether they were late."""

    def __init__(self) -> None:
        self._counts: dict[tuple[str, int | None, int | None, Reason, bool], tuple[int, Mismatch | None]] = {}

    def note(self, target: str, datagram: bytes, drop: Drop) -> None:
        """Count one outer IPv4 `datagram` from `target`."""
        key = (target, *_peek(datagram), drop.reason, drop.is_late)
        if key not in self._counts and len(self._counts) >= _MOST:
            key = (target, None, None, drop.reason, drop.is_late)
        self._counts[key] = (self._counts.get(key, (0, None))[0] + 1, drop.wrong)

    def forget(self, target: str) -> None:
        """Drop the counts of a target that has gone."""
        self._counts = {key: known for key, known in self._counts.items() if key[0] != target}

    def rows(self) -> list[Refused]:
        """Return what was counted."""
        return [Refused(*key[:-1], count, str(wrong or ""), key[-1]) for key, (count, wrong) in self._counts.items()]


def _peek(datagram: bytes) -> tuple[int | None, int | None]:
    """Return the endpoint and the inner protocol that the datagram names, None for what is not where it should be."""
    try:
        geneve = (datagram[0] & 0x0F) * 4 + 8
        inner = geneve + 8 + (datagram[geneve] & 0x3F) * 4
        version = datagram[inner] >> 4
        protocol = datagram[inner + 9] if version == 4 else datagram[inner + 6] if version == 6 else None
    except IndexError:
        return None, None
    named = datagram[geneve + 8 : geneve + 11] == _ENDPOINT_OPTION and inner >= geneve + 20
    return int.from_bytes(datagram[geneve + 12 : geneve + 20], "big") if named else None, protocol
