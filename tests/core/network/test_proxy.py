"""Which connections are a proxy's, and what the proxy shall do with them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gwlbemu.core.elb.health import HealthCheck
from gwlbemu.core.elb.target import Target
from gwlbemu.core.elb.tls import Tls
from gwlbemu.core.network.balancer import NetworkBalancer
from gwlbemu.core.network.proxy import is_proxied, listener_of, number_of, server_name
from gwlbemu.core.network.settings import Balancer, Forward, Group, Listener, Settings
from gwlbemu.core.network.tables import Connection
from gwlbemu.wire.protocols import TCP

ADDRESS, IPV6 = bytes([10, 0, 9, 10]), bytes(15) + b"\1"
SETTINGS = Settings("front", "a", ("a", "b"), ADDRESS)
HEADER = {"proxy_protocol_v2.enabled": "true"}
CHECK = HealthCheck(healthy_threshold_count=2, unhealthy_threshold_count=2)


def group(name: str) -> Group:
    targets = tuple(Target(f"{name}-{zone}", bytes([10, 0, place, 1]), zone, 80) for place, zone in enumerate("ab", 1))
    return Group(name, "TCP", "instance", {}, CHECK, targets)


def listener(protocol: str, port: int, *groups: tuple[str, int], sticky: bool = False) -> Listener:
    tls = Tls(("c.pem",)) if protocol == "TLS" else None
    return Listener(protocol, port, Forward(groups, sticky), {}, tls=tls)


def balancer(*listeners: Listener, groups: tuple[Group, ...], settings: Settings = SETTINGS) -> NetworkBalancer:
    cross_zone = {"load_balancing.cross_zone.enabled": "true"}
    return NetworkBalancer(settings, Balancer(cross_zone, listeners, groups), now=0)


PLAIN, WITH_HEADER = group("plain"), replace(group("header"), attributes=HEADER)


@pytest.mark.parametrize(
    ("one", "proxied"),
    [
        (listener("TLS", 443, ("plain", 1)), True),
        (listener("TCP", 80, ("plain", 1)), False),
        (listener("TCP", 80, ("plain", 1), ("header", 0)), True),
        (listener("TCP_UDP", 80, ("header", 1)), True),
        (listener("UDP", 53, ("header", 1)), False),
    ],
)
def test_tls_and_the_header_of_proxy_protocol_are_a_proxys(one: Listener, proxied: bool) -> None:
    assert is_proxied(one, {"plain": PLAIN, "header": WITH_HEADER}) is proxied


def test_the_kernel_translates_nothing_of_what_is_the_proxys() -> None:
    front = balancer(
        listener("TLS", 443, ("plain", 1)), listener("TCP", 80, ("header", 1)), listener("TCP", 81, ("plain", 1)),
        groups=(PLAIN, WITH_HEADER),
    )  # fmt: skip
    assert [each.port for each in front.tables().listeners] == [81]
    assert front.tables().proxied == (443, 80)
    assert [each.name for each in front.proxy().frontends] == ["TLS:443", "TCP:80"]


def test_a_backend_keeps_the_client_and_sends_the_header_as_its_group_says() -> None:
    groups = (PLAIN, replace(WITH_HEADER, attributes=HEADER | {"preserve_client_ip.enabled": "false"}))
    front = balancer(listener("TLS", 443, ("plain", 1)), listener("TCP", 80, ("header", 1)), groups=groups)
    tls, tcp = front.proxy().backends
    assert (tls.name, tls.keeps_client, tls.sends_header, tls.idle_seconds) == ("TLS:443:plain", True, False, 350)
    assert (tcp.name, tcp.keeps_client, tcp.sends_header, tcp.source) == ("TCP:80:header", False, True, "10.0.9.10")


def test_only_a_target_that_may_be_chosen_takes_new_connections() -> None:
    front = balancer(listener("TLS", 443, ("plain", 1)), groups=(PLAIN,))
    before = front.proxy()
    for ok, target in ((True, "plain-a"), (False, "plain-b")) * 2:
        front.observe("plain", target, ok, now=1)
    (backend,) = front.proxy().backends
    assert [(each.address, each.takes_new) for each in backend.servers] == [("10.0.1.1", True), ("10.0.2.1", False)]
    assert front.proxy().shape == before.shape
    for _ in range(2):
        front.observe("plain", "plain-a", False, now=2)
    assert all(each.takes_new for each in front.proxy().backends[0].servers)  # it fails open


def test_a_deregistered_target_stays_a_server_while_it_drains() -> None:
    front = balancer(listener("TLS", 443, ("plain", 1)), groups=(PLAIN,))
    for _ in range(2):
        front.observe("plain", "plain-a", True, now=1)
        front.observe("plain", "plain-b", True, now=1)
    front.configure(
        Balancer({}, (listener("TLS", 443, ("plain", 1)),), (replace(PLAIN, targets=PLAIN.targets[:1]),)), 2
    )
    assert [each.takes_new for _, each in front.proxy().servers()] == [True, False]


def test_weights_are_shares_and_a_group_of_weight_0_gets_none() -> None:
    one = listener("TCP", 80, ("header", 1), ("other", 0), ("plain", 3), sticky=True)
    front = balancer(one, groups=(PLAIN, WITH_HEADER, group("other")))
    (frontend,) = front.proxy().frontends
    assert frontend.shares == (("TCP:80:header", 250), ("TCP:80:plain", 1000))
    assert frontend.is_sticky


def test_an_ipv6_client_of_an_ipv4_target_is_not_kept() -> None:
    settings = replace(SETTINGS, ipv6_address=IPV6)
    front = balancer(listener("TLS", 443, ("plain", 1)), groups=(PLAIN,), settings=settings)
    assert [(each.name, each.address) for each in front.proxy().frontends] == [
        ("TLS:443", "10.0.9.10"), ("TLS:443.ipv6", "::1"),
    ]  # fmt: skip
    assert [each.keeps_client for each in front.proxy().backends] == [True, False]


def dual(front: Listener) -> NetworkBalancer:
    return balancer(front, groups=(PLAIN, WITH_HEADER), settings=replace(SETTINGS, ipv6_address=IPV6))


def test_over_ipv6_tcp_is_the_proxys_and_over_ipv4_still_the_kernels() -> None:
    front = dual(listener("TCP", 80, ("plain", 1)))
    assert [(each.name, each.address, each.port) for each in front.proxy().frontends] == [("TCP:80.ipv6", "::1", 80)]
    (backend,) = front.proxy().backends
    assert (backend.keeps_client, backend.source) == (False, "10.0.9.10")
    tables = front.tables()
    assert [each.port for each in tables.listeners] == [80]
    assert (tables.proxied, tables.proxied_ipv6, tables.ipv6_address) == ((), (80,), IPV6)


@pytest.mark.contract("NL-13")
@pytest.mark.parametrize(
    ("version", "over_ipv4", "over_ipv6"), [(4, "plain", "TCP:80.ipv6:other"), (6, "other", "TCP:80.ipv6:plain")]
)
def test_a_rule_is_for_its_ip_version_and_the_default_for_the_other(
    version: int, over_ipv4: str, over_ipv6: str
) -> None:
    rule = (version, Forward((("plain", 1),)))
    groups = tuple(replace(group(name), targets=group(name).targets[:1]) for name in ("plain", "other"))
    front = balancer(
        replace(listener("TCP", 80, ("other", 1)), by_version=(rule,)),
        groups=groups, settings=replace(SETTINGS, ipv6_address=IPV6),
    )  # fmt: skip
    (frontend,) = front.proxy().frontends
    assert frontend.shares == ((over_ipv6, 1000),)
    chosen = front.chosen(Connection(TCP, bytes([10, 0, 8, 1]), 40000, ADDRESS, 80))
    assert chosen is not None
    assert chosen[0] == over_ipv4


def test_a_header_for_ipv6_clients_alone_leaves_ipv4_to_the_kernel() -> None:
    rule = (6, Forward((("header", 1),)))
    front = dual(replace(listener("TCP", 80, ("plain", 1)), by_version=(rule,)))
    assert (front.tables().proxied, front.tables().proxied_ipv6) == ((), (80,))
    assert [each.sends_header for each in front.proxy().backends] == [True]


def test_frontends_of_both_ip_versions_are_one_listener() -> None:
    front = dual(listener("TLS", 443, ("plain", 1)))
    assert [listener_of(each.name) for each in front.proxy().frontends] == ["TLS:443", "TLS:443"]


def test_a_server_is_known_by_its_targets_number() -> None:
    assert number_of(server_name(17)) == 17
    assert [number_of(each) for each in ("target-", "<NONE>", "x-3", "")] == [0, 0, 0, 0]
