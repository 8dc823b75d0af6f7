"""The benchmark's appliance: python -m gwlbemu.bench.reflector OBJECT

Puts the program `reflect` of the compiled fast path on eth0, so that GENEVE goes back where it came from without
leaving the kernel, and answers health checks on port 80. The program goes with the process.
"""

from __future__ import annotations

import os
import socket
import sys
from pathlib import Path

from gwlbemu.errors import NetError
from gwlbemu.fastpath import libbpf


def main(argv: list[str]) -> int:
    """Stay until a signal ends it."""
    with libbpf.Object(Path(argv[0]), {}) as loaded, socket.create_server(("", 80)) as healthy:
        link = libbpf.attach_tcx(loaded.program("reflect"), socket.if_nametoindex("eth0"))
        try:
            print("ready", flush=True)
            while True:
                healthy.accept()[0].close()
        finally:
            os.close(link)


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except (NetError, OSError) as error:
        sys.exit(f"reflector: {error}")
