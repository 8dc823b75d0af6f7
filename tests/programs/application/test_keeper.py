"""The keeper of an application load balancer's node on a real HAProxy."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import pytest

from gwlbemu.core.elb.rules import FIXED_RESPONSE, Action, Condition, FixedResponse, Rule
from gwlbemu.lab.engines import missing
from gwlbemu.programs.haproxy.master import ANSWER_SECONDS, workers
from tests.programs.application.alb_bench import Bench, balancer, bench, group, listener, plain, target
from tests.programs.application.http_lab import CLIENT, NODE, Answer, Http, Seen, forward
from tests.programs.application.load import CLIENTS, PER_SECOND, load
from tests.waiting import PATIENCE, wait_until

pytestmark = [
    pytest.mark.namespace,
    pytest.mark.skipif(missing() is not None, reason="needs HAProxy"),
]
DELAY = "deregistration_delay__timeout_seconds"


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Bench]:
    with bench(tmp_path) as made:
        yield made


def get(path: str = "/x") -> str:
    """Who answers a request over a connection of its own, or with which status."""
    with Http() as client:
        answer = client.ask(path)
    return answer.body.decode() if answer.status == 200 else str(answer.status)


def answers(count: int = 20) -> Counter[str]:
    return Counter(get() for _ in range(count))


def wait_for_taking(lab: Bench, *names: str) -> None:
    """Wait until exactly these targets take requests, as HAProxy has it."""
    wait_until(lambda: lab.taking() == set(names), lambda: f"{names}, there are {lab.taking()}")


class Gate:
    """Lets requests wait in a target."""

    def __init__(self) -> None:
        self.came, self.opened = threading.Semaphore(0), threading.Event()

    def __call__(self, seen: Seen) -> None:
        if seen.url == "/wait":
            self.came.release()
            assert self.opened.wait(PATIENCE)


@pytest.mark.contract("AL-09")
def test_requests_go_to_healthy_targets_and_to_all_when_none_is(lab: Bench) -> None:
    lab.serve(1, 2)
    lab.start(plain(target(1), target(2)))
    lab.wait_for_states(t1="healthy", t2="healthy")
    assert set(answers()) == {"t1", "t2"}
    lab.answers[2].is_healthy = False
    wait_for_taking(lab, "t1")
    assert set(answers()) == {"t1"}
    lab.answers[1].is_healthy = False
    wait_for_taking(lab, "t1", "t2")
    assert lab.states() == {"t1": "unhealthy", "t2": "unhealthy"}
    assert set(answers()) == {"t1", "t2"}
    assert lab.ask("status")["failing_open"] == ["web"]
    lab.answers[2].is_healthy = True
    wait_for_taking(lab, "t2")
    assert set(answers()) == {"t2"}


def test_health_reaches_the_engine_after_the_propagation_delay(lab: Bench) -> None:
    lab.serve(1, 2)
    lab.start(plain(target(1), target(2)), propagation_delay_seconds=0.3)
    lab.wait_for_states(t1="healthy", t2="healthy")
    lab.answers[2].is_healthy = False
    wait_for_taking(lab, "t1")
    lab.answers[2].is_healthy = True
    wait_for_taking(lab, "t1", "t2")


@pytest.mark.contract("AL-10")
def test_without_cross_zone_only_the_zones_own_targets_get_requests(lab: Bench) -> None:
    lab.serve(1, 2)
    lab.start(plain(target(1), target(2, "b")))
    wait_for_taking(lab, "t1", "t2")
    assert set(answers()) == {"t1", "t2"}
    lab.configure(plain(target(1), target(2, "b"), load_balancing__cross_zone__enabled="false"))
    wait_until(lambda: set(lab.states()) == {"t1"})
    wait_for_taking(lab, "t1")
    assert set(answers()) == {"t1"}
    lab.configure(plain(target(2, "b"), load_balancing__cross_zone__enabled="false", **{DELAY: "0"}))
    wait_until(lambda: get() == "503")


@pytest.mark.contract("AL-22")
def test_a_deregistered_target_finishes_what_it_has_and_what_is_left_at_the_end_gets_502(lab: Bench) -> None:
    """The text is another one by then: of the two requests one is a former worker's."""
    gate = Gate()
    lab.serve(1, 2)
    lab.answers[2].before = gate
    lab.start(plain(target(2), **{DELAY: "100"}))
    wait_for_taking(lab, "t2")
    with ThreadPoolExecutor() as pool:
        try:
            first: Future[str] = pool.submit(get, "/wait")
            assert gate.came.acquire(timeout=PATIENCE)
            lab.configure(plain(target(1), target(2), **{DELAY: "100"}))
            wait_for_taking(lab, "t1", "t2")
            second = pool.submit(get, "/wait")
            while not gate.came.acquire(timeout=0.1):
                second.result() if second.done() else None
                second = pool.submit(get, "/wait") if second.done() else second
            lab.configure(plain(target(1), **{DELAY: "100"}))
            wait_for_taking(lab, "t1")
            assert lab.states() == {"t1": "healthy", "t2": "draining"}
            assert lab.targets_told()["t2"]["in_flight"] == 2
            assert set(answers()) == {"t1"}
            assert [first.done(), second.done()] == [False, False]
            lab.ask("advance", seconds=101)
            assert first.result(PATIENCE) == "502"
            assert second.result(PATIENCE) == "502"
        finally:
            gate.opened.set()
    wait_until(lambda: lab.states() == {"t1": "healthy"})
    wait_until(lambda: lab.metrics()["HTTPCode_ELB_502_Count"] == 2)


def test_flows_are_the_connections_of_clients_page_by_page(lab: Bench) -> None:
    gate = Gate()
    lab.serve(1)
    lab.answers[1].before = gate
    lab.start(plain(target(1)))
    wait_for_taking(lab, "t1")
    with ExitStack() as stack:
        clients = [stack.enter_context(Http()) for _ in range(5)]
        ports = {client.source_port for client in clients}
        for client in clients:
            assert client.ask("/x").body == b"t1"
        stack.callback(gate.opened.set)
        clients[2].send(b"GET /wait HTTP/1.1\r\nHost: a.example\r\n\r\n")
        assert gate.came.acquire(timeout=PATIENCE)
        for newest in (False, True):
            seen, cursor = [], ""
            for _ in range(3):
                answer = lab.ask("flows", limit=2, cursor=cursor, newest=newest)
                seen += answer["flows"]
                cursor = answer["cursor"]
            assert (answer["more"], cursor) == (False, "")
            assert {flow["source_port"] for flow in seen} == ports
            assert len(seen) == len(ports)
        by_port = {flow["source_port"]: flow for flow in seen}
        proxied = by_port[clients[2].source_port]
        assert (proxied["state"], proxied["target"], proxied["target_port"]) == ("proxied", "t1", 8080)
        idle = by_port[clients[0].source_port]
        assert (idle["state"], idle["target"], idle["listener"]) == ("idle", "", "HTTP:80")
        assert (idle["source"], idle["destination"], idle["destination_port"]) == (CLIENT, NODE, 80)
        assert lab.metrics()["ActiveConnectionCount"] >= len(ports)


@pytest.mark.contract("AL-22")
def test_a_request_in_flight_ends_well_within_the_delay(lab: Bench) -> None:
    gate = Gate()
    lab.serve(1, 2)
    lab.answers[2].before = gate
    lab.start(plain(target(2), **{DELAY: "100"}))
    wait_for_taking(lab, "t2")
    with ThreadPoolExecutor() as pool:
        try:
            waiting = pool.submit(get, "/wait")
            assert gate.came.acquire(timeout=PATIENCE)
            (flow,) = lab.ask("flows")["flows"]
            assert (flow["target"], flow["target_group"], flow["listener"]) == ("t2", "web", "HTTP:80")
            lab.configure(plain(target(1), **{DELAY: "100"}))
            wait_for_taking(lab, "t1")
            assert not waiting.done()
        finally:
            gate.opened.set()
        assert waiting.result(PATIENCE) == "t2"


@pytest.mark.contract("AL-22")
def test_a_connection_of_before_is_closed_with_its_next_answer_or_soon(lab: Bench) -> None:
    """A client's connection that a former worker has."""
    lab.serve(1)
    lab.start(plain(target(1)))
    wait_for_taking(lab, "t1")
    with Http() as busy, Http() as idle:
        assert busy.ask("/x").body == idle.ask("/x").body == b"t1"
        lab.configure(balancer((listener("web"),), group("web", target(1)), idle_timeout__timeout_seconds="50"))
        wait_until(lambda: workers(lab.command("show proc")).former)
        answer = busy.ask("/x")
        assert (answer.body, answer.value("Connection")) == (b"t1", "close")
        assert idle.is_closed()
    wait_until(lambda: not workers(lab.command("show proc")).former)
    assert get() == "t1"


@pytest.mark.contract("AL-19")
def test_weights_rise_in_slow_start(lab: Bench) -> None:
    lab.serve(1, 2)
    lab.start(plain(target(1), slow_start__duration_seconds="600"))
    wait_for_taking(lab, "t1")
    lab.configure(plain(target(1), target(2), slow_start__duration_seconds="600"))
    wait_for_taking(lab, "t1", "t2")
    wait_until(lambda: lab.servers()["t2"][1] < 10)
    few = answers(50)
    assert few["t2"] < 10 < few["t1"]
    lab.ask("advance", seconds=300)
    wait_until(lambda: 40 < lab.servers()["t2"][1] < 60)
    lab.ask("advance", seconds=301)
    wait_until(lambda: lab.servers()["t2"][1] == 100)
    assert lab.servers()["t1"][1] == 100
    assert answers(50)["t2"] > 20


def _is_answered(path: str, what: str) -> bool:
    return get(path) == what


@pytest.mark.contract("AL-04", "AL-22")
def test_changes_of_rules_and_targets_lose_no_request(lab: Bench) -> None:
    lab.serve(1, 2, 3)
    lab.start(plain(target(1), target(2)))
    wait_for_taking(lab, "t1", "t2")
    fixed = Action(FIXED_RESPONSE, fixed_response=FixedResponse(404, "text/plain", "nothing"))
    rules = tuple(Rule(n, (Condition("path-pattern", (f"/{n}/*",)),), (fixed,)) for n in range(1, 5))
    with load() as clients:
        for number in range(4):
            before = clients.total()
            told = listener("web", rules=rules[: number + 1])
            lab.configure(balancer((told,), group("web", target(1), target(2), *([target(3)] * (number % 2)))))
            wait_until(partial(clients.reached, before + PER_SECOND / 2))
            wait_until(partial(_is_answered, f"/{number + 1}/x", "404"))
        lab.answers[1].is_healthy = False
        wait_for_taking(lab, "t2", "t3")
        before = clients.total()
        wait_until(partial(clients.reached, before + PER_SECOND / 2))
    assert clients.lost == {}
    assert {"t1", "t2", "t3"} == set(clients.found)
    wait_until(lambda: not workers(lab.command("show proc")).former)
    assert lab.metrics()["HTTPCode_Target_2XX_Count"] >= clients.total()  # and who looked whether a rule is there


@pytest.mark.contract("AL-11")
def test_a_target_that_dies_costs_no_more_than_until_it_is_unhealthy(lab: Bench) -> None:
    lab.serve(1, 2)
    lab.start(plain(target(1), target(2)))
    wait_for_taking(lab, "t1", "t2")
    with load() as clients:
        wait_until(partial(clients.reached, 50))
        lab.kill(2)
        wait_for_taking(lab, "t1")
        before = dict(clients.lost)
        seen = clients.total()
        wait_until(partial(clients.reached, seen + PER_SECOND))
    # Where a target's connection breaks under a request that was not the first of its client's connection, HAProxy
    # closes the client's, which is to ask again; AWS answers 502.
    assert "502" in clients.lost
    assert set(clients.lost) <= {"502", "EOFError"}
    assert sum(clients.lost.values()) - sum(before.values()) <= CLIENTS  # those that were under way


@pytest.mark.contract("AL-11")
def test_an_engine_that_was_killed_comes_back_without_a_stale_server(lab: Bench) -> None:
    lab.serve(1, 2)
    lab.start(plain(target(1), target(2)))
    wait_for_taking(lab, "t1", "t2")
    assert set(answers()) == {"t1", "t2"}
    requests = lab.metrics()["RequestCount"]
    lab.kill_engine()
    wait_until(lambda: lab.ask("status")["proxy"] != "running")
    assert "does not answer" in lab.ask("status")["proxy"]
    lab.answers[2].is_healthy = False
    lab.wait_for_states(t1="healthy", t2="unhealthy")
    lab.start_engine()
    lab.wait_for_engine()
    assert set(answers()) == {"t1"}
    assert lab.metrics()["RequestCount"] == requests + 20


def test_a_keeper_that_is_started_again_knows_what_the_one_before_has_told(lab: Bench) -> None:
    """The engine has read the text of the beginning, which is the new keeper's, too, and was told otherwise since."""
    lab.serve(1, 2)
    lab.start(plain(target(1), target(2)))
    lab.wait_for_states(t1="healthy", t2="healthy")
    lab.answers[2].is_healthy = False
    wait_for_taking(lab, "t1")
    lab.kill_keeper()
    assert lab.taking() == {"t1"}
    lab.answers[2].is_healthy = True
    lab.start_keeper()
    lab.wait_for_states(t1="healthy", t2="healthy")
    wait_for_taking(lab, "t1", "t2")


def test_an_engine_that_is_frozen_holds_no_answer_of_the_keeper_up(lab: Bench) -> None:
    lab.serve(1)
    lab.start(plain(target(1)))
    wait_for_taking(lab, "t1")
    assert get() == "t1"
    assert lab.metrics()["RequestCount"] == 1
    assert lab.engine is not None
    os.killpg(lab.engine.pid, signal.SIGSTOP)
    try:
        wait_until(lambda: "does not answer" in lab.ask("status")["proxy"])
        asked_at = time.monotonic()
        assert lab.targets_told()["t1"]["requests"] == 1
        assert lab.metrics()["RequestCount"] == 1
        assert time.monotonic() - asked_at < ANSWER_SECONDS
    finally:
        os.killpg(lab.engine.pid, signal.SIGCONT)
    lab.wait_for_engine()
    assert get() == "t1"
    wait_until(lambda: lab.metrics()["RequestCount"] == 2)


@pytest.mark.contract("AL-21")
def test_metrics_count_what_there_was(lab: Bench) -> None:
    lab.serve(1)
    fixed = Action(FIXED_RESPONSE, fixed_response=FixedResponse(404, "text/plain", "nothing"))
    rules = (
        Rule(1, (Condition("path-pattern", ("/fixed",)),), (fixed,)),
        Rule(2, (Condition("path-pattern", ("/nobody",)),), (forward("empty"),)),
        Rule(3, (Condition("path-pattern", ("/dead",)),), (forward("dead"),)),
    )
    groups = group("web", target(1)), group("empty"), group("dead", target(2))
    lab.start(balancer((listener("web", rules=rules),), *groups))
    lab.wait_for_states(t1="healthy", t2="unhealthy")
    assert [get(path) for path in ("/x", "/x", "/fixed", "/nobody", "/dead", "/x")] == [
        "t1", "t1", "404", "503", "502", "t1"
    ]  # fmt: skip
    assert broken() == 400
    found = lab.ask("metrics")
    expected = {
        "RequestCount": 4,
        "HTTPCode_Target_2XX_Count": 3,
        "HTTPCode_Target_5XX_Count": 0,
        "HTTPCode_ELB_4XX_Count": 2,
        "HTTPCode_ELB_5XX_Count": 2,
        "HTTPCode_ELB_502_Count": 1,
        "HTTPCode_ELB_503_Count": 1,
        "HTTPCode_ELB_504_Count": 0,
        "HTTP_Fixed_Response_Count": 1,
        "TargetConnectionErrorCount": 1,
        "HealthyHostCount": 1,
        "UnHealthyHostCount": 1,
    }
    assert {name: found["metrics"][name] for name in expected} == expected
    by_group = {name: values["RequestCount"] for name, values in found["by_group"].items()}
    assert by_group == {"web": 3, "dead": 1}
    told = lab.targets_told()
    assert (told["t1"]["requests"], told["t2"]["requests"]) == (3, 1)
    lab.configure(balancer((listener("web"),), *groups))  # a new text: nothing is counted anew
    assert get() == "t1"
    wait_until(lambda: lab.metrics()["RequestCount"] == 5)


def broken() -> int:
    """The answer to what is no request."""
    with Http() as client:
        client.send(b"GET / HTTP/1.1\r\nHost: a b\r\n: nothing\r\n\r\n")
        answer: Answer = client.read()
    return answer.status
