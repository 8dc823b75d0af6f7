"""An Application Load Balancer's node: what the core says about a request, for the states that are given.

Nothing is decided here: which rule matches and which servers may take requests are the core's own.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from ipaddress import ip_address
from typing import NamedTuple

from gwlbemu.core.application.balancer import ApplicationBalancer
from gwlbemu.core.application.engine import Pool, Server
from gwlbemu.core.application.requests import Request, is_spoken, outcome
from gwlbemu.core.application.settings import Listener, Settings
from gwlbemu.core.elb.application_attributes import ApplicationAttributes
from gwlbemu.core.elb.rules import FIXED_RESPONSE, FORWARD, JWT_VALIDATION, REDIRECT, Action
from gwlbemu.core.emulation import Emulation
from gwlbemu.paths.choices import Choices
from gwlbemu.paths.given_states import decided_at_once, observe
from gwlbemu.paths.values import Packet, States
from gwlbemu.topology.plan.application_settings import application_balancer
from gwlbemu.topology.plan.dns_names import dns_name
from gwlbemu.topology.plan.values import ApplicationNode, Plan

_ALGORITHMS = {
    "round_robin": "round robin",
    "least_outstanding_requests": "least outstanding requests",
    "weighted_random": "weighted random",
}


class Decision(NamedTuple):
    """What becomes of a request: the rule that says so, and the server of a group, or the status of an answer of the
    load balancer's own. `asks` is how a given request comes to the server, a line for each thing.
    """

    rule: str
    group: str = ""
    server: Server | None = None
    how: str = ""  # the server was chosen
    status: int = 0
    why: str = ""  # the load balancer answers by itself
    is_wanted: bool = True  # that it answers by itself: not since something is missing
    asks: tuple[str, ...] = ()


class ApplicationModel:
    """One node in some states. It remembers no request, so that all walks may share it."""

    def __init__(self, plan: Plan, node: ApplicationNode, states: States) -> None:
        self.node = node
        balancer = next(each for each in plan.load_balancers if each.name == node.load_balancer)
        told = application_balancer(plan, balancer.name)
        told = replace(told, groups=decided_at_once(told.groups))
        settings = Settings(
            load_balancer=balancer.name,
            zone=node.zone,
            zones=balancer.zones,
            address=ip_address(node.address).packed,
            dns_name=dns_name(balancer),
            emulation=replace(Emulation.from_values(plan.emulation), propagation_delay_seconds=0),
        )
        self._core = ApplicationBalancer(settings, told, 0.0)
        observe(self._core, told.groups, node.name, states)
        self._engine = self._core.engine()
        self._groups = {group.name: group for group in told.groups}
        self._pools = {pool.name: pool for pool in self._engine.pools}
        self._attributes = ApplicationAttributes.from_text(load_balancer=balancer.attributes)

    @property
    def listeners(self) -> str:
        """The listeners' names, for people."""
        return ", ".join(each.name for each in self._engine.listeners)

    def listener(self, port: int | None) -> Listener | None:
        """Return the listener at a port."""
        return next((each for each in self._engine.listeners if each.port == port), None)

    def healthy(self) -> list[tuple[int, int]]:
        """Return how many targets in scope are healthy, and how many DNS wants, of each target group."""
        return list(self._core.healthy_counts().values())

    def decide(self, listener: Listener, arrived: Packet, choices: Choices, request: Request | None) -> Decision:
        """Return what becomes of a request on a connection that has arrived; without one, every rule may match."""
        if request is not None:
            return self._judge(listener, replace(request, source=arrived.source), choices)
        ways = list(_ways(listener))
        rule, action = choices.pick((self.node.name, listener.name, "rule"), ways)
        if len(ways) > 1:
            choices.name(f"{self.node.name}: {rule}")
        return self._act(rule, action, choices)

    def sees(self, listener: Listener, arrived: Packet) -> tuple[str, ...]:
        """Return what a target sees of the client, a line for each thing (ALB guide, HTTP headers and Application Load
        Balancers).
        """
        client = arrived.source
        if self._attributes.xff_client_port and arrived.source_port is not None:
            client = f"[{client}]" if ":" in client else client
            client += f":{arrived.source_port}"
        mode = self._attributes.xff_mode
        forwarded = {
            "append": f"X-Forwarded-For: {client}, behind what the client sends",
            "preserve": "X-Forwarded-For: what the client sends",
            "remove": "no X-Forwarded-For",
        }[mode]
        return (
            f"source {self.node.address}, the node's",
            forwarded,
            f"X-Forwarded-Proto: {listener.protocol.lower()}",
            f"X-Forwarded-Port: {listener.port}",
        )

    def _judge(self, listener: Listener, request: Request, choices: Choices) -> Decision:
        """What becomes of a given request."""
        told = outcome(self._engine, listener, request)
        name = f"rule {told.rule.priority}" if told.rule else "default actions"
        rule = f"listener {listener.name}, {name}" + (", its token being valid" if told.token else "")
        if told.action != FORWARD or told.status:
            wanted = {REDIRECT: f"a redirect to {told.location}", FIXED_RESPONSE: "a fixed response"}
            why = wanted.get(told.action, "no target is asked")
            return Decision(rule, status=told.status, why=why, is_wanted=told.action in wanted)
        found = self._forward(rule, [one.target_group for one in told.groups], choices)
        pool = self._pools[found.group]
        if found.server is not None and not is_spoken(pool, request):
            why = f"the request does not fit protocol version {pool.protocol_version} of target group {pool.name}"
            return Decision(rule, pool.name, status=464, why=why, is_wanted=False)
        return found._replace(asks=(f"{request.method} {told.url}", f"Host: {told.host}"))

    def _act(self, rule: str, action: Action, choices: Choices) -> Decision:
        if action.type == REDIRECT and action.redirect is not None:
            return Decision(rule, status=action.redirect.status, why="a redirect")
        if action.type == FIXED_RESPONSE and action.fixed_response is not None:
            return Decision(rule, status=action.fixed_response.status, why="a fixed response")
        groups = [one.target_group for one in action.target_groups if one.weight]
        if not groups:
            return Decision(rule, status=503, why="every target group has weight 0", is_wanted=False)
        return self._forward(rule, groups, choices)

    def _forward(self, rule: str, groups: list[str], choices: Choices) -> Decision:
        name = choices.pick((self.node.name, rule, "group"), groups)
        if len(groups) > 1:
            choices.name(f"{self.node.name}: target group {name}")
        return self._serve(rule, self._pools[name], choices)

    def _serve(self, rule: str, pool: Pool, choices: Choices) -> Decision:
        servers = [each for each in pool.servers if each.takes_requests]
        if not servers:
            why = f"target group {pool.name} has no registered targets"
            if self._groups[pool.name].targets:
                why = (
                    f"target group {pool.name} has no target in zone {self.node.zone}, and cross-zone load balancing is"
                    " off"
                )
            return Decision(rule, pool.name, status=503, why=why, is_wanted=False)
        server = choices.pick((self.node.name, pool.name, "server"), servers)
        if len(servers) > 1:
            choices.name(f"{self.node.name}: {server.target}")
        if pool.name in self._core.failing_open():
            how = "fail open: too few targets in scope are healthy"
        elif len(servers) == 1:
            how = "the only target that takes requests"
        else:
            attributes = ApplicationAttributes.from_text(target_group=pool.attributes)
            how = f"{_ALGORITHMS.get(attributes.algorithm, attributes.algorithm)}, one of {len(servers)}"
            if attributes.sticky:
                how += ", without a cookie of this load balancer's"
        return Decision(rule, pool.name, server, how)


def _ways(listener: Listener) -> Iterator[tuple[str, Action]]:
    """Yield each action that may be taken, with the first rule that does so."""
    rows = [(f"rule {rule.priority}", rule.actions) for rule in listener.rules]
    rows.append(("default actions", listener.default_actions))
    known = set()
    for rule, actions in rows:
        action = next(each for each in actions if each.type != JWT_VALIDATION)
        if (action, len(actions)) not in known:
            known.add((action, len(actions)))
            checked = ", its token being valid" if len(actions) > 1 else ""
            yield f"listener {listener.name}, {rule}{checked}", action
