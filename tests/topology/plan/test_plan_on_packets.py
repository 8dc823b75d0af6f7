"""Plans built on the kernel and judged by ping and TCP connects: routes, translation, security groups, checks.

No load balancer node runs here. A connect to a closed port tells how far a packet came: "refused" means it arrived and
the answer found the way back, "silence" that something dropped it.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from gwlbemu.net.build import build
from gwlbemu.net.record import open_new
from gwlbemu.net.remove import down
from gwlbemu.topology.file.parse import parse
from gwlbemu.topology.plan.resolve import resolve
from gwlbemu.topology.plan.values import Plan
from tests.paths import TOPOLOGIES
from tests.topology.builder import Data, plan_of, put
from tests.waiting import PATIENCE

pytestmark = pytest.mark.namespace
FILES = sorted(TOPOLOGIES.glob("*.yaml"))
CONNECT = """
import socket, sys
try: socket.create_connection((sys.argv[1], int(sys.argv[2])), 0.4); print("connected")
except ConnectionRefusedError: print("refused")
except OSError as error: print("silence")
"""


@pytest.fixture
def up(tmp_path: Path) -> Iterator[Callable[[Plan], None]]:
    with ExitStack() as undo:

        def start(plan: Plan) -> None:
            with open_new(plan.lab, root=tmp_path) as record:
                undo.callback(down, plan.lab, root=tmp_path)
                build(plan, record)

        yield start


def enter(resource: str) -> list[str]:
    return ["ip", "netns", "exec", f"test-{resource}"]


def connect(source: str, address: str, port: int) -> str:
    command = [*enter(source), sys.executable, "-c", CONNECT, address, str(port)]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=PATIENCE).stdout.strip()


def several(*changes: Callable[[Data], None]) -> Callable[[Data], None]:
    def change(data: Data) -> None:
        for one in changes:
            one(data)

    return change


STRAIGHT = several(  # no endpoint on the way: igw <-> app-a
    put("vpcs.0.route_tables.0.routes", []),
    put("vpcs.0.route_tables.1.routes.0.target", "igw"),
)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_the_kernel_takes_every_shipped_topology(up: Callable[[Plan], None], path: Path) -> None:
    up(resolve(parse(path.read_text(), path.name)))


def test_the_internet_gateway_translates_one_to_one_both_ways(up: Callable[[Plan], None]) -> None:
    up(plan_of(STRAIGHT))
    assert connect("client", "203.0.113.10", 80) == "refused"
    assert connect("web", "198.51.100.10", 80) == "refused"
    assert connect("client", "10.0.1.10", 80) == "silence"


def test_an_instance_without_a_public_address_does_not_reach_the_internet(up: Callable[[Plan], None]) -> None:
    up(plan_of(several(STRAIGHT, put("vpcs.0.instances+", {"name": "private", "subnet": "app-a"}))))
    assert connect("private", "198.51.100.10", 80) == "silence"
    assert connect("private", "10.0.1.10", 80) == "refused"


@pytest.mark.contract("EP-08")
def test_security_groups_are_stateful_and_may_name_a_group_as_source(up: Callable[[Plan], None]) -> None:
    rules = [
        {"protocol": "tcp", "ports": "80-81", "source": "0.0.0.0/0"},
        {"protocol": "tcp", "ports": 5432, "source": "workers"},
    ]
    up(plan_of(several(
        STRAIGHT,
        put("vpcs.0.security_groups", [{"name": "web", "ingress": rules}, {"name": "workers"}]),
        put("vpcs.0.instances+", {"name": "worker", "subnet": "app-b", "security_groups": ["workers"]}),
        put("vpcs.0.instances+", {"name": "other", "subnet": "app-b"}),
    )))  # fmt: skip
    assert connect("client", "203.0.113.10", 81) == "refused"
    assert connect("client", "203.0.113.10", 82) == "silence"
    assert connect("worker", "10.0.1.10", 5432) == "refused"
    assert connect("other", "10.0.1.10", 5432) == "silence"
    assert connect("other", "10.0.2.4", 1) == "silence"  # worker's group has no rule: nobody may begin,
    assert connect("worker", "10.0.2.5", 1) == "refused"  # but the answer to what it began comes back


@pytest.mark.contract("EP-09")
@pytest.mark.parametrize(("check", "outcome"), [(True, "silence"), (False, "refused")])
def test_a_forwarding_instance_works_only_without_the_source_destination_check(
    up: Callable[[Plan], None], check: bool, outcome: str
) -> None:
    up(plan_of(several(
        put("vpcs.0.subnets.1.route_table", "ep-a"),
        put("vpcs.0.route_tables.1.routes+", {"destination": "10.0.2.0/24", "target": "router"}),
        put("vpcs.0.instances+", {"name": "router", "subnet": "ep-a", "source_dest_check": check}),
        put("vpcs.0.instances+", {"name": "other", "subnet": "app-b"}),
    )))  # fmt: skip
    assert connect("web", "10.0.2.4", 80) == outcome


@pytest.mark.contract("EP-03")
def test_a_whole_subnet_route_steers_packets_away_from_local(up: Callable[[Plan], None]) -> None:
    up(plan_of(several(
        put("vpcs.0.route_tables.1.routes+", {"destination": "10.0.2.0/24", "target": "vpce-a"}),
        put("vpcs.0.instances+", {"name": "other", "subnet": "app-b"}),
        put("vpcs.0.instances+", {"name": "here", "subnet": "ep-a"}),
    )))  # fmt: skip
    assert connect("web", "10.0.2.4", 80) == "silence"  # it went to the endpoint, where no node runs
    assert connect("here", "10.0.2.4", 80) == "refused"  # this subnet's table has the local route


def test_a_nat_gateway_gives_its_address_to_all_and_lets_nobody_in(up: Callable[[Plan], None]) -> None:
    up(plan_of(several(
        put("vpcs.0.route_tables.0.routes", []),
        put("vpcs.0.route_tables.1.routes.0.target", "nat"),
        put("vpcs.0.nat_gateways", [{"name": "nat", "subnet": "ep-a", "public_address": "203.0.113.50"}]),
        put("vpcs.0.instances.0", {"name": "worker", "subnet": "app-a"}),
    )))  # fmt: skip
    assert connect("worker", "198.51.100.10", 80) == "refused"
    assert connect("client", "203.0.113.50", 80) in ("refused", "silence")  # the gateway itself, never the worker
    assert connect("client", "10.0.1.4", 80) == "silence"


@pytest.mark.parametrize("mode", ["disable", "enable"])
def test_a_transit_gateway_joins_vpcs_with_appliance_mode_and_without(up: Callable[[Plan], None], mode: str) -> None:
    def change(data: Data) -> None:
        data.pop("load_balancers"), data.pop("target_groups")
        put("vpcs.0.endpoints", [])(data)
        put("vpcs.0.route_tables", [{"name": "t", "routes": [{"destination": "10.254.0.0/16", "target": "tgw"}]}])(data)
        put("vpcs.0.internet_gateway.route_table", None)(data)
        for number, table in ((0, "t"), (1, "t"), (2, None)):
            put(f"vpcs.0.subnets.{number}.route_table", table)(data)
        put("vpcs.1.route_tables", [{"name": "u", "routes": [{"destination": "10.0.0.0/8", "target": "tgw"}]}])(data)
        for number in (0, 1):
            put(f"vpcs.1.subnets.{number}.route_table", "u")(data)
        tables = [{"name": "x", "routes": [{"destination": "10.0.0.0/16", "target": "left"},
                                           {"destination": "10.254.1.0/24", "target": "right"},
                                           {"destination": "10.254.2.0/24", "target": "blackhole"}]}]  # fmt: skip
        attachments = [
            {"name": "left", "vpc": "app", "subnets": ["app-a", "app-b"], "route_table": "x"},
            {
                "name": "right",
                "vpc": "security",
                "subnets": ["sec-a", "sec-b"],
                "route_table": "x",
                "appliance_mode": mode,
            },
        ]
        put("transit_gateways", [{"name": "tgw", "attachments": attachments, "route_tables": tables}])(data)

    up(plan_of(change))
    for _ in range(6):  # different ports, so both buckets of the flow hash
        assert connect("web", "10.254.1.11", 80) == "refused"
    assert connect("web", "10.254.2.11", 80) == "silence"


def test_ipv6_passes_the_internet_gateway_untranslated(up: Callable[[Plan], None]) -> None:
    up(plan_of(several(
        STRAIGHT,
        put("internet.ipv6_cidr", "2001:db8:f::/64"),
        put("vpcs.0.ipv6_cidr", "2001:db8::/56"),
        put("vpcs.0.subnets.0.ipv6_cidr", "2001:db8:0:1::/64"),
        put("vpcs.0.route_tables.1.routes+", {"destination": "::/0", "target": "igw"}),
        put("vpcs.0.security_groups.0.ingress.0.source", "::/0"),
    )))  # fmt: skip
    assert connect("client", "2001:db8:0:1::a", 80) == "refused"
    assert connect("client", "2001:db8:0:1::a", 81) == "silence"
    assert connect("client", "203.0.113.10", 80) == "silence"  # the group allows IPv6 only


def test_the_outer_ttl_of_the_tunnel_survives_the_fabric(up: Callable[[Plan], None]) -> None:
    """From one subnet to the other a TTL of 2 (what gwlbtun sends) arrives, as 255: the fabric does not count hops."""
    up(plan_of())
    receive = """
import socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.bind(("", 6081)); s.setsockopt(socket.IPPROTO_IP, 12, 1)
s.settimeout(60); print("ready", flush=True); print(s.recvmsg(9, 99)[1][0][2][0])
"""
    send = """
import socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.setsockopt(socket.IPPROTO_IP, socket.IP_TTL, 2)
s.sendto(b"x", ("10.254.2.11", 6081))
"""
    listen = [*enter("fw-b"), sys.executable, "-c", receive]
    with subprocess.Popen(listen, stdout=subprocess.PIPE, text=True) as listener:
        assert listener.stdout is not None
        assert listener.stdout.readline() == "ready\n"
        subprocess.run([*enter("fw-a"), sys.executable, "-c", send], check=True, timeout=PATIENCE)
        assert listener.stdout.read() == "255\n"
