"""reach and test: what they print and how they end."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from gwlbemu import Lab
from gwlbemu.cli import reach
from gwlbemu.net.record import list_labs
from gwlbemu.views.model import Question
from gwlbemu.views.outcome import Outcome
from gwlbemu.views.reach import Pair
from gwlbemu.wire.protocols import TCP
from tests.paths import TOPOLOGIES

TWO_ZONES = str(TOPOLOGIES / "two-zones.yaml")


# ---- reach ----
def test_the_matrix_of_a_file(gwlbemu: Any) -> None:
    said = gwlbemu("reach", TWO_ZONES)
    assert (said.code, said.err) == (0, "")
    assert said.out.splitlines() == [
        "tcp 80",
        "            1  2  3  to",
        "client   1  .  =  =",
        "web-a    2  =  .  -",
        "web-b    3  =  -  .",
        "  = delivered and answered, inspected both ways by the same targets",
        "  - delivered and answered, not inspected",
    ]


def test_what_somebody_has_to_look_at_is_told_in_a_sentence(gwlbemu: Any, tmp_path: Path) -> None:
    file = tmp_path / "off.yaml"
    text = (TOPOLOGIES / "transit-gateway.yaml").read_text()
    file.write_text(text.replace("appliance_mode: enable", "appliance_mode: disable"))
    said = gwlbemu("reach", str(file), "--tcp", "80")
    assert said.code == 0  # a matrix is no judgement
    assert "  < delivered, and the answer is lost" in said.out
    assert "  < client-a -> server-b: delivered, and its answer is lost: inspect-node-b drops it at vpce-b" in said.out


def test_several_protocols_and_json(gwlbemu: Any) -> None:
    said = gwlbemu("reach", TWO_ZONES, "--tcp", "80", "--udp", "53", "--icmp", "--json")
    assert len(said.json) == 3 * 6
    first = said.json[0]
    assert {key: first[key] for key in ("from", "to", "protocol", "port", "symbol", "packets", "differs")} == {
        "from": "client", "to": "web-a", "protocol": "tcp", "port": 80, "symbol": "=", "packets": None, "differs": False
    }  # fmt: skip
    assert {tuple(each["inspected_there"]) for each in first["model"]} == {("firewall", "ids")}
    (lost,) = [each for each in said.json if (each["from"], each["to"], each["protocol"]) == ("web-a", "web-b", "udp")]
    assert lost["model"][0]["lost"]["reason"] == "ENI_SG_RULES_MISMATCH"


def test_twenty_instances_fit_eighty_columns(gwlbemu: Any, tmp_path: Path) -> None:
    instances = "".join(f"      - {{name: server-{number}, subnet: s}}\n" for number in range(1, 21))
    file = tmp_path / "twenty.yaml"
    file.write_text(
        "lab: twenty\nvpcs:\n  - name: app\n    cidr: 10.0.0.0/16\n"
        "    subnets: [{name: s, zone: a, cidr: 10.0.1.0/24}]\n    instances:\n" + instances
    )
    said = gwlbemu("reach", str(file))
    assert max(map(len, said.out.splitlines())) <= 80
    assert said.out.splitlines()[21].split() == ["server-20", "20", *["-"] * 19, "."]


def test_a_difference_is_marked_without_colours_too(monkeypatch: pytest.MonkeyPatch, gwlbemu: Any) -> None:
    found = Outcome(None, None, ("fw",), ("fw",), True)
    past = Outcome(None, None, (), (), True)
    pair = Pair(Question("a", "b", TCP, 80), (found,), past)
    monkeypatch.setattr(reach, "_pairs", lambda *_, **__: [pair])
    said = gwlbemu("reach", TWO_ZONES)
    assert said.code == 1
    assert "* packets and model differ" in said.out
    assert "  * a -> b: packets: delivered and answered; not inspected" in said.out
    assert "    model: delivered and answered; inspected both ways by fw" in said.out
    assert " -*" in said.out


def test_a_file_has_no_packets(gwlbemu: Any) -> None:
    assert gwlbemu("reach", TWO_ZONES, "--by-packets").code == 2
    assert gwlbemu("reach", "nowhere.yaml").code == 3


# ---- test ----
def write(path: Path, *lines: str) -> str:
    text = Path(TWO_ZONES).read_text().partition("\nexpect:")[0]
    path.write_text("\n".join([text, "expect:", *(f"  - {{{line}}}" for line in lines), ""]))
    return str(path)


def test_what_holds_ends_with_0(gwlbemu: Any) -> None:
    said = gwlbemu("test", TWO_ZONES)
    assert (said.code, said.err) == (0, "")
    assert said.out.splitlines()[0] == "ok    client -> web-a tcp 80"
    assert said.out.splitlines()[-1] == f"{TWO_ZONES}: 11 of 11 hold"


def test_what_does_not_ends_with_1_and_says_why(gwlbemu: Any, tmp_path: Path) -> None:
    file = write(
        tmp_path / "a.yaml", "from: client, to: web-a, port: 80", "from: web-a, to: web-b, port: 80, inspected_by: ids"
    )
    junit = tmp_path / "junit.xml"
    said = gwlbemu("test", file, "--junit", str(junit))
    lines = said.out.splitlines()
    assert said.code == 1
    number = Path(file).read_text().splitlines().index("  - {from: web-a, to: web-b, port: 80, inspected_by: ids}") + 1
    assert lines[1] == f"FAIL  web-a -> web-b tcp 80  ({file}:{number})"
    assert lines[2] == "      inspected by none on the way there, expected ids"
    assert "          app-a  route table app-a: 10.0.0.0/16 -> local (app-b)" in lines
    assert lines[-1] == f"{file}: 1 of 2 hold, 1 do not"
    assert ElementTree.parse(junit).find("testsuite/testcase/failure") is not None
    found = gwlbemu("test", file, "--json")
    assert found.code == 1
    assert [(each["held"], each["line"]) for each in found.json] == [(True, number - 1), (False, number)]


@pytest.mark.parametrize(
    ("lines", "code", "told"),
    [
        (["from: client, to: web-a, port: 80, delivred: true"], 3, "did you mean delivered?"),
        (["from: client, to: web-a, port: 80, after: fail instance nobody"], 3, "there is no instance nobody"),
    ],
)
def test_bad_input_ends_with_3(gwlbemu: Any, tmp_path: Path, lines: list[str], code: int, told: str) -> None:
    said = gwlbemu("test", write(tmp_path / "a.yaml", *lines))
    assert (said.code, said.out) == (code, "")
    assert told in said.err


def test_a_file_that_expects_nothing_is_bad_input(gwlbemu: Any) -> None:
    said = gwlbemu("test", "minimal")
    assert (said.code, said.out) == (3, "")
    assert "nothing is expected in it: there is no key expect" in said.err


def test_without_root_there_is_no_lab(gwlbemu: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    assert gwlbemu("test", TWO_ZONES, "--by-packets").code == 5


# ---- in a lab ----
@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with Lab(TOPOLOGIES / "egress-nat.yaml", capture=False) as lab:
        yield lab


@pytest.mark.namespace
def test_by_packets_and_by_model_in_a_running_lab(lab: Lab, gwlbemu: Any) -> None:
    by_model, by_packets = gwlbemu("reach", "--icmp"), gwlbemu("reach", "--icmp", "--by-packets")
    assert (by_packets.code, by_packets.err) == (0, "")
    assert by_packets.out == by_model.out
    assert by_packets.out.splitlines()[2:4] == ["server   1  .  x", "worker   2  =  ."]


@pytest.mark.namespace
def test_a_lab_that_is_not_as_its_plan_says_is_told(lab: Lab, gwlbemu: Any) -> None:
    try:
        lab.exec("private", ["ip", "route", "replace", "blackhole", "default"])
        said = gwlbemu("reach", "--by-packets", "--json")
    finally:
        way = next(each for each in lab.plan.namespaces if each.resource == "private")
        via = next(each for each in way.routes if each.destination == "0.0.0.0/0")
        lab.exec(
            "private", ["ip", "route", "replace", "default", "via", str(via.via), "dev", str(via.device), "onlink"]
        )
    assert said.code == 1
    (pair,) = [each for each in json.loads(said.out) if each["from"] == "worker"]
    assert (pair["symbol"], pair["differs"]) == ("x", True)
    assert pair["packets"]["lost"]["names"][0] == "private"


@pytest.mark.namespace
def test_by_packets_the_lab_is_made_and_goes(gwlbemu: Any) -> None:
    before = list_labs()
    said = gwlbemu("test", str(TOPOLOGIES / "transit-gateway.yaml"), "--by-packets")
    assert said.code == 0, said.err
    assert said.out.splitlines()[0] == "ok    client-a -> server-b tcp 80"
    assert list_labs() == before
