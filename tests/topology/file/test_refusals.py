"""Every refusal names file, line, key and what was expected."""

from __future__ import annotations

import re

import pytest

from gwlbemu.errors import TopologyError
from gwlbemu.topology.file.parse import parse
from tests.topology.builder import put, text_of

ENDPOINT_2 = {"name": "vpce-2", "subnet": "ep-a", "service": "inspect"}
GROUP, BALANCER = "target_groups.0", "load_balancers.0"
PLAIN_GROUP = {"name": "firewalls", "vpc": "security", "protocol": "GENEVE", "port": 6081}
MANY = [f"10.254.{1 + number % 2}.{10 + number // 2}" for number in range(301)]  # of both zones

CASES = [
    (
        "unknown key",
        put("vpcs.0.cdir", "x"),
        "vpcs[0].cdir",
        "unknown key: did you mean cidr? expected one of name, cidr",
    ),
    (
        "missing key",
        put("vpcs.0.subnets+", {"name": "s", "zone": "a"}),
        "vpcs[0].subnets[3].cidr",
        "this key is missing",
    ),
    ("wrong type", put("vpcs.0.subnets", 3), "vpcs[0].subnets", "expected a list, got 3"),
    ("text for a number", put(f"{GROUP}.port", "6081"), "target_groups[0].port", "expected a whole number, got '6081'"),
    ("empty list", put("vpcs", []), "vpcs", "expected at least one entry, got none"),
    ("bad name", put("lab", "my lab"), "lab", "expected a name of at most 32 letters"),
    ("reserved name", put("vpcs.0.name", "eth0"), "vpcs[0].name", "the name eth0 has a meaning of its own"),
    ("name twice", put("vpcs.1.name", "web"), "vpcs[0].instances[0].name", "the name web is taken by vpcs[1]"),
    (
        "node's name taken",
        put("internet.instances.0.name", "inspect-node-a"),
        "load_balancers[0].name",
        "is taken by internet",
    ),
    (
        "group name twice",
        put("target_groups+", {"name": "firewalls", "vpc": "security", "protocol": "GENEVE", "port": 6081}),
        "target_groups[1].name",
        "the target group name firewalls is taken by target_groups[0]",
    ),
    ("host bits", put("vpcs.0.cidr", "10.0.0.1/16"), "vpcs[0].cidr", "has host bits, did you mean 10.0.0.0/16?"),
    ("VPC too large", put("vpcs.0.cidr", "10.0.0.0/8"), "vpcs[0].cidr", "expected a prefix length from /16 to /28"),
    ("link-local VPC", put("vpcs.0.cidr", "169.254.0.0/16"), "vpcs[0].cidr", "169.254.0.0/16 is link-local"),
    (
        "subnet outside VPC",
        put("vpcs.0.subnets.2.cidr", "10.9.0.0/24"),
        "vpcs[0].subnets[2].cidr",
        "is outside VPC app: expected a part of 10.0.0.0/16",
    ),
    (
        "subnets overlap",
        put("vpcs.0.subnets.1.cidr", "10.0.1.128/25"),
        "vpcs[0].subnets[1].cidr",
        "10.0.1.128/25 overlaps subnet app-a (10.0.1.0/24)",
    ),
    (
        "IPv6 without a block",
        put("vpcs.0.subnets.0.ipv6_cidr", "2001:db8::/64"),
        "vpcs[0].subnets[0].ipv6_cidr",
        "VPC app has no ipv6_cidr",
    ),
    (
        "address outside subnet",
        put("vpcs.0.instances.0.address", "10.0.2.10"),
        "vpcs[0].instances[0].address",
        "10.0.2.10 is outside subnet app-a",
    ),
    (
        "reserved address",
        put("vpcs.0.instances.0.address", "10.0.1.3"),
        "vpcs[0].instances[0].address",
        "AWS keeps the first four addresses",
    ),
    (
        "last address",
        put("vpcs.0.instances.0.address", "10.0.1.255"),
        "vpcs[0].instances[0].address",
        "and the last of 10.0.1.0/24",
    ),
    (
        "address twice",
        put("vpcs.1.instances+", {"name": "x", "subnet": "sec-a", "address": "10.254.1.11"}),
        "vpcs[1].instances[2].address",
        "is the address of fw-a",
    ),
    (
        "node on an instance",
        put(f"{BALANCER}.subnets.0", {"subnet": "sec-a", "address": "10.254.1.11"}),
        "load_balancers[0].subnets[0].address",
        "is the address of fw-a",
    ),
    (
        "subnet too small",
        put("vpcs.1.instances", [{"name": f"i{n}", "subnet": "sec-a"} for n in range(251)]),
        "vpcs[1].subnets[0].cidr",
        "252 addresses are needed and 10.254.1.0/24 has room for 251",
    ),
    (
        "no such subnet",
        put("vpcs.0.instances.0.subnet", "nowhere"),
        "vpcs[0].instances[0].subnet",
        "VPC app has no subnet nowhere: expected one of app-a, app-b, ep-a",
    ),
    (
        "public address twice",
        put("vpcs.0.instances+", {"name": "x", "subnet": "app-a", "public_address": "203.0.113.10"}),
        "vpcs[0].instances[1].public_address",
        "is the public address of web",
    ),
    (
        "public without gateway",
        put("vpcs.1.instances.0.public_address", "203.0.113.9"),
        "vpcs[1].instances[0].public_address",
        "VPC security has no internet_gateway",
    ),
    (
        "public among the clients",
        put("vpcs.0.instances.0.public_address", "198.51.100.7"),
        "vpcs[0].instances[0].public_address",
        "lies in the network of the internet's instances",
    ),
    (
        "public inside a VPC",
        put("vpcs.0.instances.0.public_address", "10.254.9.9"),
        "vpcs[0].instances[0].public_address",
        "10.254.9.9 lies in VPC security (10.254.0.0/16)",
    ),
    (
        "internet inside a VPC",
        put("internet", {"cidr": "10.254.9.0/24"}),
        "internet.cidr",
        "10.254.9.0/24 overlaps VPC security (10.254.0.0/16)",
    ),
    (
        "internet around the VPCs",
        put("internet", {"cidr": "10.0.0.0/8"}),
        "internet.cidr",
        "10.0.0.0/8 overlaps VPC app (10.0.0.0/16)",
    ),
    (
        "client outside",
        put("internet.instances.0.address", "10.1.1.1"),
        "internet.instances[0].address",
        "expected an address of 198.51.100.0/24",
    ),
    (
        "client is the router",
        put("internet.instances.0.address", "198.51.100.1"),
        "internet.instances[0].address",
        "the router's",
    ),
    (
        "route to nothing",
        put("vpcs.0.route_tables.1.routes.0.target", "vpce-x"),
        "vpcs[0].route_tables[1].routes[0].target",
        "a route to nothing: VPC app has no vpce-x, expected one of vpce-a, web, igw",
    ),
    (
        "route twice",
        put("vpcs.0.route_tables.1.routes+", {"destination": "0.0.0.0/0", "target": "igw"}),
        "vpcs[0].route_tables[1].routes[1].destination",
        "has a second route to 0.0.0.0/0",
    ),
    (
        "no such table",
        put("vpcs.0.subnets.1.route_table", "x"),
        "vpcs[0].subnets[1].route_table",
        "VPC app has no route table x: expected one of app-a, edge, ep-a",
    ),
    (
        "IPv6 route without a block",
        put("vpcs.0.route_tables.1.routes.0.destination", "::/0"),
        "vpcs[0].route_tables[1].routes[0].destination",
        "expected an IPv4 destination",
    ),
    (
        "local outside",
        put("vpcs.0.route_tables.1.routes.0.target", "local"),
        "vpcs[0].route_tables[1].routes[0].target",
        "local is only for what lies in VPC app",
    ),
    (
        "classic",
        put(f"{BALANCER}.type", "classic"),
        "load_balancers[0].type",
        "expected one of its successors, 'application', 'network' or 'gateway'",
    ),
    (
        "no such service",
        put("vpcs.0.endpoints.0.service", "x"),
        "vpcs[0].endpoints[0].service",
        "there is no load balancer x: expected one of inspect",
    ),
    (
        "bad endpoint id",
        put("vpcs.0.endpoints.0.id", "vpce-12"),
        "vpcs[0].endpoints[0].id",
        "expected vpce-0 and 16 lower-case hex digits",
    ),
    (
        "two subnets in a zone",
        put(f"{BALANCER}.subnets", ["sec-a", "sec-a"]),
        "load_balancers[0].subnets[1].subnet",
        "zone a has subnet sec-a already",
    ),
    (
        "balancer in two VPCs",
        put(f"{BALANCER}.subnets", ["sec-a", "app-b"]),
        "load_balancers[0].subnets[1].subnet",
        "is in VPC app: expected a subnet of security",
    ),
    (
        "no such group",
        put(f"{BALANCER}.listener.target_group", "x"),
        "load_balancers[0].listener.target_group",
        "there is no target group x",
    ),
    (
        "group shared",
        put(
            "load_balancers+",
            {"name": "two", "type": "gateway", "subnets": ["sec-b"], "listener": {"target_group": "firewalls"}},
        ),
        "load_balancers[1].listener.target_group",
        "belongs to load balancer inspect",
    ),
    (
        "zone not enabled",
        put(f"{GROUP}.targets+", "fw-b"),
        "target_groups[0].targets[1]",
        "fw-b is in zone b, which load balancer inspect has not enabled: expected a",
    ),
    (
        "no such target",
        put(f"{GROUP}.targets+", "web"),
        "target_groups[0].targets[1]",
        "VPC security has no instance web: expected an instance there",
    ),
    (
        "more targets than a load balancer may have",
        put(GROUP, {**PLAIN_GROUP, "target_type": "ip", "targets": MANY}),
        "target_groups[0].targets",
        "301 targets: expected at most 300, over all zones together",
    ),
    ("target twice", put(f"{GROUP}.targets+", "fw-a"), "target_groups[0].targets[1]", "fw-a is in the group already"),
    (
        "attribute key",
        put(f"{GROUP}.attributes", {"slow_start.duration_seconds": 1}),
        "target_groups[0].attributes['slow_start.duration_seconds']",
        "is not recognized",
    ),
    (
        "attribute range",
        put(f"{BALANCER}.listener.attributes", {"tcp.idle_timeout.seconds": 59}),
        "load_balancers[0].listener.attributes['tcp.idle_timeout.seconds']",
        "from 60 to 6000",
    ),
    ("emulation key", put("emulation", {"ttl": 1}), "emulation.ttl", "emulation.ttl: unknown key 'ttl'"),
    (
        "emulation value",
        put("emulation", {"ttl_decrement": 3}),
        "emulation.ttl_decrement",
        "emulation.ttl_decrement: 3 is not valid, expected 0 or 1 or 2",
    ),
    (
        "security group",
        put("vpcs.0.instances.0.security_groups", ["x"]),
        "vpcs[0].instances[0].security_groups[0]",
        "VPC app has no security group x",
    ),
    (
        "group source",
        put("vpcs.0.security_groups.0.ingress.0.source", "me"),
        "vpcs[0].security_groups[0].ingress[0].source",
        "expected a network such as 10.0.1.0/24 or a security group",
    ),
    (
        "ports of ICMP",
        put("vpcs.0.security_groups.0.ingress.0.protocol", "icmp"),
        "vpcs[0].security_groups[0].ingress[0].ports",
        "expected ports only with tcp or udp",
    ),
    (
        "port range",
        put("vpcs.0.security_groups.0.ingress.0.ports", "90-80"),
        "vpcs[0].security_groups[0].ingress[0].ports",
        "the lower one first",
    ),
    (
        "program",
        put("vpcs.0.instances.0.program", "apache"),
        "vpcs[0].instances[0].program",
        "expected one of web, passthrough",
    ),
    (
        "two programs",
        put("vpcs.0.instances.0.program", {"web": {}, "ids": {}}),
        "vpcs[0].instances[0].program",
        "expected exactly one of web, firewall",
    ),
    (
        "firewall rule",
        put("vpcs.0.instances.0.program", {"firewall": {"rules": [{"action": "drop"}]}}),
        "vpcs[0].instances[0].program.firewall.rules[0].action",
        "expected 'allow', 'deny' or 'reject', got 'drop'",
    ),
    (
        "firewall endpoint",
        put("vpcs.0.instances.0.program", {"firewall": {"rules": [{"action": "deny", "endpoint": "x"}]}}),
        "vpcs[0].instances[0].program.firewall.rules[0].endpoint",
        "there is no endpoint x",
    ),
]


def complaints(change: object) -> list[str]:
    with pytest.raises(TopologyError) as caught:
        parse(text_of(change), "lab.yaml")  # type: ignore[arg-type]
    return str(caught.value).splitlines()


@pytest.mark.parametrize(("change", "path", "words"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_a_wrong_value_is_refused_with_file_line_key_and_what_was_expected(
    change: object, path: str, words: str
) -> None:
    lines = [line for line in complaints(change) if f": {path}: " in line]
    assert lines, complaints(change)
    assert re.match(r"lab\.yaml:\d+: ", lines[0])
    assert words in lines[0], lines[0]


def test_the_correct_file_is_taken() -> None:
    assert parse(text_of(), "lab.yaml").topology.lab == "test"


@pytest.mark.contract("EP-01")
def test_a_second_endpoint_of_a_service_in_a_zone_is_refused() -> None:
    assert any("vpcs[0].endpoints[1].service: vpce-a is the endpoint of inspect in zone a" in line
               for line in complaints(put("vpcs.0.endpoints+", ENDPOINT_2)))  # fmt: skip


@pytest.mark.contract("EP-01")
def test_an_endpoint_in_a_zone_that_the_service_lacks_is_refused() -> None:
    (line,) = complaints(put("vpcs.0.endpoints+", {**ENDPOINT_2, "subnet": "app-b"}))
    assert (
        "vpcs[0].endpoints[1].subnet: service inspect is not in zone b: give load balancer inspect a subnet there"
        in line
    )


@pytest.mark.contract("EP-02")
@pytest.mark.parametrize(
    ("destination", "target", "words"),
    [
        ("10.0.1.0/25", "vpce-a", "in a gateway route table: expected the VPC CIDR 10.0.0.0/16 or a whole subnet CIDR"),
        ("0.0.0.0/0", "vpce-a", "in a gateway route table"),
        ("192.0.2.0/24", "vpce-a", "in a gateway route table"),
        ("10.0.1.0/24", "igw", "leads to local, an endpoint or an instance"),
    ],
)  # fmt: skip
def test_an_edge_route_that_aws_refuses_is_refused(destination: str, target: str, words: str) -> None:
    lines = complaints(put("vpcs.0.route_tables.0.routes.0", {"destination": destination, "target": target}))
    assert any(words in line for line in lines), lines


@pytest.mark.contract("EP-02")
@pytest.mark.parametrize(
    ("destination", "target"), [("10.0.0.0/16", "vpce-a"), ("10.0.2.0/24", "local"), ("10.0.11.0/28", "web")]
)
def test_an_edge_route_that_aws_takes_is_taken(destination: str, target: str) -> None:
    parse(text_of(put("vpcs.0.route_tables.0.routes.0", {"destination": destination, "target": target})), "lab.yaml")


@pytest.mark.contract("EP-03")
@pytest.mark.parametrize(
    ("destination", "target", "words"),
    [
        ("10.0.2.0/25", "vpce-a", "10.0.2.0/25 is more specific than local: expected the whole CIDR of a subnet"),
        ("10.0.2.0/24", "igw", "inside the VPC expected an endpoint, a NAT gateway or an instance"),
    ],
)
def test_a_route_inside_the_vpc_that_aws_refuses_is_refused(destination: str, target: str, words: str) -> None:
    lines = complaints(put("vpcs.0.route_tables.1.routes+", {"destination": destination, "target": target}))
    assert any(words in line for line in lines), lines


@pytest.mark.contract("EX-01")
def test_a_classic_load_balancer_is_refused_and_its_successors_are_named() -> None:
    (line,) = [line for line in complaints(put("load_balancers.0.type", "classic")) if "load_balancers[0].type" in line]
    assert all(word in line for word in ("application", "network", "gateway"))


@pytest.mark.contract("TG-01")
@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("protocol", "TCP", "load_balancers[0].listener.target_group: target group firewalls has protocol TCP, which"),
        ("port", 80, "target_groups[0].port: expected 6081, got 80"),
        ("target_type", "alb", "target_groups[0].target_type: expected 'instance' or 'ip', got 'alb'"),
    ],
)
def test_a_target_group_that_is_not_geneve_6081_is_refused_by_attribute(key: str, value: object, words: str) -> None:
    assert any(words in line for line in complaints(put(f"target_groups.0.{key}", value)))


@pytest.mark.contract("TG-01")
def test_an_ip_target_must_be_private_or_of_the_vpc() -> None:
    def change(data: dict[str, list[dict[str, object]]]) -> None:
        data["target_groups"][0].update(target_type="ip", targets=["8.8.8.8"])

    assert any(
        "target_groups[0].targets[0]: target address 8.8.8.8 is not valid" in line for line in complaints(change)
    )


@pytest.mark.contract("TG-02")
@pytest.mark.parametrize(
    ("check", "words"),
    [
        ({"protocol": "UDP"}, "health_check.protocol: expected 'TCP', 'HTTP' or 'HTTPS'"),
        ({"port": 0}, "health_check.port: expected a port from 1 to 65535, or traffic-port"),
        ({"interval_seconds": 4}, "health_check.interval_seconds: expected greater than or equal to 5"),
        ({"interval_seconds": 301}, "health_check.interval_seconds: expected less than or equal to 300"),
        ({"timeout_seconds": 1}, "health_check.timeout_seconds: expected greater than or equal to 2"),
        (
            {"interval_seconds": 120, "timeout_seconds": 121},
            "health_check.timeout_seconds: expected less than or equal to 120",
        ),
        ({"healthy_threshold_count": 11}, "health_check.healthy_threshold_count: expected less than or equal to 10"),
        (
            {"unhealthy_threshold_count": 1},
            "health_check.unhealthy_threshold_count: expected greater than or equal to 2",
        ),
        ({"matcher": "200"}, "health_check.matcher: health check matcher '200' is not valid, expected 200-399"),
        ({"interval_seconds": 5, "timeout_seconds": 6}, "health_check: health check timeout_seconds 6 must be smaller"),
        (
            {"protocol": "HTTP", "interval_seconds": 5, "timeout_seconds": 5},
            "health_check: health check timeout_seconds 5 must be smaller",
        ),
    ],
)
def test_a_health_check_outside_the_documented_ranges_is_refused(check: dict[str, object], words: str) -> None:
    assert any(words in line for line in complaints(put("target_groups.0.health_check", check)))


@pytest.mark.contract("TG-09")
def test_unequal_failover_attributes_are_refused_naming_both() -> None:
    (line,) = complaints(put("target_groups.0.attributes", {"target_failover.on_unhealthy": "rebalance"}))
    assert "target_failover.on_deregistration" in line
    assert "target_failover.on_unhealthy" in line


def test_all_errors_are_told_at_once_one_per_line_in_the_order_of_the_file() -> None:
    def change(data: dict[str, list[dict[str, object]]]) -> None:
        data["load_balancers"][0]["listener"] = {"target_group": "x"}
        data["vpcs"][0]["endpoints"] = [{"name": "vpce-a", "subnet": "ep-a", "service": "x"}]
        data["target_groups"][0]["targets"] = ["nobody"]

    lines = complaints(change)
    assert len(lines) == 3
    numbers = [int(line.split(":")[1]) for line in lines]
    assert numbers == sorted(numbers)


def test_a_load_balancer_without_a_known_subnet_is_one_complaint() -> None:
    (line,) = complaints(put(f"{BALANCER}.subnets", ["x"]))
    assert line.endswith("load_balancers[0].subnets[0].subnet: there is no subnet x")
