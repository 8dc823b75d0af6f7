"""explain: what it prints and how it ends, of a file and of a running lab."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from gwlbemu import Lab
from tests.paths import TOPOLOGIES
from tests.waiting import wait_until

TWO_ZONES = str(TOPOLOGIES / "two-zones.yaml")


def test_a_pair_that_talks_is_told_hop_by_hop_in_eighty_columns(gwlbemu: Any) -> None:
    said = gwlbemu("explain", "client", "web-a", TWO_ZONES)
    lines = said.out.splitlines()
    assert (said.code, said.err) == (0, "")
    assert lines[0] == "there  tcp SYN 198.51.100.10:* -> 203.0.113.10:80"
    assert "back   tcp SYN-ACK 10.0.1.10:80 -> 198.51.100.10:*" in lines
    assert "  fw-endpoint-a    route table fw-endpoint-a: 10.0.1.0/24 -> vpce-ids-a" in lines
    assert lines[-1] == "Delivered and answered; inspected both ways, by the same targets."
    assert max(map(len, lines)) <= 80


def test_a_packet_that_is_lost_ends_with_1_and_says_why(gwlbemu: Any) -> None:
    said = gwlbemu("explain", "client", "web-a:81", "two-zones")
    assert said.code == 1
    assert "dropped: fw-a1 keeps the packet: rule default [FIREWALL_RULES_RESTRICTION]" in " ".join(said.out.split())
    assert said.out.splitlines()[-2:] == [
        "Not delivered in any of 2 ways that are possible; in the first of them, fw-a1",
        "keeps the packet: rule default.",
    ]


def test_the_hop_and_the_line_where_the_directions_part_are_named(gwlbemu: Any, tmp_path: Any) -> None:
    text = (TOPOLOGIES / "transit-gateway.yaml").read_text()
    file = tmp_path / "off.yaml"
    file.write_text(text.replace("appliance_mode: enable, route_table: back", "route_table: back"))
    said = gwlbemu("explain", "client-a", "server-b:80", str(file))
    assert said.code == 1
    last = said.out.split("The two directions part: ")[1].splitlines()
    assert " ".join(last[:2]) == "at tgw the answer goes to vpce-b; the packet came by vpce-a."
    assert last[2] == "  there  tgw: route table spokes: 0.0.0.0/0 -> to-security (zone a)"
    assert last[4] == "  back   tgw: route table spokes: 0.0.0.0/0 -> to-security (zone b)"
    line = text[: text.index("{destination: 0.0.0.0/0, target: to-security}")].count("\n") + 1
    assert [last[3].strip(), last[5].strip()] == [f"{file}:{line}"] * 2


def test_a_port_where_nothing_listens_answers_with_a_rst(gwlbemu: Any) -> None:
    said = gwlbemu("explain", "web-a", "client:80", TWO_ZONES)
    assert said.code == 0
    assert "back   tcp RST 198.51.100.10:80 -> 203.0.113.10:*" in said.out.splitlines()
    assert "answered with a RST, since nothing listens there; inspected both ways" in " ".join(said.out.split())


def test_json_has_file_and_line_of_each_rule_that_stands_in_the_file(gwlbemu: Any) -> None:
    hops = gwlbemu("explain", "client:40000", "web-a:80", TWO_ZONES, "--json").json["there"]["hops"]
    lines = (TOPOLOGIES / "two-zones.yaml").read_text().splitlines()
    told = {hop["rule"]: (hop["file"], lines[hop["line"] - 1].strip()) for hop in hops if hop["path"]}
    edge = "route table edge: 10.0.1.0/24 -> vpce-fw-a"
    assert told[edge] == (TWO_ZONES, "- {destination: 10.0.1.0/24, target: vpce-fw-a}")
    assert [hop["path"] for hop in hops if hop["rule"] == edge] == ["vpcs[0].route_tables[0].routes[0]"]
    assert "file" not in hops[0]


def test_what_a_program_of_the_users_does_is_no_claim(gwlbemu: Any, tmp_path: Any) -> None:
    text = (TOPOLOGIES / "minimal.yaml").read_text()
    document = yaml.safe_load(text)
    document["vpcs"][1]["instances"][0]["program"] = {"command": ["/bin/my-firewall"]}
    file = tmp_path / "own.yaml"
    file.write_text(yaml.safe_dump(document))
    said = gwlbemu("explain", "client", "web", str(file))
    assert said.code == 1
    text = " ".join(said.out.split())
    assert "= what fw does with it is its own; 2 ways are possible behind fw: delivered or dropped" in text
    assert "dropped: what fw does with it is its own: it may keep it [OwnProgram]" in text
    assert text.endswith("Delivered and answered, if fw returns it: what a program of your own does is not known.")
    assert max(len(line) for line in said.out.splitlines() if str(file) not in line) <= 80


def test_json_has_stable_keys(gwlbemu: Any) -> None:
    said = gwlbemu("explain", "client:40000", "web-a:80", TWO_ZONES, "--json")
    assert said.code == 0
    assert said.json.keys() == {"there", "back", "inspected", "same_targets", "parting", "alternatives", "onward"}
    assert said.json["there"].keys() == {
        "hops", "end", "packet", "endpoints", "targets", "choices", "alternatives", "balanced"
    }  # fmt: skip
    assert said.json["there"]["hops"][0].keys() == {"at", "kind", "rule", "packet", "detail", "path"}
    assert said.json["there"]["end"] == {
        "kind": "delivered", "at": "web-a", "reason": "", "sentence": "it arrives at web-a", "path": ""
    }  # fmt: skip
    assert len(said.json["alternatives"]) == 2  # no lab, no seed: either firewall of the zone


@pytest.mark.parametrize(
    ("change", "code", "told"),
    [
        ("fail instance fw-a1", 0, "targets there: fw-a1 or fw-a2, ids-a => fw-a2, ids-a"),
        ("fail health fw-a2", 0, "targets there: fw-a1 or fw-a2, ids-a => fw-a1, ids-a"),
        ("fail process ids-node-a", 1, "Not delivered: ids-node-a is frozen."),
        ("fail zone b", 0, "nothing changes for this packet and its answer"),
        ("heal instance fw-a1", 0, "nothing changes for this packet and its answer"),
        ("deregister firewalls fw-a1", 0, "targets there: fw-a1 or fw-a2, ids-a => fw-a2, ids-a"),
        ("set firewall load_balancing.cross_zone.enabled=true", 0, "=> fw-a1 or fw-a2 or fw-b1 or fw-b2, ids-a"),
        ("register sensors fw-a1", 0, "fw-a1 or fw-a2, ids-a => fw-a1 or fw-a2, ids-a or fw-a1"),
    ],
)
def test_after_a_change_it_says_what_is_other(gwlbemu: Any, change: str, code: int, told: str) -> None:
    said = gwlbemu("explain", "client", "web-a", TWO_ZONES, "--after", change)
    assert said.code == code
    assert told in " ".join(said.out.split())
    assert said.out.splitlines()[0] == f"After {change}:"


def test_changes_add_up(gwlbemu: Any) -> None:
    words = ["--after", "fail instance fw-a1", "--after", "fail instance fw-a2"]
    said = gwlbemu("explain", "client", "web-a", TWO_ZONES, *words)
    assert said.code == 1
    assert "fail open: no target in scope is healthy" in said.out
    again = gwlbemu("explain", "client", "web-a", TWO_ZONES, *words, "--after", "heal instance fw-a1")
    assert again.code == 0


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (["nobody", "web-a"], 3, "no instance nobody; there are: client, web-a"),
        (["client", "nobody:80"], 3, "no instance nobody; there are: client, web-a"),
        (["client", "web-a:0"], 3, "web-a:0: expected a port from 1 to 65535 behind the name"),
        (["client", "198.51.100.20"], 3, "198.51.100.20: to which port? 198.51.100.20:80, for example"),
        (["client", "web-a", "--proto", "carrier-pigeon"], 3, "--proto carrier-pigeon: expected tcp, udp, icmp or a"),
        (["client", "web-a:80", "--proto", "icmp"], 3, "protocol icmp has no ports"),
        (["client", "web-a", "--after", "shout"], 3, "--after 'shout': expected fail KIND NAME, heal KIND NAME"),
        (["client", "web-a", "--after", "fail instance nobody"], 3, "no instance nobody; there are: client, fw-a1"),
        (["client", "web-a", "--after", "heal health web-a"], 3, "no instance with a health check web-a; there are: "),
        (["client", "web-a", "--after", "fail"], 3, "--after 'fail': expected fail KIND NAME"),
    ],
)
def test_what_cannot_be_meant_is_refused_with_a_sentence(gwlbemu: Any, words: list[str], code: int, told: str) -> None:
    said = gwlbemu("explain", *words[:2], TWO_ZONES, *words[2:])
    assert (said.code, said.out) == (code, "")
    assert told in said.err


def test_protocols_without_ports_and_addresses_of_either_family(gwlbemu: Any) -> None:
    assert gwlbemu("explain", "client", "web-a", TWO_ZONES, "--proto", "icmp").code == 0
    said = gwlbemu("explain", "client", "203.0.113.10", TWO_ZONES, "--proto", "47")
    assert said.code == 1
    assert said.out.startswith("there  gre 198.51.100.10 -> 203.0.113.10\n")
    said = gwlbemu("explain", "client", "[2001:db8::1]:80", TWO_ZONES)
    assert (said.code, said.err) == (3, "gwlbemu: client has no address to reach 2001:db8::1 from\n")


# ---- a running lab ----
@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with Lab(TWO_ZONES, capture=False) as lab:
        yield lab


@pytest.mark.namespace
def test_of_a_lab_it_names_the_target_that_a_connection_meets(lab: Lab, gwlbemu: Any) -> None:
    """With its seed and every port the target is computed, before there is a flow; then packets show who was right."""
    ports = range(40100, 40108)
    told = {}
    for port in ports:
        said = gwlbemu("explain", f"client:{port}", "web-a:80", "--json")
        assert said.code == 0, said.err
        assert said.json["alternatives"] == []
        told[port] = said.json["there"]["targets"][0]
    met = {}
    for port in ports:
        said = gwlbemu("inject", "--from", "client", "--to", "web-a", "--tcp", "80", "--sport", str(port), "--json")
        assert said.code == 0, said.err
        hop = next(hop for hop in said.json[0]["hops"] if hop["endpoint"] == "vpce-fw-a")
        met[port] = [hop["node"], hop["target"]]
    assert met == told
    assert len({target for _, target in met.values()}) == 2


@pytest.mark.namespace
def test_of_a_lab_it_knows_what_is_broken_and_who_is_healthy(lab: Lab, gwlbemu: Any) -> None:
    try:
        assert gwlbemu("fail", "health", "fw-a2").code == 0
        wait_until(lambda: ["fw-a2", "unhealthy"] in [[t["id"], t["state"]] for t in gwlbemu("targets", "--json").json])
        said = gwlbemu("explain", "client", "web-a")
        assert said.code == 0
        assert "fw-a1: the only target in scope" in said.out or "fw-a1: the only" in " ".join(said.out.split())
        assert gwlbemu("fail", "link", "web-a").code == 0
        said = gwlbemu("explain", "client", "web-a")
        assert (said.code, "[CablePulled]" in said.out) == (1, True)
    finally:
        gwlbemu("heal", "health", "fw-a2")
        gwlbemu("heal", "link", "web-a")


@pytest.mark.namespace
def test_of_a_lab_a_live_flow_is_known_with_its_target(lab: Lab, gwlbemu: Any) -> None:
    """UDP to a port that the firewall denies: its flow lives in the node, though nothing came back."""
    ends = ("--from", "client", "--to", "web-a", "--udp", "53")
    for port in ("40301", "40302", "40303"):
        gwlbemu("inject", *ends, "--sport", port)
        met = {
            flow["target"]
            for flow in gwlbemu("flows", "--json").json
            if (flow["source_port"], flow["endpoint"]) == (int(port), "vpce-fw-a")
        }
        said = gwlbemu("explain", f"client:{port}", "web-a:53", "--proto", "udp", "--json").json
        (choice,) = [hop["rule"] for hop in said["there"]["hops"] if hop["kind"] == "choice"]
        assert {choice} == {f"{target}: live flow" for target in met}


@pytest.mark.contract("NL-15")
@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ([], "Delivered to web-a1 or web-b1 or web-a2 and answered"),
        (["fail instance web-a1"], "Delivered to web-a2 or web-b1 and answered"),
        (["fail node web-node-b"], "Delivered to web-a1 or web-a2 and answered"),
        (["fail zone b"], "Delivered to web-a1 or web-a2 and answered"),
        (["fail instance web-b1", "heal instance web-b1"], "Delivered to web-a1 or web-b1 or web-a2 and answered"),
        (["deregister web-servers web-a1"], "Delivered to web-a2 or web-b1 and answered"),
        (["fail zone a", "set web load_balancing.cross_zone.enabled=true"], "Delivered to web-b1 and answered"),
    ],
)
def test_after_a_change_others_serve(gwlbemu: Any, changes: list[str], told: str) -> None:
    given = [word for change in changes for word in ("--after", change)]
    said = gwlbemu("explain", "client", "web", str(TOPOLOGIES / "static-ip.yaml"), *given)
    assert said.code == 0
    assert told in " ".join(said.out.split())


WEB_TIER = str(TOPOLOGIES / "web-tier.yaml")


@pytest.mark.contract("AL-01", "AL-02")
def test_the_connection_behind_an_application_load_balancer_is_told(gwlbemu: Any) -> None:
    said = gwlbemu("explain", "client", "web:443", WEB_TIER)
    assert said.code == 0
    text = " ".join(said.out.split())
    assert "web-node-a ends the connection: listener HTTPS:443, default actions -> target group web-servers" in text
    assert "web-a1 sees source 10.0.1.254, the node's" in text
    assert "web-a1 sees X-Forwarded-For: 198.51.100.10" in text
    assert "app-a local: 10.0.11.0/24" in text
    assert text.endswith("It is served by web-a1 or web-a2 or web-b1 or web-b2.")
    lost = gwlbemu("explain", "client", "web:443", WEB_TIER, "--after", "fail instance web-a1", "--json")
    assert lost.code == 0  # nobody is given a request who is not healthy
    onwards = [each["onward"] for each in lost.json["after"]["alternatives"]]
    assert {each["target"] for each in onwards} == {"web-a2", "web-b1", "web-b2"}


@pytest.mark.contract("AL-04")
def test_a_request_has_its_rule(gwlbemu: Any) -> None:
    redirected = gwlbemu("explain", "client", "web:80", WEB_TIER, "--request", "GET /x?y", "--header", "Host: a.test")
    assert redirected.code == 0
    assert "301 Moved Permanently" in redirected.out
    assert "https://a.test:443/x?y" in redirected.out
    for wrong, told in (
        (["--request", "/x"], "expected a method and a path"),
        (["--header", "Host: a.test"], "of which request?"),
        (["--request", "GET /", "--header", "Host"], "expected NAME:VALUE"),
    ):
        said = gwlbemu("explain", "client", "web:443", WEB_TIER, *wrong)
        assert said.code == 3
        assert told in said.err
