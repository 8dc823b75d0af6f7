"""The benchmark appliance: reflector.py OBJECT puts the reflect program on eth0 and stays until its stdin ends."""

from __future__ import annotations

import socket
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from gwlbemu.fastpath import libbpf

with libbpf.Object(Path(sys.argv[1]), {}) as loaded:
    libbpf.attach_tcx(loaded.program("reflect"), socket.if_nametoindex("eth0"))
    print("ready", flush=True)
    sys.stdin.read()
