"""The keeper of a network load balancer's node: health checks, the kernel's tables, and a control socket, in one loop.

    python -m gwlbemu.programs.network.keeper CONFIG.json      inside the node's network namespace

No packet passes through it: while it stands still or is dead, the kernel goes on by what it was last told. Ends by
SIGTERM or SIGINT with exit code 0; the tables stay. No request and no target ends it: an exception is counted
(`faults` in its status), the first of a kind is in the log with its traceback.
"""

from __future__ import annotations

import gc
import logging
import math
import sys
from contextlib import ExitStack
from pathlib import Path

from gwlbemu.core.elb.health import CHECK_PORTS, status_ranges
from gwlbemu.core.elb.network_attributes import NetworkAttributes
from gwlbemu.core.network.balancer import NetworkBalancer
from gwlbemu.core.network.settings import Group
from gwlbemu.net.sysctls import write_translating
from gwlbemu.ports import privileges
from gwlbemu.ports.control import ControlServer
from gwlbemu.ports.loop import Loop, Timer
from gwlbemu.ports.probe import Check, ProbeResult
from gwlbemu.ports.prober import Pace
from gwlbemu.programs.network.config import NodeConfig, balancer_from_json
from gwlbemu.programs.network.connections import Connections
from gwlbemu.programs.network.kernel import INTACT, Kernel
from gwlbemu.programs.network.proxy import ProxyKeeper
from gwlbemu.programs.network.verbs import KeeperVerbs
from gwlbemu.programs.probing import GroupProbers, StateLog
from gwlbemu.programs.process import keep_logs_small, run_logged
from gwlbemu.programs.zone_news import ZoneNews

LOG = logging.getLogger("keeper")
WATCH_SECONDS = 1.0  # between two looks at the kernel's tables


class Keeper:
    """Everything of one keeper, opened on `stack`, which gives it all back."""

    def __init__(self, config: NodeConfig, loop: Loop, stack: ExitStack) -> None:
        self.config, self.loop = config, loop
        self.settings = config.settings()
        self.started_at = loop.now
        write_translating()
        self.balancer = NetworkBalancer(self.settings, balancer_from_json(config.balancer), now=loop.now)
        self.kernel = Kernel(self.balancer.tables())
        self.connections = Connections(loop.clock.since_boot)
        self.proxy: ProxyKeeper | None = None
        self._zone_news = ZoneNews(config.zone_news, config.load_balancer, config.zone)
        stack.callback(self._zone_news.close)
        self._probers = GroupProbers(
            loop, config.address, CHECK_PORTS, self._check_of, self.balancer.probe_targets, self.probed
        )
        self._expiry: Timer | None = None
        self._log = StateLog(LOG)
        self._tables = INTACT
        self._control = ControlServer(config.control, KeeperVerbs(self).table(), faults=loop.faults)
        stack.callback(self._control.close)

    def start(self) -> None:
        """Open the control socket, begin to probe and to watch."""
        self.loop.run_until_complete(self._control.open())
        self.loop.call_at(self.loop.now, self.changed)
        self.loop.call_after(WATCH_SECONDS, self._watch)

    def changed(self) -> None:
        """Follow up on a change of the load balancer or the time: tables, connections, probes, the next deadline."""
        self.balancer.expire(self.loop.now)
        self.kernel.write(self.balancer.tables())
        ended = self.balancer.take_flushes()
        for number in ended:
            self.kernel.end(number)
        self._follow_proxy(ended)
        self._tell_zone()
        self._probers.follow(self.balancer.groups())
        if self._expiry is not None:
            self._expiry.cancel()
        deadline = self.balancer.next_deadline()
        self._expiry = self.loop.call_at(deadline, self.changed) if deadline < math.inf else None
        self._log.note(self.balancer.target_health(self.loop.now))

    def _follow_proxy(self, ended: list[int]) -> None:
        wanted = self.balancer.proxy()
        if self.proxy is None and wanted.frontends:
            self.proxy = ProxyKeeper(self.loop, Path(self.config.control).parent, self.loop.clock.since_boot)
        if self.proxy is not None:
            self.proxy.apply(wanted, ended)

    def _check_of(self, group: Group) -> tuple[Check, Pace]:
        """How a group is probed. `Host` is the node's address and the listener's port (NLB guide, Health checks)."""
        told = group.health_check
        check = Check(
            told.protocol,
            told.port,
            told.path,
            told.timeout_seconds,
            status_ranges(told.matcher),
            f"{self.config.address}:{self.balancer.port_of(group.name)}",
            NetworkAttributes.from_text(target_group=group.attributes).proxy_protocol_v2,
        )
        return check, Pace(told.interval_seconds, self.settings.emulation.initial_health_check_interval_seconds)

    def probed(self, group: str, target: str, result: ProbeResult) -> None:
        """Take the result of a health check."""
        self.balancer.observe(group, target, result.ok, self.loop.now, result.reason, result.description)
        self.changed()

    def _tell_zone(self) -> None:
        """Let the lab's resolver know what it gives out the zone's address by."""
        balancer = self.balancer
        self._zone_news.tell(balancer.client_routing_policy, balancer.healthy_counts(), self.loop.clock.since_boot())

    def _watch(self) -> None:
        """Say in the log when the kernel's tables are no longer what they were written as, or are again."""
        self.loop.call_after(WATCH_SECONDS, self._watch)
        self._tell_zone()
        tables = self.kernel.state()
        if tables != self._tables:
            LOG.info("tables: %s, were %s", tables, self._tables)
        self._tables = tables


def main(argv: list[str]) -> int:
    """Run a keeper until a signal ends it; return the exit code."""

    def work(loop: Loop, stack: ExitStack) -> None:
        keeper = Keeper(NodeConfig.from_json(Path(argv[0]).read_text()), loop, stack)
        keeper.start()
        if keeper.config.logs:
            keep_logs_small(loop, Path(keeper.config.logs))
        privileges.drop(keep=(privileges.NET_ADMIN,))
        gc.freeze()
        gc.set_threshold(25_000, 3, 10_000)  # a hundred thousand connections that are read are no garbage
        LOG.info("%s is ready", keeper.config.name)
        loop.run()

    return run_logged("keeper", work)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
