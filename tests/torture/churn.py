"""Changes, failures and healing under traffic: nobody dies, memory and open files stay flat, all is well in the end."""

from __future__ import annotations

import random
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from gwlbemu import Lab
from gwlbemu.errors import GwlbemuError, LabError, NetError
from tests.torture.tally import Tally
from tests.torture.worlds import GOOD_PROGRAMS, PUBLIC, flat, mend, settle, then, topology
from tests.waiting import PATIENCE, wait_until

CHANGES = 12  # in a round
# Short connections without end, good and refused ones; one line per second says how many were answered.
CLIENTS = f"""
import socket, sys, threading, time
answered = [0]
def talk():
    while True:
        for port in (80, 80, 80, 22):
            try:
                with socket.create_connection(("{PUBLIC}", port), 2) as connection:
                    connection.sendall(b"GET / HTTP/1.1\\r\\nHost: x\\r\\nConnection: close\\r\\n\\r\\n")
                    while connection.recv(65536):
                        pass
                    answered[0] += 1
                time.sleep(0.05)
            except OSError:
                time.sleep(0.02)
for _ in range(8):
    threading.Thread(target=talk, daemon=True).start()
while True:
    print(answered[0], flush=True)
    time.sleep(0.5)
"""
CURL = ["curl", "-sf", "-m", "5", "-o", "/dev/null", f"http://{PUBLIC}/"]
FAILOVER = ("target_failover.on_unhealthy", "target_failover.on_deregistration")
ATTRIBUTES = [
    ("firewalls", {"stickiness.enabled": "true", "stickiness.type": "source_ip_dest_ip"}),
    ("firewalls", {"stickiness.enabled": "false"}),
    ("firewalls", dict.fromkeys(FAILOVER, "rebalance")),
    ("firewalls", dict.fromkeys(FAILOVER, "no_rebalance")),
    ("firewalls", {"deregistration_delay.timeout_seconds": "0"}),
    ("inspect", {"tcp.idle_timeout.seconds": "60"}),
    ("inspect", {"tcp.idle_timeout.seconds": "6000"}),
    ("inspect", {"load_balancing.cross_zone.enabled": "false"}),
    ("inspect", {"load_balancing.cross_zone.enabled": "true"}),
]  # fmt: skip


@contextmanager
def churn(tally: Tally) -> Iterator[Callable[[int], None]]:
    """Give a round of changes in a lab of two zones with clients that talk all the time."""
    programs = {**GOOD_PROGRAMS, "pass2": "passthrough"}
    with Lab(topology(programs, lab="churn", zones="ab"), wait=60) as lab:
        clients = lab.spawn("client", [sys.executable, "-c", CLIENTS])

        def answered() -> int:
            lines = clients.output().split()
            return int(lines[-1]) if lines else 0

        def one_round(seed: int) -> None:
            dice, begun = random.Random(seed), answered()
            for _ in range(CHANGES):
                try:
                    _change(lab, dice)
                    tally.counts["changes"] += 1
                except NetError as error:  # a SettingError AWS refuses, too; LabError: who has to be told is broken
                    tally.problem("churn", seed, f"a change: {error}")
                except GwlbemuError:
                    tally.counts["changes refused"] += 1
            mend(lab, programs)
            wait_until(lambda: _are_healthy(lab), "the targets to be healthy", seconds=2 * PATIENCE)
            before = answered()
            settle(lab, tally, "churn", seed)
            try:
                wait_until(lambda: lab.exec("client", CURL).code == 0, "a request to be answered")
                wait_until(lambda: answered() > before + 200, "the clients to be answered")
            except AssertionError as error:
                tally.problem("churn", seed, error)
            tally.counts["requests answered"] += answered() - begun

        one_round(-1)  # warm: every appliance has begun anew, every path has been gone
        with flat(lab, tally, "churn", more_memory=32 << 10) as look:
            yield then(one_round, look)


def _change(lab: Lab, dice: random.Random) -> None:
    appliances = [program.instance for program in lab.plan.programs if program.kind != "web"]
    kind = dice.choice(("register", "deregister", "set", "fail", "heal", "fail", "heal", "advance"))
    if kind in ("register", "deregister"):
        getattr(lab, kind)("firewalls", dice.choice(appliances))
    elif kind == "set":
        lab.set(*dice.choice(ATTRIBUTES))
    elif kind == "advance":
        lab.advance(dice.choice((1, 20, 400)))
    else:
        what = dice.choice(("instance", "link", "health", "process", "zone"))
        getattr(lab, kind)(what, dice.choice("ab") if what == "zone" else dice.choice(appliances))


def _are_healthy(lab: Lab) -> bool:
    """Let the next health check be due now, and look."""
    lab.advance(5)
    try:
        lab.wait_until_healthy(0.5)
    except LabError:
        return False
    return True
