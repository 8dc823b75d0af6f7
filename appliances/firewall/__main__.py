"""`python -m appliances.firewall`."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

from appliances import process
from appliances.firewall.judge import Decision, Judge
from appliances.firewall.log import line
from appliances.firewall.rules import load
from appliances.frames import FrameLoop
from gwlbemu.errors import GwlbemuError
from gwlbemu.ports.logfile import LogFile
from gwlbemu.ports.loop import Loop
from gwlbemu.ports.port import Port

DESCRIPTION = """\
A stateful firewall behind a Gateway Load Balancer. The first packet of a flow decides, by the first rule that matches
it; both directions of an allowed flow pass. What is denied is not returned; what is rejected is answered inside its own
flow, with a TCP RST or an ICMP error."""
EPILOG = """\
A rule file (every key of a rule but action may be left out, which matches anything; lists are allowed):

  default: deny                          # allow | deny | reject, for what no rule matches (default: deny)
  timeouts: {tcp: 350, udp: 120, other: 120}     # idle seconds
  rules:
    - name: web
      action: allow                      # allow | deny | reject
      protocol: tcp                      # any | tcp | udp | icmp (also ICMPv6) | gre | esp | a number
      source: any                        # address or CIDR block, IPv4 or IPv6
      destination: [10.0.0.0/16, "2001:db8::/32"]
      source_ports: 1024-65535
      ports: [80, 443, 8000-8010]        # destination ports; tcp and udp only
      endpoint: vpce-02356de92d389839c   # only what this endpoint sends

Each decision about a first packet, and each packet that is not returned, is one line of JSON in the log.
The log has at most 8 MiB, and as much again in FILE.1; beyond 1000 lines a second they are counted, not written."""


def main(arguments: Sequence[str]) -> int:
    """Run until a signal; return the exit code, 2 for a rule file or a log that is refused."""
    parser = process.parser("appliances.firewall", DESCRIPTION, EPILOG)
    parser.add_argument("--rules", type=Path, required=True, metavar="FILE.yaml", help="the policy, see below")
    parser.add_argument("--log", type=Path, required=True, metavar="FILE", help="append decisions here, as JSON lines")
    parser.add_argument(
        "--midstream",
        choices=("allow", "deny"),
        default="deny",
        help="TCP packets of a flow whose start was not seen: deny (default), or allow what a rule allows in either "
        "direction, to take over flows after a rebalance",
    )
    options = parser.parse_args(arguments)
    try:
        policy = load(options.rules)
        log = LogFile(options.log)
    except GwlbemuError as error:
        return process.failure(options.name, error)
    with closing(log):

        def report(decision: Decision) -> None:
            log.write(line(decision, time.time()))

        judge = Judge(policy, midstream_allowed=options.midstream == "allow", report=report)

        def mover(port: Port, loop: Loop) -> FrameLoop:
            return FrameLoop(port, judge.decide, loop.call_at, faults=loop.faults, more=judge.counters)

        return process.run(options, mover, log=log)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
