"""More than a lab can take, bounded in count and time: idle connections, new flows beyond the table, many packets."""

from __future__ import annotations

import json
import random
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from gwlbemu import Lab
from tests.torture.churn import CURL
from tests.torture.tally import Tally
from tests.torture.worlds import GOOD_PROGRAMS, PUBLIC, flat, settle, then, topology
from tests.waiting import wait_until

MOST_FLOWS, MORE = 3000, 6000
# KiB of an appliance's own table when it is full: 250,000 flows (`IdleTable`) of 950 bytes in the IDS, half of that in
# the firewall. It forgets by real time, not by the nodes' clock, so that many rounds' flows are in it.
APPLIANCE_TABLE = 250_000 * 1000 >> 10
IDLE = """
import json, resource, socket, sys
resource.setrlimit(resource.RLIMIT_NOFILE, (4096, 4096))
held = []
for address, port, count in json.load(sys.stdin):
    for _ in range(count):
        connection = socket.socket()
        connection.setblocking(False)
        connection.connect_ex((address, port))
        held.append(connection)
sys.stdout.write(str(len(held)))
"""
FLOWS = """
import random, socket, sys
address, seed, count = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
dice, sent = random.Random(seed), 0
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
    for _ in range(count):
        try:
            sock.sendto(dice.randbytes(dice.choice((0, 1, 200, 1400))), (address, dice.randrange(1, 65536)))
            sent += 1
        except OSError:
            pass
print(sent)
"""


@contextmanager
def overload(tally: Tally) -> Iterator[Callable[[int], None]]:
    """Give a round of more flows than the table takes and more connections than are served."""
    with Lab(topology(GOOD_PROGRAMS, lab="overload", emulation={"max_flows": MOST_FLOWS}), wait=60) as lab:
        appliances = [each.address for each in lab.plan.instances if each.name in GOOD_PROGRAMS]

        def one_round(seed: int) -> None:
            dice = random.Random(seed)
            done = lab.exec("client", [sys.executable, "-c", FLOWS, PUBLIC, str(seed), str(MORE)], timeout=120)
            tally.counts["packets"] += int(done.stdout)
            tally.counts["packets in labs"] += int(done.stdout)
            idle = [(address, 80, dice.randint(300, 1100)) for address in appliances]
            done = lab.exec("pass", [sys.executable, "-c", IDLE], stdin=json.dumps(idle), timeout=120)
            tally.counts["idle connections"] += int(done.stdout)
            live = sum(node["ActiveFlowCount"] for node in _gauges(lab))
            if live > MOST_FLOWS:
                tally.problem("overload", seed, f"{live} flows in a table of {MOST_FLOWS}")
            lab.advance(400)
            lab.wait_until_healthy(60)
            settle(lab, tally, "overload", seed)
            wait_until(lambda: lab.exec("client", CURL).code == 0, "a request to be answered")

        one_round(-1)
        with flat(lab, tally, "overload", fills=APPLIANCE_TABLE) as look:
            yield then(one_round, look)


def _gauges(lab: Lab) -> Iterator[dict[str, int]]:
    for node in lab.plan.gateway_nodes:
        yield lab.call(node.name, "metrics")["metrics"]
