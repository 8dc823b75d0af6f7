"""The bundled topologies with application load balancers do what their texts say."""

from __future__ import annotations

import re
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from gwlbemu import Lab
from gwlbemu.cli.main import main
from gwlbemu.lab.engines import missing
from gwlbemu.topology.plan.dns_names import balancer_addresses
from tests.paths import TOPOLOGIES
from tests.waiting import PATIENCE, wait_until

pytestmark = [pytest.mark.namespace, pytest.mark.skipif(missing() is not None, reason="needs HAProxy")]
WEB, SHOP = "web.elb.lab.amazonaws.com", "shop.elb.lab.amazonaws.com"
SILENCE = 28  # curl's exit code


def curl(lab: Lab, *words: str, who: str = "client", seconds: float = 20.0) -> tuple[int, str]:
    done = lab.exec(who, ["curl", "-s", "-m", str(seconds), *words], timeout=60)
    return done.code, done.stdout


def server(lab: Lab, *words: str) -> str:
    code, said = curl(lab, *words)
    assert code == 0, words
    return said.splitlines()[0]


def cookies(lab: Lab, url: str) -> list[str]:
    """The cookies that an answer brings, by name."""
    return re.findall(r"(?mi)^set-cookie: ([^=]+)=", curl(lab, "-i", url)[1])


# ---- web-tier --------------------------------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def tier() -> Iterator[Lab]:
    with Lab("web-tier", name="tier", wait=PATIENCE) as lab:
        yield lab


@pytest.mark.contract("AL-12", "AL-23")
def test_the_web_tier_sends_to_https_and_serves_there_with_a_certificate_that_can_be_verified(tier: Lab) -> None:
    code, said = curl(tier, "-I", f"http://{WEB}/shop?id=1")
    assert code == 0
    assert said.startswith("HTTP/1.1 301 ")
    assert f"location: https://{WEB}:443/shop?id=1" in said.lower()
    follow = ("-L", "--cacert", "/run/authority.pem", f"http://{WEB}/")
    assert {server(tier, *follow) for _ in range(8)} == {"web-a1", "web-a2", "web-b1", "web-b2"}


@pytest.mark.contract("AL-13")
def test_the_web_tier_has_one_door(tier: Lab) -> None:
    address = balancer_addresses(tier.plan, "web")["a"][0]
    for port in (22, 8080):
        assert curl(tier, f"http://{address}:{port}/", seconds=1.0)[0] == SILENCE
    inside = [f"http://{each.address}/" for each in tier.plan.instances if each.name.startswith("web-")]
    assert len(inside) == 4
    for url in inside:  # a server does not even reach another one
        who = "web-b2" if "10.0.11." in url else "web-a1"
        assert curl(tier, url, who=who, seconds=1.0)[0] == SILENCE


def test_the_web_tiers_firewall_sees_both_ways(tier: Lab) -> None:
    url = f"https://{WEB}/delay/2"
    asking = tier.spawn("client", ["curl", "-s", "-m", "60", "--cacert", "/run/authority.pem", url])

    def inspected() -> bool:
        flows = (flow for flow in tier.flows() if flow.node.startswith("firewall-node"))
        return any(flow.packets_to and flow.packets_from for flow in flows)

    wait_until(inspected, "a flow with both directions")
    assert asking.wait().code == 0


# ---- sticky ----------------------------------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def sticky() -> Iterator[Lab]:
    with Lab("sticky", name="sticking", capture=False, wait=PATIENCE) as lab:
        yield lab


EVERYBODY = {"blue-a", "blue-b", "green-a", "green-b"}


def visit(lab: Lab, url: str, times: int) -> Counter[str]:
    """Who serves a client that keeps its cookies, and asks so many times over new connections."""
    program = (
        "import subprocess, sys, tempfile\n"
        "with tempfile.NamedTemporaryFile() as jar:\n"
        "    for _ in range(int(sys.argv[2])):\n"
        "        words = ['curl', '-s', '-m', '20', '-b', jar.name, '-c', jar.name, sys.argv[1]]\n"
        "        print(subprocess.run(words, capture_output=True, text=True).stdout.splitlines()[0])\n"
    )
    done = lab.exec("client", [sys.executable, "-c", program, url, str(times)], timeout=120)
    assert done.code == 0, done.stderr
    return Counter(done.stdout.split())


@pytest.mark.contract("AL-06")
def test_the_load_balancers_cookie_names_one_server(sticky: Lab) -> None:
    assert cookies(sticky, f"http://{WEB}/") == ["AWSALB", "AWSALBCORS"]
    assert {server(sticky, f"http://{WEB}/") for _ in range(8)} == EVERYBODY
    assert len(visit(sticky, f"http://{WEB}/", 8)) == 1


@pytest.mark.contract("AL-07")
def test_the_applications_cookie_begins_it(sticky: Lab) -> None:
    assert cookies(sticky, f"http://{WEB}:81/") == []
    found = cookies(sticky, f"http://{WEB}:81/login")
    assert found[:2] == ["session", "AWSALBAPP-0"]
    assert len(visit(sticky, f"http://{WEB}:81/login", 8)) == 1


@pytest.mark.contract("AL-08")
def test_a_client_stays_on_its_target_group(sticky: Lab) -> None:
    assert cookies(sticky, f"http://{WEB}:82/") == ["AWSALBTG", "AWSALBTGCORS"]
    served = visit(sticky, f"http://{WEB}:82/", 8)
    assert set(served) in ({"blue-a", "blue-b"}, {"green-a", "green-b"})


@pytest.mark.contract("AL-06")
def test_either_node_honours_the_cookie_of_the_other(sticky: Lab) -> None:
    a, b = (each[0] for each in balancer_addresses(sticky.plan, "web").values())
    given = curl(sticky, "-i", f"http://{a}/")[1]
    (cookie,) = re.findall(r"(?mi)^set-cookie: (AWSALB=[^;]+)", given)
    name = given.replace("\r", "").split("\n\n", 1)[1].splitlines()[0]
    assert {server(sticky, "-H", f"Cookie: {cookie}", f"http://{each}/") for each in (b, b, a, b)} == {name}


# ---- static-ip -------------------------------------------------------------------------------------------------------
@pytest.mark.contract("NL-10")
@pytest.mark.topology(TOPOLOGIES / "static-ip.yaml", capture=False)
def test_static_addresses_lead_to_an_application_load_balancer_which_tells_who_the_client_is(lab: Lab) -> None:
    for address in ("203.0.113.1", "203.0.113.2"):
        code, said = curl(lab, f"http://{address}:8080/")
        assert code == 0
        assert said.splitlines()[0] in ("web-a1", "web-a2", "web-b1")
        assert "X-Forwarded-For: 198.51.100.10" in said
        assert "peer: 10.0." in said  # a node of `api`
        code, said = curl(lab, "-i", f"http://{address}:8080/admin")
        assert said.startswith("HTTP/1.1 403 ")
        assert said.endswith("not from here")


# ---- cross-zone ------------------------------------------------------------------------------------------------------
@pytest.mark.contract("AL-10")
@pytest.mark.topology(TOPOLOGIES / "cross-zone.yaml", capture=False)
def test_cross_zone_is_on_unless_a_target_group_switches_it_off(lab: Lab) -> None:
    of_zone = {"a": {"web-a"}, "b": {"web-b", "web-b2"}}
    for zone, (address,) in balancer_addresses(lab.plan, "shop").items():
        assert Counter(server(lab, f"http://{address}/") for _ in range(6)) == dict.fromkeys(
            of_zone["a"] | of_zone["b"], 2
        )
        assert {server(lab, f"http://{address}:81/") for _ in range(4)} == of_zone[zone]


# ---- scaling ---------------------------------------------------------------------------------------------------------
@pytest.mark.alone
@pytest.mark.contract("EX-02")
@pytest.mark.topology(TOPOLOGIES / "scaling.yaml", capture=False, datapath="python")
def test_a_larger_server_raises_the_ceiling_of_one_and_more_servers_raise_the_total(lab: Lab) -> None:
    def mbit(clients: int) -> float:
        """What so many downloads at once bring together, each over a connection of its own."""
        url = f"http://{SHOP}/bytes/3000000"
        words = ["curl", "-s", "-m", "60", "-o", "/dev/null", "-w", "%{speed_download}\n"]
        running = [lab.spawn("client", [*words, url]) for _ in range(clients)]
        return sum(float(each.wait().stdout) for each in running) * 8 / 1e6

    def only(*targets: str) -> None:
        for target in targets:
            lab.register("shop-servers", target)
            lab.wait_for_state(target, "healthy")
        for target in {each.id for each in lab.targets() if each.target_group == "shop-servers"} - set(targets):
            lab.deregister("shop-servers", target)
        wait_until(lambda: {server(lab, f"http://{SHOP}/") for _ in range(8)} == set(targets), "the change")

    one_small = mbit(1)
    only("web-large")
    one_large = mbit(1)
    only("web-1", "web-2", "web-3")
    three_small = mbit(3)
    assert one_small < 24
    assert one_large > 1.8 * one_small
    assert three_small > 1.6 * one_small


# ---- classic ---------------------------------------------------------------------------------------------------------
@pytest.mark.contract("EX-01")
def test_a_classic_load_balancer_is_refused_and_what_the_refusal_says_is_taken(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = TOPOLOGIES / "refused" / "classic.yaml"
    assert main(["plan", str(file)]) == 3
    said = capsys.readouterr().err
    assert re.search(r"classic\.yaml:\d+: load_balancers\[0\]\.type: a classic load balancer is of the previous", said)
    successors = re.findall(r"'(\w+)'", said)
    assert successors == ["application", "network", "gateway"]
    mended = tmp_path / "mended.yaml"
    mended.write_text(file.read_text().replace("type: classic", f"type: {successors[0]}"))
    with Lab(mended, name="successor", capture=False, wait=PATIENCE) as lab:
        assert {server(lab, f"http://{WEB}/") for _ in range(4)} == {"web-a", "web-b"}
