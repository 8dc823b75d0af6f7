"""Changes to a running lab: what is refused, who is told, what stands in the plan afterwards."""

from __future__ import annotations

import json
import os
import re
import select
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml

from gwlbemu import Lab
from gwlbemu.errors import LabError, SettingError
from gwlbemu.lab import change, planned
from gwlbemu.lab.running import RunningLab, open_lab
from gwlbemu.lab.state import State
from gwlbemu.net.record import OwnedProcess, open_existing, open_new
from gwlbemu.topology.plan.encode import to_json
from gwlbemu.topology.plan.values import Plan
from tests.lab.worlds import world
from tests.topology.builder import Data, plan_of

IDLE, CROSS, STICKY = "tcp.idle_timeout.seconds", "load_balancing.cross_zone.enabled", "stickiness.enabled"
ON_UNHEALTHY = "target_failover.on_unhealthy"
NODES = ("inspect-node-a", "inspect-node-b")


@dataclass
class FakeNode:
    """The control socket of a node: it hears requests and gives one answer to all of them."""

    path: Path
    heard: list[dict[str, Any]] = field(default_factory=list)
    answer: dict[str, Any] = field(default_factory=lambda: {"ok": True})

    def __enter__(self) -> FakeNode:
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listener.bind(str(self.path))
        self._listener.listen()
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._listener.close()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:  # shut down
                return
            with connection, connection.makefile("rwb") as stream:
                self.heard.append(json.loads(stream.readline()))
                stream.write(json.dumps(self.answer).encode() + b"\n")


@dataclass(frozen=True)
class Fakes:
    """A lab that consists of a plan, a record and two fake nodes."""

    lab: RunningLab
    nodes: tuple[FakeNode, ...]

    @property
    def plan(self) -> Plan:
        """The plan as the state folder has it now."""
        return open_lab("test", root=self.lab.state.root).plan

    @property
    def heard(self) -> list[list[dict[str, Any]]]:
        return [node.heard for node in self.nodes]


def both_zones(data: Data) -> None:
    data["load_balancers"][0]["subnets"] = ["sec-a", "sec-b"]


@pytest.fixture
def fakes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fakes]:
    plan = plan_of(both_zones)
    state = State(plan.lab, tmp_path_factory.mktemp("c"))
    with ExitStack() as opened:
        open_new(plan.lab, root=state.root).close()
        state.make_folders()
        for name in NODES:
            state.make_own(name, user=0)
        state.plan.write_text(to_json(plan))
        nodes = tuple(opened.enter_context(FakeNode(state.control(name))) for name in NODES)
        yield Fakes(RunningLab(plan, state), nodes)


def targets(plan: Plan) -> list[tuple[str, str]]:
    return [(target.id, target.zone) for target in plan.target_groups[0].targets]


def test_a_registered_target_is_told_to_every_node_and_written_down(fakes: Fakes) -> None:
    change.register(fakes.lab, "firewalls", "fw-b")
    assert fakes.heard == [[{"verb": "register", "id": "fw-b", "address": "10.254.2.11", "zone": "b"}]] * 2
    assert targets(fakes.plan) == [("fw-a", "a"), ("fw-b", "b")]


def test_the_next_change_builds_on_the_last_one(fakes: Fakes) -> None:
    change.register(fakes.lab, "firewalls", "fw-b")
    assert change.deregister(fakes.lab, "firewalls", "fw-a")
    assert targets(fakes.plan) == [("fw-b", "b")]


def test_deregistering_what_is_not_registered_tells_nobody(fakes: Fakes) -> None:
    assert not change.deregister(fakes.lab, "firewalls", "fw-b")
    assert fakes.heard == [[], []]


@pytest.mark.parametrize(
    ("resource", "values", "of_plan"),
    [
        ("inspect", {IDLE: "400"}, lambda plan: plan.load_balancers[0].listeners[0].attributes[IDLE]),
        ("inspect", {CROSS: "true"}, lambda plan: plan.load_balancers[0].attributes[CROSS]),
        ("firewalls", {STICKY: "true"}, lambda plan: plan.target_groups[0].attributes[STICKY]),
    ],
)
def test_an_attribute_is_told_to_every_node_and_written_where_it_belongs(
    fakes: Fakes, resource: str, values: dict[str, str], of_plan: Callable[[Plan], str]
) -> None:
    before = fakes.plan
    change.set_attributes(fakes.lab, resource, values)
    assert [[each["attributes"] for each in heard] for heard in fakes.heard] == [[values], [values]]
    (value,) = values.values()
    assert of_plan(before) != value
    assert of_plan(fakes.plan) == value


def test_keys_of_the_load_balancer_and_of_its_listener_are_one_change(fakes: Fakes) -> None:
    change.set_attributes(fakes.lab, "inspect", {CROSS: "true", IDLE: "400"})
    assert [[each["resource"] for each in heard] for heard in fakes.heard] == [["load-balancer", "listener"]] * 2


Change = Callable[[RunningLab], object]
REFUSED: list[tuple[str, Change, str, str]] = [
    ("group", lambda lab: change.register(lab, "x", "fw-b"), "no target group x; there are: firewalls",
     "TargetGroupNotFound"),
    ("group to leave", lambda lab: change.deregister(lab, "x", "fw-b"), "no target group x", "TargetGroupNotFound"),
    ("instance", lambda lab: change.register(lab, "firewalls", "x"), "x is not an instance of VPC security; there are",
     "InvalidTarget"),
    ("instance of another VPC", lambda lab: change.register(lab, "firewalls", "web"), "web is not an instance of VPC",
     "InvalidTarget"),
    ("zone of an instance", lambda lab: change.register(lab, "firewalls", "fw-b", "b"), "Availability Zone cannot be",
     "ValidationError"),
    ("resource", lambda lab: change.set_attributes(lab, "x", {STICKY: "true"}),
     "no load balancer or target group x; there are: inspect, firewalls", "LoadBalancerNotFound"),
    ("key", lambda lab: change.set_attributes(lab, "firewalls", {"x": "1"}), "'x' is not an attribute of firewalls",
     "ValidationError"),
    ("key of another resource", lambda lab: change.set_attributes(lab, "firewalls", {IDLE: "400"}),
     f"'{IDLE}' is not an attribute of firewalls", "ValidationError"),
    ("value", lambda lab: change.set_attributes(lab, "inspect", {CROSS: "true", IDLE: "59"}), "from 60 to 6000",
     "ValidationError"),
    ("values together", lambda lab: change.set_attributes(lab, "firewalls", {ON_UNHEALTHY: "rebalance"}),
     "must be set to the same value", "ValidationError"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("refused", "words", "code"), [each[1:] for each in REFUSED], ids=[each[0] for each in REFUSED]
)
def test_what_aws_would_refuse_reaches_no_node_and_changes_nothing(
    fakes: Fakes, refused: Change, words: str, code: str
) -> None:
    before = fakes.plan
    with pytest.raises(SettingError) as caught:
        refused(fakes.lab)
    assert words in str(caught.value)
    assert caught.value.code == code
    assert fakes.heard == [[], []]
    assert fakes.plan == before


@pytest.mark.parametrize(
    ("target", "zone", "words"),
    [
        ("192.168.7.7", None, "Availability Zone (or all) is needed for 192.168.7.7"),
        ("10.254.2.77", "a", "10.254.2.77 is in zone b of VPC security, not in a"),
        ("8.8.8.8", "all", "target address 8.8.8.8 is not valid"),
        ("fw-b", None, "'fw-b' is not an IPv4 address"),
    ],
)
def test_an_address_that_cannot_be_a_target_is_refused(target: str, zone: str | None, words: str) -> None:
    plan = plan_of(ip_targets)
    with pytest.raises(SettingError, match=re.escape(words)):
        planned.registered(plan, plan.target_groups[0].name, target, zone)


@pytest.mark.parametrize(
    ("target", "zone", "home"), [("192.168.7.7", "all", "all"), ("192.168.7.7", "b", "b"), ("10.254.2.77", None, "b")]
)
def test_an_address_has_the_zone_of_its_subnet_or_the_one_that_is_given(
    target: str, zone: str | None, home: str
) -> None:
    plan = plan_of(ip_targets)
    assert planned.registered(plan, plan.target_groups[0].name, target, zone)[1].zone == home


def ip_targets(data: Data) -> None:
    data["target_groups"][0].update(target_type="ip", targets=["10.254.1.11"])


def test_what_a_node_refuses_is_raised_and_not_written_down(fakes: Fakes) -> None:
    fakes.nodes[1].answer = {"ok": False, "error": "the node has its reasons", "code": "TooManyTargets"}
    before = fakes.plan
    with pytest.raises(SettingError, match="the node has its reasons") as caught:
        change.register(fakes.lab, "firewalls", "fw-b")
    assert caught.value.code == "TooManyTargets"
    assert fakes.plan == before


def test_a_dead_node_stops_a_change_before_another_one_hears_of_it(fakes: Fakes) -> None:
    with open_existing("test", root=fakes.lab.state.root) as record:
        record.add(OwnedProcess(NODES[1], "test-" + NODES[1], pid=1, started=0))  # pid 1 began at another time
    before = fakes.plan
    for refused in (
        lambda: change.register(fakes.lab, "firewalls", "fw-b"),
        lambda: change.deregister(fakes.lab, "firewalls", "fw-a"),
        lambda: change.set_attributes(fakes.lab, "inspect", {CROSS: "true"}),
        lambda: change.advance(fakes.lab, 1.0),
    ):
        with pytest.raises(LabError, match=f"{NODES[1]} is dead; its log is "):
            refused()
    assert fakes.heard == [[], []]
    assert fakes.plan == before


def test_a_lab_that_was_taken_down_meanwhile_is_said_to_be_down(fakes: Fakes) -> None:
    (fakes.lab.state.folder / "record.jsonl").unlink()
    with pytest.raises(LabError, match="no lab test is up"):
        change.register(fakes.lab, "firewalls", "fw-b")


@pytest.mark.parametrize(
    ("text", "seconds"), [("351", 351), ("351s", 351), ("6m", 360), ("6min", 360), ("1h", 3600), ("0.5s", 0.5)]
)
def test_a_duration_is_a_number_with_or_without_a_unit(text: str, seconds: float) -> None:
    assert change.parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "s", "-1s", "1 h", "1d", "1h30m", "٣s."])
def test_anything_else_is_no_duration(text: str) -> None:
    with pytest.raises(SettingError, match="is not a time: expected a number with s, m or h"):
        change.parse_duration(text)


def long_form() -> str:
    """The small world with its listener in the long form."""
    data = yaml.safe_load(world({"fw-1": "a", "fw-2": "b"}))
    balancer = data["load_balancers"][0]
    action = {"type": "forward", "forward_config": {"target_groups": [{"target_group": "firewalls", "weight": 1}]}}
    del balancer["listener"]
    balancer["listeners"] = [{"default_actions": [action], "attributes": {IDLE: 360}}]
    return yaml.safe_dump(data, sort_keys=False)


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with Lab(long_form(), capture=False) as up:
        yield up


@pytest.mark.namespace
def test_a_listener_in_the_long_form_is_served_and_can_be_set(lab: Lab) -> None:
    assert lab.exec("client", ["curl", "-s", "-m", "5", "http://203.0.113.10/"]).stdout.startswith("server-a")
    assert lab.plan.load_balancers[0].listeners[0].attributes[IDLE] == "360"
    lab.set("inspect", {IDLE: "60"})
    assert lab.plan.load_balancers[0].listeners[0].attributes[IDLE] == "60"
    assert lab.exec("client", ["curl", "-s", "-m", "5", "http://203.0.113.11/"]).stdout.startswith("server-b")
    lab.advance(61)
    assert [flow for flow in lab.flows() if flow.protocol == 6] == []  # 360 seconds would have kept them


@pytest.mark.namespace
def test_a_node_that_refuses_leaves_the_plan_as_it_was(lab: Lab) -> None:
    """Told past the plan that the group is sticky, the nodes refuse what the plan alone would allow."""
    for name in NODES:
        lab.running.call(name, "set", resource="target-group", attributes={STICKY: "true"})
    before = lab.plan
    try:
        with pytest.raises(SettingError, match=r"only while stickiness\.enabled is false"):
            lab.set("inspect", {IDLE: "90"})
        assert lab.plan == before
    finally:
        for name in NODES:
            lab.running.call(name, "set", resource="target-group", attributes={STICKY: "false"})


@pytest.mark.namespace
def test_without_one_of_its_nodes_a_lab_is_not_changed(lab: Lab) -> None:
    """The last test of this lab: a node does not come back."""
    (pid,) = [process.pid for process in lab.status().processes if process.name == NODES[1]]
    fd = os.pidfd_open(pid)
    try:
        signal.pidfd_send_signal(fd, signal.SIGKILL)
        assert select.select([fd], [], [], 10)[0]  # it has ended
        before = lab.plan
        with pytest.raises(LabError, match=f"{NODES[1]} is dead; its log is "):
            lab.set("inspect", {CROSS: "true"})
        with pytest.raises(LabError, match=f"{NODES[1]} is dead"):
            lab.deregister("firewalls", "fw-1")
        assert lab.plan == before
        assert {target.id for target in lab.plan.target_groups[0].targets} == {"fw-1", "fw-2"}
    finally:
        os.close(fd)
