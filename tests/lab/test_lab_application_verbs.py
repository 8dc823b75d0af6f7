"""Every verb that reads, on a lab with an application load balancer, held to what its clients have sent."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from gwlbemu import Lab
from gwlbemu.cli.main import main
from gwlbemu.views.doctor import examine_lab
from gwlbemu.views.metrics import read_counters
from gwlbemu.views.prometheus import exposition
from gwlbemu.views.snapshot import take_snapshot
from tests.lab.web_fronts import NAME, NODES, public_address, web_front
from tests.waiting import wait_until

pytestmark = pytest.mark.namespace
A, B = NODES


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    file = tmp_path_factory.mktemp("web") / "web.yaml"
    file.write_text(web_front("web-verbs", capture=True))
    with Lab(file) as lab:
        yield lab


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Lab]:
    """A lab for one test, which lets engines begin anew."""
    file = tmp_path / "web.yaml"
    file.write_text(web_front("web-own"))
    with Lab(file) as lab:
        yield lab


def requests_at(lab: Lab) -> int:
    return sum(each.requests for each in lab.targets())


def test_who_answers_by_name_over_http_and_https(lab: Lab) -> None:
    for url in (f"{NAME}/x?y", f"{NAME.replace('http', 'https', 1)}/x?y"):
        report = lab.http("client", url, count=4)
        assert report.ok
        for answer in report.answers:
            assert answer.target in ("server-a", "server-b")
            assert answer.zone == answer.target[-1]
            assert answer.forwarded["X-Forwarded-For"] == "198.51.100.10"
            assert answer.forwarded["X-Forwarded-Proto"] == url.partition(":")[0]
            assert answer.forwarded["X-Amzn-Trace-Id"].startswith("Root=1-")
            assert answer.seen["peer_address"] in {node.address for node in lab.plan.application_nodes}


@pytest.mark.contract("AL-05")
def test_a_node_gives_its_requests_to_its_targets_in_turn(lab: Lab) -> None:
    report = lab.http("client", f"http://{public_address(lab, A)}/", count=10)
    assert report.targets == {"server-a": 5, "server-b": 5}


@pytest.mark.contract("AL-12")
def test_a_certificate_is_verified_against_the_labs_authority(lab: Lab) -> None:
    (answer,) = lab.http("client", f"https://{public_address(lab, A)}/").answers
    assert answer.status == 200


def test_targets_metrics_and_the_live_view_count_the_same_requests(lab: Lab) -> None:
    before, counted = requests_at(lab), lab.metric("RequestCount")
    lab.http("client", f"{NAME}/", count=6)
    assert requests_at(lab) - before == 6
    assert lab.metric("RequestCount") - counted == 6
    assert lab.metric("HTTPCode_Target_2XX_Count") == lab.metric("RequestCount")
    node = next(each for each in take_snapshot(lab.running, now=0.0).nodes if each.name == A)
    assert node.counts.to_targets == sum(each.requests for each in lab.targets() if each.node == A)
    assert node.counts.live_flows == node.metrics["ActiveConnectionCount"]
    text = exposition(read_counters(lab.running), {A: "a", B: "b"})
    total = sum(
        float(line.rpartition(" ")[2])
        for line in text.splitlines()
        if line.startswith("aws_applicationelb_request_count_total{")
    )
    assert total == lab.metric("RequestCount")


def test_a_request_that_is_under_way_is_a_flow(lab: Lab) -> None:
    waiting = lab.spawn("client", ["curl", "-s", f"http://{public_address(lab, A)}/delay/30"])
    try:
        flow = wait_until(lambda: next((each for each in lab.flows() if each.target), None), what="the flow")
        assert flow is not None
        assert (flow.node, flow.type, flow.listener, flow.target_group) == (A, "application", "HTTP:80", "servers")
        assert (flow.source, flow.target_address) == ("198.51.100.10", f"10.0.{'ab'.index(flow.target[-1]) + 1}.10")
        assert [each.in_flight for each in lab.targets() if (each.node, each.id) == (A, flow.target)] == [1]
    finally:
        waiting.kill()
    wait_until(lambda: not lab.flows(), what="its end")


def test_an_injected_packet_arrives_at_the_node_that_ends_the_connection(lab: Lab) -> None:
    (report,) = lab.inject(tcp=80, source="client", destination=public_address(lab, A))
    assert (report.delivered_to, bool(report.replies)) == (A, True)
    assert report.expected is not None
    assert report.expected.agrees


@pytest.mark.parametrize("packet", [{"tcp": 9999}, {"udp": 80}], ids=str)
def test_an_injected_packet_that_no_listener_takes_is_told_to_have_come_to_the_node(
    lab: Lab, packet: dict[str, int]
) -> None:
    (report,) = lab.inject(**packet, source="client", destination=public_address(lab, A))  # type: ignore[arg-type]
    assert (report.outcome, report.delivered_to, report.came_to) == ("lost", "", A)
    assert report.why == f"arrived at {A}'s interface; nothing there was seen to take it"
    assert report.expected is not None
    assert report.expected.agrees


def test_every_process_has_a_log_and_the_command_prints_it(lab: Lab, capsys: pytest.CaptureFixture[str]) -> None:
    for process in lab.status().processes:
        assert main(["logs", "--lab", lab.name, process.name]) == 0
    said = capsys.readouterr().out
    assert f"{A} is ready" in said
    assert "target server-a of servers: healthy" in said
    assert "server-a: ready on port 80" in said
    assert main(["logs", "--lab", lab.name, "web", "--access"]) == 4
    assert "access logs of web are off" in capsys.readouterr().err


@pytest.mark.contract("AL-21")
def test_the_access_log_has_the_requests_that_targets_saw_by_time(own: Lab, capsys: pytest.CaptureFixture[str]) -> None:
    lab = own
    lab.set("web", {"access_logs.s3.enabled": True})
    try:
        wait_until(lambda: lab.status().well, what="the engines")
        seen = [
            answer.forwarded["X-Amzn-Trace-Id"]
            for node in (A, B, A)
            for answer in lab.http("client", f"http://{public_address(lab, node)}/logged", count=2).answers
        ]
        lines = wait_until(
            lambda: found if len(found := [line for line in lab.access_log("web") if "/logged" in line]) == 6 else [],
            what="the lines",
        )
        assert [line.split('"')[5] for line in lines] == seen
        assert [line for line in lab.access_log(A) if "/logged" in line] == [*lines[:2], *lines[4:]]
        assert main(["logs", "--lab", lab.name, "web", "--access", "--lines", "1"]) == 0
        assert capsys.readouterr().out == f"{lines[-1]}\n"
    finally:
        lab.set("web", {"access_logs.s3.enabled": False})
    assert main(["logs", "--lab", lab.name, "web", "--access"]) == 0
    assert "access logs of web are off" in capsys.readouterr().err


def test_a_request_is_one_journey_from_client_to_server(lab: Lab, capsys: pytest.CaptureFixture[str]) -> None:
    answer = lab.http("client", f"{NAME}/journey").answers[0]
    root = answer.forwarded["X-Amzn-Trace-Id"].removeprefix("Root=")
    node = f"web-node-{'a' if answer.address == public_address(lab, A) else 'b'}"

    def told() -> str:
        flow = f"tcp 198.51.100.10:{answer.source_port}"
        main(["inspect", "--lab", lab.name, "--last", "--journeys", "--flow", flow])
        return capsys.readouterr().out

    text = wait_until(lambda: text if (text := told()).count("handed on to the client") else "", what="the journey")
    (there,) = (each for each in text.split("\n\n") if f"(forwarded as GET /journey, Root={root})" in each)
    taps = [line.split()[2] for line in there.splitlines()[1:]]
    assert taps[0] == "client/eth0"
    assert taps.count(f"{node}/eni") == 2
    assert taps[-1] == f"{answer.target}/eth0"
    (back,) = (each for each in text.split("\n\n") if "handed on to the client" in each)
    assert [back.splitlines()[1].split()[2], back.splitlines()[-1].split()[2]] == [
        f"{answer.target}/eth0",
        "client/eth0",
    ]


@pytest.mark.contract("AL-09")
def test_targets_that_all_fail_are_told_as_failing_open(lab: Lab) -> None:
    for name in ("server-a", "server-b"):
        lab.fail("process", name)
    try:
        lab.advance("20s")
        wait_until(lambda: all(each.state == "unhealthy" for each in lab.targets()), what="unhealthy targets")
        assert all(node.failing_open == ("servers",) for node in lab.status().nodes)
        texts = [each.text for each in examine_lab(lab.running).findings if each.kind == "zone-without-health"]
        assert len(texts) == 2
        assert all("it fails open, requests go to them all the same" in text for text in texts)
    finally:
        for name in ("server-a", "server-b"):
            lab.heal("process", name)
    wait_until(
        lambda: lab.advance("5s") is not None and all(each.state == "healthy" for each in lab.targets()), what="health"
    )


def test_a_killed_engine_is_told_by_status_and_doctor_and_healed(own: Lab) -> None:
    lab = own
    (engine,) = (each for each in lab.status().processes if each.name == f"{A}.proxy")
    os.kill(engine.pid, signal.SIGKILL)
    wait_until(lambda: any(node.broken_proxy for node in lab.status().nodes), what="the keeper to tell")
    status = lab.status()
    assert ([node.name for node in status.nodes if node.broken_proxy], status.well) == ([A], False)
    assert "stopped-proxy" in {each.kind for each in examine_lab(lab.running).findings}
    assert lab.http("client", f"http://{public_address(lab, B)}/").ok
    lab.heal("node", A)
    wait_until(lambda: lab.status().well, what="the engine")
    url = f"http://{public_address(lab, A)}/"
    assert lab.http("client", url, count=4).targets == {"server-a": 2, "server-b": 2}
