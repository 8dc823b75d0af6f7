"""What a client gets for a name: by where it is, and by what nodes have told of their zones."""

from __future__ import annotations

import random
import socket

import pytest

from gwlbemu.core.elb.network_attributes import AFFINITY, ANY_ZONE, PARTIAL_AFFINITY
from gwlbemu.programs.resolver.config import BalancerName, Host
from gwlbemu.programs.resolver.names import Names
from gwlbemu.programs.zone_news import News
from gwlbemu.wire.dns import AAAA, ANY, NOERROR, NXDOMAIN, REFUSED, A

WEB = "web.elb.lab.amazonaws.com"
ZONES = {"a": ("10.0.1.8", "2001:db8::8"), "b": ("10.0.2.8",)}
HOSTS = (
    Host("web-a.app.internal", "app", ("10.0.1.10", "2001:db8::10")),
    Host("web-a.internet", "app", ("10.0.1.10",)),
    Host("web-a.internet", "", ("203.0.113.10",)),
    Host("client.internet", "", ("198.51.100.10",)),
)
MX = 15


def names(policy: str = ANY_ZONE, seed: int = 1) -> Names:
    balancer = BalancerName(WEB, "web", policy, ZONES)
    return Names(("elb.lab.amazonaws.com", "internal", "internet"), HOSTS, [balancer], random.Random(seed))


def ask(here: Names, name: str, kind: int = A, vpc: str = "app", zone: str = "a") -> tuple[int, set[str]]:
    code, addresses = here.answer(name, kind, vpc, zone)
    families = {4: socket.AF_INET, 16: socket.AF_INET6}
    return code, {socket.inet_ntop(families[len(each)], each) for each in addresses}


def told(zone: str, healthy: int, policy: str = ANY_ZONE) -> News:
    return News("web", zone, policy, {"servers": (healthy, 1)})


def test_a_private_name_is_known_in_its_own_vpc_alone() -> None:
    assert ask(names(), "web-a.app.internal") == (NOERROR, {"10.0.1.10"})
    assert ask(names(), "web-a.app.internal", AAAA) == (NOERROR, {"2001:db8::10"})
    assert ask(names(), "web-a.app.internal", ANY) == (NOERROR, {"10.0.1.10", "2001:db8::10"})
    assert ask(names(), "web-a.app.internal", vpc="security") == (NXDOMAIN, set())


def test_a_public_name_has_the_private_address_inside_its_own_vpc() -> None:
    assert ask(names(), "web-a.internet") == (NOERROR, {"10.0.1.10"})
    assert ask(names(), "web-a.internet", vpc="security") == (NOERROR, {"203.0.113.10"})
    assert ask(names(), "web-a.internet", vpc="", zone="") == (NOERROR, {"203.0.113.10"})
    assert ask(names(), "client.internet") == (NOERROR, {"198.51.100.10"})


def test_a_name_without_an_address_of_the_kind_asked_for_is_there_all_the_same() -> None:
    assert ask(names(), "client.internet", AAAA) == (NOERROR, set())
    assert ask(names(), "client.internet", MX) == (NOERROR, set())
    assert ask(names(), "app.internal") == (NOERROR, set())  # a name below it has one (RFC 8020)
    assert ask(names(), "internal") == (NOERROR, set())


@pytest.mark.parametrize(
    "name", ["nobody.app.internal", "web-b.internet", "db.elb.lab.amazonaws.com", f"c.{WEB}", "p.internal"]
)
def test_a_name_that_is_not_there_does_not_exist(name: str) -> None:
    assert ask(names(), name) == (NXDOMAIN, set())


@pytest.mark.parametrize("name", ["example.com", "amazonaws.com", "", "notinternal", "10.1.0.10.in-addr.arpa"])
def test_what_is_none_of_the_labs_is_refused(name: str) -> None:
    assert ask(names(), name) == (REFUSED, set())


@pytest.mark.contract("NL-15")
def test_a_regional_name_has_one_address_per_zone_that_has_a_healthy_target() -> None:
    here = names()
    assert ask(here, WEB) == (NOERROR, {"10.0.1.8", "10.0.2.8"})
    assert here.hear(told("a", 0))
    assert ask(here, WEB) == (NOERROR, {"10.0.2.8"})
    assert ask(here, WEB, AAAA) == (NOERROR, set())  # the only one is of the zone that was withdrawn
    assert here.withdrawn() == {"web": ["a"]}
    assert here.hear(told("b", 0))
    assert ask(here, WEB) == (NOERROR, {"10.0.1.8", "10.0.2.8"})  # none is left: all are answered
    assert here.hear(told("a", 1))
    assert ask(here, WEB) == (NOERROR, {"10.0.1.8"})
    assert ask(here, WEB, vpc="", zone="") == (NOERROR, {"10.0.1.8"})


@pytest.mark.contract("NL-15")
def test_a_zonal_name_has_the_zones_address_whatever_its_health() -> None:
    here = names()
    assert here.hear(told("a", 0))
    assert ask(here, f"a.{WEB}") == (NOERROR, {"10.0.1.8"})
    assert ask(here, f"b.{WEB}") == (NOERROR, {"10.0.2.8"})


@pytest.mark.contract("NL-15")
def test_with_affinity_a_client_gets_its_own_zone_while_that_is_healthy() -> None:
    here = names(AFFINITY)
    assert ask(here, WEB, zone="b") == (NOERROR, {"10.0.2.8"})
    assert here.hear(told("b", 0, AFFINITY))
    assert ask(here, WEB, zone="b") == (NOERROR, {"10.0.1.8"})


@pytest.mark.contract("NL-15")
def test_a_policy_that_a_node_tells_counts_from_then_on() -> None:
    here = names(ANY_ZONE)
    assert here.hear(told("a", 2, AFFINITY))
    assert ask(here, WEB, zone="b") == (NOERROR, {"10.0.2.8"})


@pytest.mark.contract("NL-15")
def test_with_partial_affinity_some_questions_get_every_zone() -> None:
    here = names(PARTIAL_AFFINITY)
    answers = [ask(here, WEB, zone="b")[1] for _ in range(1000)]
    assert {frozenset(each) for each in answers} == {frozenset({"10.0.2.8"}), frozenset({"10.0.1.8", "10.0.2.8"})}


def test_news_of_a_node_that_nobody_knows_is_not_taken() -> None:
    here = names()
    assert not here.hear(News("web", "c", ANY_ZONE, {"servers": (0, 1)}))
    assert not here.hear(News("other", "a", ANY_ZONE, {"servers": (0, 1)}))
    assert here.withdrawn() == {}


def test_the_same_seed_gives_the_same_order() -> None:
    first, second = names(seed=7), names(seed=7)
    assert [first.answer(WEB, A, "", "") for _ in range(50)] == [second.answer(WEB, A, "", "") for _ in range(50)]
