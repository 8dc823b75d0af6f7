"""Exit codes and error messages that need no lab: wrong words, wrong files, wrong state, wrong user."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from gwlbemu.capture.pcapng import section_header
from gwlbemu.cli.main import EXIT_CODES, VERBS
from gwlbemu.command import command
from tests.paths import TOPOLOGIES

MINIMAL = TOPOLOGIES / "minimal.yaml"


@pytest.fixture
def changed(tmp_path: Path) -> Callable[[Callable[[dict[str, Any]], object]], str]:
    """A copy of minimal.yaml with one thing changed."""

    def write(change: Callable[[dict[str, Any]], object]) -> str:
        document = yaml.safe_load(MINIMAL.read_text())
        change(document)
        file = tmp_path / "changed.yaml"
        file.write_text(yaml.safe_dump(document))
        return str(file)

    return write


def app(document: dict[str, Any]) -> dict[str, Any]:
    vpc: dict[str, Any] = document["vpcs"][0]
    return vpc


def test_every_verb_explains_itself(gwlbemu: Any) -> None:
    assert gwlbemu("--help").code == 0
    for verb in VERBS:
        said = gwlbemu(verb, "--help")
        assert (said.code, said.out.startswith(f"Usage: gwlbemu {verb}")) == (0, True)


@pytest.mark.parametrize(
    "words",
    [("no-such-verb",), ("up",), ("fail", "nonsense", "x"), ("set", "firewalls"), ("status", "--wrong"),
     ("up", str(MINIMAL), "--wait", "-1"), ("inspect", "x.pcapng", "--journeys", "--json"),
     ("inspect", "x.pcapng", "--journeys", "-v")],
)  # fmt: skip
def test_a_wrong_command_line_is_2(gwlbemu: Any, words: tuple[str, ...]) -> None:
    said = gwlbemu(*words)
    assert (said.code, said.out) == (2, "")
    assert "Error: " in said.err


@pytest.mark.namespace
@pytest.mark.parametrize(
    "words",
    [("status",), ("targets",), ("flows",), ("metrics",), ("inject", "--tcp", "80"), ("exec", "client", "--", "true"),
     ("register", "g", "t"), ("deregister", "g", "t"), ("set", "g", "a=b"), ("fail", "zone", "a"), ("advance", "5s")],
)  # fmt: skip
def test_without_a_lab_the_answer_is_4_and_says_how_to_get_one(gwlbemu: Any, words: tuple[str, ...]) -> None:
    said = gwlbemu(*words)
    assert (said.code, said.out) == (4, "")
    assert said.err == f"gwlbemu: no lab is up ({command('up', 'FILE')})\n"


@pytest.mark.namespace
def test_down_without_a_lab_is_no_error(gwlbemu: Any) -> None:
    assert (gwlbemu("down").code, gwlbemu("down", "--lab", "nobody").code) == (0, 0)
    assert gwlbemu("labs", "--json").json == []


def test_without_root_up_is_5(gwlbemu: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    said = gwlbemu("up", str(MINIMAL))
    assert (said.code, said.err) == (5, "gwlbemu: network namespaces need root: run it with sudo\n")


def test_plan_and_schema_need_no_root(gwlbemu: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    assert "vpce" in gwlbemu("plan", str(MINIMAL)).out
    plan = gwlbemu("plan", "--json", str(MINIMAL)).json
    assert {"lab", "namespaces", "links", "endpoints", "gateway_nodes", "target_groups"} <= plan.keys()
    assert json.loads(gwlbemu("schema").out)["title"] == "gwlbemu topology"


def test_a_file_that_cannot_be_read_or_is_no_topology_is_3(gwlbemu: Any, tmp_path: Path) -> None:
    said = gwlbemu("plan", str(tmp_path / "nowhere.yaml"))
    assert (said.code, "cannot be read: No such file" in said.err) == (3, True)
    binary = tmp_path / "binary.yaml"
    binary.write_bytes(b"\xff\xfe\x00")
    assert gwlbemu("plan", str(binary)).code == 3
    binary.write_text("lab: [")
    assert gwlbemu("plan", str(binary)).code == 3


def test_of_several_captures_the_one_that_cannot_be_read_is_named(gwlbemu: Any, tmp_path: Path) -> None:
    good, bad = tmp_path / "good.pcapng", tmp_path / "bad.pcapng"
    good.write_bytes(section_header())
    bad.write_text("no capture")
    assert f"\n{bad}: the file cannot be read beyond byte 0" in gwlbemu("inspect", str(bad)).out
    assert f"\n{bad}: the file cannot be read beyond byte 0" in gwlbemu("inspect", str(good), str(bad)).out


def refused(gwlbemu: Any, file: str, *expected: str) -> None:
    said = gwlbemu("plan", file)
    assert (said.code, said.out) == (3, "")
    assert said.err.startswith(f"gwlbemu: {file}")
    for words in expected:
        assert words in said.err


def test_an_unknown_key_is_refused_by_name(gwlbemu: Any, changed: Any) -> None:
    refused(gwlbemu, changed(lambda document: app(document).update(subnet=[])), "subnet")


@pytest.mark.contract("EP-01")
def test_two_endpoints_of_a_service_in_one_zone_of_a_vpc_are_refused(gwlbemu: Any, changed: Any) -> None:
    second = {"name": "vpce-2", "subnet": "servers", "service": "inspect"}
    refused(
        gwlbemu,
        changed(lambda document: app(document)["endpoints"].append(second)),
        "vpce is the endpoint of inspect in zone a",
    )


@pytest.mark.contract("EP-02")
@pytest.mark.parametrize("destination", ["10.0.1.0/25", "192.0.2.0/24"])
def test_an_edge_route_to_anything_but_the_vpc_or_a_whole_subnet_is_refused(
    gwlbemu: Any, changed: Any, destination: str
) -> None:
    def change(document: dict[str, Any]) -> None:
        app(document)["route_tables"][0]["routes"][0]["destination"] = destination

    refused(gwlbemu, changed(change), "edge", destination)


@pytest.mark.contract("EP-03")
def test_a_route_more_specific_than_local_that_is_no_whole_subnet_is_refused(gwlbemu: Any, changed: Any) -> None:
    route = {"destination": "10.0.2.0/25", "target": "vpce"}
    refused(gwlbemu, changed(lambda document: app(document)["route_tables"][1]["routes"].append(route)), "10.0.2.0/25")


@pytest.mark.contract("EP-05")
def test_an_endpoint_that_a_route_still_names_cannot_be_taken_away(gwlbemu: Any, changed: Any) -> None:
    """Deleting is editing the file here: without the endpoint, every route that leads to it is named and refused."""
    refused(
        gwlbemu, changed(lambda document: app(document).update(endpoints=[])), "a route to nothing: VPC app has no vpce"
    )


@pytest.mark.contract("EX-01")
def test_a_classic_load_balancer_is_refused_with_its_successors(gwlbemu: Any, changed: Any) -> None:
    file = changed(lambda document: document["load_balancers"][0].update(type="classic"))
    refused(gwlbemu, file, "classic", "its successors, 'application', 'network' or 'gateway'")


@pytest.mark.contract("TG-01")
@pytest.mark.parametrize(("key", "value"), [("port", 80), ("protocol", "TCP"), ("target_type", "lambda")])
def test_a_target_group_that_is_not_geneve_on_6081_is_refused(
    gwlbemu: Any, changed: Any, key: str, value: object
) -> None:
    refused(gwlbemu, changed(lambda document: document["target_groups"][0].update({key: value})), key)


def test_the_documented_exit_codes_are_these() -> None:
    assert sorted(EXIT_CODES) == [0, 1, 2, 3, 4, 5]
