"""Names inside a lab, asked with dig, getent and curl: each subnet and the internet have a resolver that answers."""

from __future__ import annotations

import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from gwlbemu import Lab
from gwlbemu.core.elb.network_attributes import AFFINITY, ANY_ZONE
from gwlbemu.errors import SettingError
from gwlbemu.net.inside import inside
from gwlbemu.net.namespaces import path_of
from gwlbemu.paths.values import Packet
from gwlbemu.paths.walk import Paths, exchange
from gwlbemu.topology.names import RESOLVER
from gwlbemu.topology.plan.render import plan_text
from gwlbemu.wire.protocols import UDP
from tests.lab.fronts import BOTH, PUBLIC, front
from tests.lab.worlds import world
from tests.waiting import PATIENCE, wait_until

pytestmark = pytest.mark.namespace
ANYWHERE = "169.254.169.253"
FIELDS = ("-T", "fields", "-e", "frame.interface_name", "-e", "dns.qry.name")


def two_vpcs() -> str:
    """`worlds.world` in two zones with IPv6, where server-a has a security group that lets nothing out but HTTPS,
    and a third subnet in whose network the resolver's address lies.
    """
    document = yaml.safe_load(world({"fw-a": "a", "fw-b": "b"}, ipv6=True))
    app = next(vpc for vpc in document["vpcs"] if vpc["name"] == "app")
    closed = {"ingress": [{"protocol": "tcp", "ports": 80, "source": "0.0.0.0/0"}]}
    closed["egress"] = [{"protocol": "tcp", "ports": 443, "destination": "192.0.2.1/32"}]
    app["security_groups"] = [{"name": "closed", **closed}]
    for instance in app["instances"]:
        if instance["name"] == "server-a":
            instance["security_groups"] = ["closed"]
    app["subnets"].append({"name": "lowest", "zone": "a", "cidr": "10.0.0.0/24"})
    app["instances"].append({"name": "low", "subnet": "lowest"})
    return yaml.safe_dump(document)


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with Lab(two_vpcs(), capture=True) as lab:
        yield lab


def dig(lab: Lab, where: str, *words: str) -> tuple[str, list[str]]:
    """Ask with dig inside an instance; return the status and the records of the answer, sorted."""
    done = lab.exec(where, ["dig", "+tries=1", "+time=5", "+noall", "+comments", "+answer", *words])
    status = done.stdout.partition("status: ")[2].partition(",")[0]
    return status, sorted(" ".join(line.split()) for line in done.stdout.splitlines() if line and line[0] != ";")


def answered(lab: Lab, where: str, *words: str) -> list[str]:
    """The addresses of an answer."""
    return [record.split()[-1] for record in dig(lab, where, *words)[1]]


def test_an_instance_asks_the_resolver_of_its_vpc_and_knows_its_domain(lab: Lab) -> None:
    before = Path("/etc/resolv.conf").read_bytes()
    seen = {name: lab.exec(name, ["cat", "/etc/resolv.conf"]).stdout for name in ("server-a", "client")}
    assert seen["server-a"] == "nameserver 10.0.0.2\nsearch app.internal\n"
    assert seen["client"] == f"nameserver {ANYWHERE}\nsearch internet\n"
    assert Path("/etc/resolv.conf").read_bytes() == before


def test_instances_are_known_by_name_in_their_own_vpc(lab: Lab) -> None:
    assert dig(lab, "server-b", "server-a.app.internal") == ("NOERROR", ["server-a.app.internal. 60 IN A 10.0.1.10"])
    assert answered(lab, "server-b", "+search", "server-a") == ["10.0.1.10"]
    assert answered(lab, "server-b", "SERVER-A.App.Internal", "AAAA") == ["2001:db8:1:1::10"]
    assert dig(lab, "fw-a", "server-a.app.internal") == ("NXDOMAIN", [])
    assert answered(lab, "fw-a", "+search", "fw-b") == [
        next(one.address for one in lab.plan.instances if one.name == "fw-b")
    ]


def test_programs_find_names_as_everywhere(lab: Lab) -> None:
    found = lab.exec("server-b", ["getent", "ahostsv4", "server-a"])
    assert found.stdout.split()[0] == "10.0.1.10"
    assert lab.exec("client", ["curl", "-s", "-m", "30", "http://server-b.internet/"]).stdout.startswith("server-b")
    assert lab.exec("client", ["curl", "-s", "-m", "30", "http://server-b/"]).code == 0


def test_a_public_name_has_the_private_address_inside_its_vpc(lab: Lab) -> None:
    assert answered(lab, "server-a", "server-b.internet") == ["10.0.2.10"]
    assert answered(lab, "fw-a", "server-b.internet") == ["203.0.113.11"]
    assert answered(lab, "client", "server-b.internet") == ["203.0.113.11"]
    assert answered(lab, "fw-a", "client.internet") == ["198.51.100.10"]


@pytest.mark.parametrize("address", [ANYWHERE, "10.0.0.2", "fd00:ec2::253"])
@pytest.mark.parametrize("way", ["+notcp", "+tcp"])
def test_every_address_answers_by_udp_and_tcp_whatever_a_security_group_says(lab: Lab, address: str, way: str) -> None:
    assert answered(lab, "server-a", f"@{address}", way, "server-b.app.internal") == ["10.0.2.10"]


def test_the_resolver_answers_in_the_subnet_that_its_address_lies_in(lab: Lab) -> None:
    assert answered(lab, "low", "+search", "low") == ["10.0.0.4"]
    assert answered(lab, "low", "+tcp", "server-a.app.internal") == ["10.0.1.10"]


def test_nobody_outside_a_vpc_reaches_its_resolver_and_it_answers_nothing_else(lab: Lab) -> None:
    assert answered(lab, "fw-a", "+time=1", "@10.0.0.2", "server-a.app.internal") == []
    assert answered(lab, "client", "+time=1", "@10.0.0.2", "server-a.app.internal") == []
    assert lab.exec("server-b", ["ping", "-c", "1", "-W", "1", "10.0.0.2"]).code == 1
    assert lab.exec("server-b", ["ping", "-c", "1", "-W", "1", ANYWHERE]).code == 1


def test_nothing_is_ever_asked_of_anybody_else(lab: Lab) -> None:
    """A question is seen where it is asked and nowhere else, and the resolver has no socket to ask by."""
    assert dig(lab, "server-b", "www.example.com") == ("REFUSED", [])
    assert dig(lab, "server-b", "nobody.app.internal") == ("NXDOMAIN", [])
    assert dig(lab, "client", "-x", "198.51.100.10") == ("REFUSED", [])
    (process,) = (one for one in lab.running.processes() if one.name == RESOLVER)
    tables = [Path(f"/proc/{process.pid}/net/{name}") for name in ("udp", "udp6", "tcp", "tcp6", "raw", "raw6")]
    assert [line for table in tables for line in table.read_text().splitlines()[1:]] == []
    seen = [line.split("\t") for file in lab.capture_files() for line in tshark(file, "-Y", "dns", *FIELDS)]
    asked = [tap for tap, name in seen if name == "www.example.com"]
    assert asked == ["server-b/eth0", "server-b/eth0"]  # the question and its answer


def tshark(file: Path, *words: str) -> list[str]:
    done = subprocess.run(["tshark", "-r", str(file), *words], check=True, capture_output=True, text=True)
    return done.stdout.splitlines()


def test_hostile_messages_are_counted_and_end_nothing(lab: Lab) -> None:
    before = status(lab)["counts"]
    with inside(path_of(f"{lab.plan.lab}-server-b")), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        for data in (b"", b"\0" * 11, b"\xff" * 512, b"\0" * 512):
            sock.sendto(data, ("10.0.0.2", 53))
    wait_until(lambda: sum(status(lab)["counts"].values()) >= sum(before.values()) + 4, "four counts")
    assert status(lab)["faults"] == {}
    assert answered(lab, "server-b", "server-a.app.internal") == ["10.0.1.10"]


def test_the_path_model_says_that_there_is_no_way_to_follow(lab: Lab) -> None:
    question = Packet("server-a", "10.0.0.2", UDP, source_port=40000, destination_port=53)
    with pytest.raises(SettingError, match=r"10\.0\.0\.2 is the resolver of servers-a, which answers before any route"):
        exchange(Paths(lab.plan), question)


def status(lab: Lab) -> dict[str, Any]:
    return lab.running.call(RESOLVER, "status")


# -- a network load balancer
FRONT = "front.elb.lab.amazonaws.com"


def zonal_front() -> str:
    """`fronts.front` with one listener, and targets in scope of their own zone alone."""
    document = yaml.safe_load(front())
    (balancer,) = document["load_balancers"]
    balancer["attributes"] = {}
    balancer["listeners"] = [each for each in balancer["listeners"] if each["port"] == BOTH]
    document["target_groups"] = [each for each in document["target_groups"] if each["name"] == "both"]
    return yaml.safe_dump(document)


@pytest.fixture(scope="module")
def balanced() -> Iterator[Lab]:
    with Lab(zonal_front(), wait=PATIENCE) as lab:
        yield lab


def until_answered(lab: Lab, where: str, name: str, *addresses: str) -> None:
    wait_until(lambda: answered(lab, where, name) == sorted(addresses), lambda: str(dig(lab, where, name)))


@pytest.mark.contract("NL-15")
def test_a_load_balancer_is_asked_by_its_name(balanced: Lab) -> None:
    for client in ("client", "near"):
        until_answered(balanced, client, FRONT, *PUBLIC.values())
        assert answered(balanced, client, f"b.{FRONT}") == [PUBLIC["b"]]
    (record, _) = dig(balanced, "client", FRONT)[1]
    assert record.split()[:4] == [f"{FRONT}.", "60", "IN", "A"]
    assert balanced.exec("client", ["curl", "-s", "-m", "30", f"http://{FRONT}/"]).stdout.startswith("web-")
    assert f"DNS name {FRONT}" in plan_text(balanced.plan)


@pytest.mark.contract("NL-15")
def test_a_zone_whose_targets_fail_is_withdrawn_until_they_are_healthy_again(balanced: Lab) -> None:
    balanced.fail("link", "web-a")
    try:
        until_answered(balanced, "client", FRONT, PUBLIC["b"])
        assert balanced.exec("client", ["curl", "-s", "-m", "30", f"http://{FRONT}/"]).stdout.startswith("web-b")
        assert answered(balanced, "client", f"a.{FRONT}") == [PUBLIC["a"]]
    finally:
        balanced.heal("link", "web-a")
    until_answered(balanced, "client", FRONT, *PUBLIC.values())


@pytest.mark.contract("NL-15")
def test_a_client_routing_policy_that_is_set_keeps_clients_in_their_zone(balanced: Lab) -> None:
    key = "dns_record.client_routing_policy"
    balanced.set("front", {key: AFFINITY})
    try:
        until_answered(balanced, "near", FRONT, PUBLIC["a"])
        until_answered(balanced, "web-b", FRONT, PUBLIC["b"])
        until_answered(balanced, "client", FRONT, *PUBLIC.values())
    finally:
        balanced.set("front", {key: ANY_ZONE})
    until_answered(balanced, "near", FRONT, *PUBLIC.values())
