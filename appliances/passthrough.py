"""`python -m appliances.passthrough`: returns what it got, as fast as Python goes.

The heads of a flow's packets differ only in lengths and checksum. Heads that were taken apart once and found good are
remembered, so that the next packet with the same is only compared; nothing of an earlier packet is ever sent.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from appliances import process
from appliances.frames import port_counters
from appliances.tunnel import ETHERNET, read, swap
from gwlbemu.errors import WireError
from gwlbemu.ports.faults import Faults
from gwlbemu.ports.port import Port
from gwlbemu.wire import aws

DESCRIPTION = "An appliance that looks at nothing and returns every packet to the Gateway Load Balancer it came from."
LENGTH, UDP_LENGTH = slice(16, 18), slice(38, 40)
GENEVE = slice(42, 83)  # the usual 40 bytes and the first inner byte
SHORTEST = 83  # with all of the above in it; what is shorter is taken apart
USUAL_IPV4 = 0x45  # version 4, no options
REMEMBERED = 65536
LONGEST = 65535  # an IPv4 datagram


class Reflector:
    """Moves frames back to where they came from."""

    def __init__(self, port: Port, faults: Faults | None = None) -> None:
        self._faults = Faults() if faults is None else faults
        self.received = self.returned = 0
        self._port = port
        self._good: set[bytes] = set()

    def move(self, now: float) -> None:
        """Return one batch to where it came from."""
        frames = self._port.recv()
        back = [swap(frame) for frame in frames if self._is_good(frame)]
        self.received += len(frames)
        self.returned += len(back)
        if back:
            self._port.send(back)

    def status(self) -> dict[str, int]:
        """Return counters of this appliance and of the port."""
        return {
            "received": self.received,
            "returned": self.returned,
            "undecodable": self.received - self.returned,
            **port_counters(self._port),
        }

    def _is_good(self, frame: bytes) -> bool:
        length = len(frame) - ETHERNET
        heads = frame[12:16] + frame[20:24] + frame[34:38] + frame[GENEVE]
        if (
            heads in self._good
            and len(frame) >= SHORTEST
            and length <= LONGEST
            and frame[LENGTH] == length.to_bytes(2, "big")
            and frame[UDP_LENGTH] == (length - 20).to_bytes(2, "big")
        ):
            return True
        try:
            received = read(frame)
        except WireError:
            return False
        except Exception as error:
            self._faults.note("a frame", error)
            return False
        if frame[14] == USUAL_IPV4 and len(received.outer.header) == aws.HEADER_LENGTH:
            if len(self._good) >= REMEMBERED:
                self._good.clear()
            self._good.add(heads)
        return True


def main(arguments: Sequence[str]) -> int:
    """Run until a signal; return the exit code."""
    options = process.parser("appliances.passthrough", DESCRIPTION).parse_args(arguments)
    return process.run(options, lambda port, loop: Reflector(port, loop.faults))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
