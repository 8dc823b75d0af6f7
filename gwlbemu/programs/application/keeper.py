"""The keeper of an application load balancer's node: health checks, its HAProxy, and a control socket, in one loop.

    python -m gwlbemu.programs.application.keeper CONFIG.json      inside the node's network namespace

No request passes through it: while it stands still or is dead, HAProxy goes on by what it was last told. Ends by
SIGTERM or SIGINT with exit code 0. No request and no target ends it: an exception is counted (`faults` in its status),
the first of a kind is in the log with its traceback.
"""

from __future__ import annotations

import gc
import ipaddress
import logging
import math
import sys
from contextlib import ExitStack
from pathlib import Path

from gwlbemu.core.application.balancer import ApplicationBalancer
from gwlbemu.core.application.settings import HTTP1, Group
from gwlbemu.core.elb.health import CHECK_PORTS, status_ranges
from gwlbemu.core.elb.network_attributes import ANY_ZONE
from gwlbemu.ports import privileges
from gwlbemu.ports.control import ControlServer
from gwlbemu.ports.loop import Loop, Timer
from gwlbemu.ports.probe import Check, ProbeResult
from gwlbemu.ports.prober import Pace
from gwlbemu.programs.application.access_log import SOCKET, AccessLog
from gwlbemu.programs.application.config import ENGINE_CONFIGURATION, ENGINE_SOCKET, NodeConfig
from gwlbemu.programs.application.key_sets import KeySets, Place, endpoints
from gwlbemu.programs.application.metrics import Metrics
from gwlbemu.programs.application.verbs import KeeperVerbs
from gwlbemu.programs.application.wanted import LANGUAGE, Wanted
from gwlbemu.programs.haproxy.keeping import RUNNING, HaproxyKeeper
from gwlbemu.programs.probing import GroupProbers, StateLog
from gwlbemu.programs.process import keep_logs_small, run_logged
from gwlbemu.programs.zone_news import ZoneNews

LOG = logging.getLogger("keeper")
WATCH_SECONDS = 1.0  # between two looks at the engine
_MOST_FORMER = 10_000  # targets that are remembered by their servers' names after they have gone


class Keeper:
    """Everything of one keeper, opened on `stack`, which gives it all back."""

    def __init__(self, config: NodeConfig, loop: Loop, stack: ExitStack) -> None:
        self.config, self.loop = config, loop
        self.settings = config.settings
        self.started_at = loop.now
        self.balancer = ApplicationBalancer(self.settings, config.balancer, now=loop.now)
        folder = Path(config.control).parent
        self.access_log = AccessLog(folder, self.settings.load_balancer, self.balancer.told)
        stack.callback(self.access_log.close)
        address = str(ipaddress.ip_address(self.settings.address))
        place = Place(address, config.resolver, config.authority)
        self._key_sets = KeySets(loop, place, folder, self.changed)
        self.engine = HaproxyKeeper(
            loop,
            folder / ENGINE_SOCKET,
            folder / ENGINE_CONFIGURATION,
            LANGUAGE,
            self._wanted(),
            loop.clock.since_boot,
        )
        self.names: dict[str, tuple[str, str]] = {}  # a server's name -> its target group, its target
        self.metrics = Metrics(self.names)
        self._zone_news = ZoneNews(config.zone_news, self.settings.load_balancer, self.settings.zone)
        stack.callback(self._zone_news.close)
        self._probers = GroupProbers(
            loop, address, CHECK_PORTS, self._check_of, self.balancer.probe_targets, self.probed
        )
        self._expiry: Timer | None = None
        self._log = StateLog(LOG)
        self._state = ""
        self._control = ControlServer(config.control, KeeperVerbs(self).table(), faults=loop.faults)
        stack.callback(self._control.close)

    def start(self) -> None:
        """Open the control socket, begin to probe and to tell the engine."""
        self.loop.run_until_complete(self._control.open())
        self.loop.add_reader(self.access_log.socket.fileno(), self.access_log.read)
        self.loop.call_at(self.loop.now, self.changed)
        self.loop.call_after(WATCH_SECONDS, self._watch)

    def changed(self) -> None:
        """Follow up on a change of the load balancer or the time: the engine, probes, the next deadline."""
        targets = self.balancer.target_health(self.loop.now)
        for each in targets:
            self.names.pop(each.server, None)  # so that those that are there are the last
            self.names[each.server] = each.target_group, each.id
        while len(self.names) > len(targets) + _MOST_FORMER:
            del self.names[next(iter(self.names))]
        wanted = self._wanted()
        self._key_sets.follow(endpoints(wanted.engine))
        self.engine.apply(wanted, self.balancer.take_ended())
        self._tell_zone()
        self._probers.follow(self.balancer.groups())
        if self._expiry is not None:
            self._expiry.cancel()
        deadline = self.balancer.next_deadline()
        self._expiry = self.loop.call_at(deadline, self.changed) if deadline < math.inf else None
        self._log.note(targets)

    def _wanted(self) -> Wanted:
        return Wanted(self.balancer.engine(), dict(self._key_sets.keys), SOCKET)

    def probed(self, group: str, target: str, result: ProbeResult) -> None:
        """Take the result of a health check."""
        engine, deadline = self.balancer.engine(), self.balancer.next_deadline()
        self.balancer.observe(group, target, result.ok, self.loop.now, result.reason, result.description)
        if self.balancer.engine() is not engine or self.balancer.next_deadline() != deadline:
            self.changed()

    def _check_of(self, group: Group) -> tuple[Check, Pace]:
        """How a group is probed. `Host` is the target's address and port (ALB guide, Health checks)."""
        told = group.health_check
        statuses = status_ranges(told.matcher, group.protocol, group.protocol_version)
        version = "" if group.protocol_version == HTTP1 else group.protocol_version
        check = Check(told.protocol, told.port, told.path, told.timeout_seconds, statuses, version=version)
        return check, Pace(told.interval_seconds, self.settings.emulation.initial_health_check_interval_seconds)

    def _tell_zone(self) -> None:
        """Let the lab's resolver know what it gives out the zone's address by: nothing is healthy without an engine."""
        counts = self.balancer.healthy_counts() if self.engine.state == RUNNING else {}
        self._zone_news.tell(ANY_ZONE, counts, self.loop.clock.since_boot())

    def _watch(self) -> None:
        """Say in the log when the engine does no longer what it is told, or does again, and what a target is told of
        without a change of who takes requests.
        """
        self.loop.call_after(WATCH_SECONDS, self._watch)
        self._tell_zone()
        self._log.note(self.balancer.target_health(self.loop.now))
        if self.engine.state != self._state:
            LOG.info("engine: %s", self.engine.state)
        self._state = self.engine.state


def main(argv: list[str]) -> int:
    """Run a keeper until a signal ends it; return the exit code."""

    def work(loop: Loop, stack: ExitStack) -> None:
        keeper = Keeper(NodeConfig.from_json(Path(argv[0]).read_text()), loop, stack)
        keeper.start()
        if keeper.config.logs:
            keep_logs_small(loop, Path(keeper.config.logs))
        privileges.drop()
        gc.freeze()
        LOG.info("%s is ready", keeper.config.name)
        loop.run()

    return run_logged("keeper", work)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
