"""The shipped topologies as plans: who has which address, and where every route table line leads."""

from __future__ import annotations

from pathlib import Path

import pytest

from appliances.firewall.rules import parse as parse_policy
from appliances.ids.rules import parse as parse_signatures
from gwlbemu.topology.file.parse import parse
from gwlbemu.topology.plan.encode import from_json, to_json
from gwlbemu.topology.plan.machine_half import End, KernelRoute, Namespace
from gwlbemu.topology.plan.resolve import resolve
from gwlbemu.topology.plan.values import Plan
from tests.paths import TOPOLOGIES
from tests.topology.builder import plan_of, put

FILES = sorted(TOPOLOGIES.glob("*.yaml"))


def load(name: str) -> Plan:
    path = TOPOLOGIES / f"{name}.yaml"
    return resolve(parse(path.read_text(), path.name))


def namespace(plan: Plan, resource: str) -> Namespace:
    (found,) = [one for one in plan.namespaces if one.resource == resource]
    return found


def ends(plan: Plan) -> list[End]:
    return [end for link in plan.links for end in (link.a, link.b)]


def next_hop(plan: Plan, resource: str, destination: str) -> str:
    """The resource that a route's next hop belongs to, found by MAC: what the kernel will really do."""
    own = namespace(plan, resource)
    (route,) = [line for line in own.routes if line.destination == destination]
    if route.kind != "unicast":
        return route.kind
    (mac,) = [n.mac for n in own.neighbours if n.address == route.via and n.device == route.device]
    endpoint = [one.name for one in plan.endpoints if one.mac == mac]
    bridges = [one.resource for one in plan.namespaces for bridge in one.bridges if bridge.mac == mac]
    lab = f"{plan.lab}-"
    return (endpoint + bridges + [end.namespace.removeprefix(lab) for end in ends(plan) if end.mac == mac])[0]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
class TestEveryShippedTopology:
    @pytest.fixture
    def plan(self, path: Path) -> Plan:
        return resolve(parse(path.read_text(), path.name))

    def test_it_survives_json_without_loss(self, plan: Plan) -> None:
        assert from_json(to_json(plan)) == plan

    def test_it_is_the_same_on_every_run_and_begins_with_a_picture(self, path: Path, plan: Plan) -> None:
        assert resolve(parse(path.read_text(), path.name)) == plan
        assert path.read_text().startswith("# ")
        assert plan.lab == path.stem

    def test_names_fit_the_kernel_and_no_two_interfaces_of_a_namespace_share_one(self, plan: Plan) -> None:
        places = [(end.namespace, end.name) for end in ends(plan)]
        places += [(one.name, bridge.name) for one in plan.namespaces for bridge in one.bridges]
        assert len(places) == len(set(places))
        assert all(0 < len(name) <= 15 for _, name in places)
        assert len({one.name for one in plan.namespaces}) == len(plan.namespaces)

    def test_every_mac_is_unique_local_and_unicast(self, plan: Plan) -> None:
        macs = [end.mac for end in ends(plan)] + [bridge.mac for one in plan.namespaces for bridge in one.bridges]
        assert len(macs) == len(set(macs))
        assert all(mac.startswith("02:") and len(mac) == 17 for mac in macs)

    def test_every_reference_leads_to_something(self, plan: Plan) -> None:
        known = {one.name: one for one in plan.namespaces}
        devices = {(end.namespace, end.name) for end in ends(plan)}
        devices |= {(one.name, bridge.name) for one in plan.namespaces for bridge in one.bridges}
        macs = {end.mac for end in ends(plan)} | {bridge.mac for one in plan.namespaces for bridge in one.bridges}
        for one in plan.namespaces:
            for route in one.routes:
                assert route.kind in ("blackhole", "local") or (one.name, route.device) in devices
                permanent = {(each.device, each.address) for each in one.neighbours}
                assert route.via is None or (route.device, route.via) in permanent, route
            assert all((one.name, each.device) in devices and each.mac in macs for each in one.neighbours)
            assert all((one.name, e.port) in devices and e.mac in macs for e in one.forwarding_entries)
        assert all(end.namespace in known for end in ends(plan))
        assert {tap.namespace for tap in plan.taps} <= set(known)
        assert all((tap.namespace, tap.device) in devices for tap in plan.taps)
        assert all((node.namespace, node.device) in devices for node in plan.gateway_nodes)
        assert all(endpoint.router_mac in macs and endpoint.mac in macs for endpoint in plan.endpoints)

    def test_a_bridge_comes_before_what_is_plugged_into_it(self, plan: Plan) -> None:
        bridges = {(one.name, bridge.name) for one in plan.namespaces for bridge in one.bridges}
        assert all((end.namespace, end.bridge) in bridges for end in ends(plan) if end.bridge)


def test_minimal_stays_under_forty_lines() -> None:
    (path,) = [path for path in FILES if path.stem == "minimal"]
    assert len(path.read_text().splitlines()) < 40


def test_the_default_lab_has_the_promised_addresses() -> None:
    plan = load("two-zones")
    assert {one.name: (one.address, one.public_address) for one in plan.instances if not one.appliance} == {
        "client": ("198.51.100.10", ""),
        "web-a": ("10.0.1.10", "203.0.113.10"),
        "web-b": ("10.0.2.10", "203.0.113.11"),
    }
    assert [one.name for one in plan.instances if one.appliance] == [
        "fw-a1",
        "fw-a2",
        "fw-b1",
        "fw-b2",
        "ids-a",
        "ids-b",
    ]
    assert [node.name for node in plan.gateway_nodes] == [
        "firewall-node-a",
        "firewall-node-b",
        "ids-node-a",
        "ids-node-b",
    ]
    assert plan.load_balancers[0].attributes["load_balancing.cross_zone.enabled"] == "false"


@pytest.mark.parametrize("zone", ["a", "b"])
def test_every_flow_of_the_default_lab_passes_both_load_balancers_both_ways(zone: str) -> None:
    plan, cidr = load("two-zones"), {"a": "10.0.1.0/24", "b": "10.0.2.0/24"}[zone]
    assert next_hop(plan, "igw", cidr) == f"vpce-fw-{zone}"
    assert next_hop(plan, f"fw-endpoint-{zone}", cidr) == f"vpce-ids-{zone}"
    assert next_hop(plan, f"ids-endpoint-{zone}", cidr) == f"app-{zone}"
    assert next_hop(plan, f"app-{zone}", "0.0.0.0/0") == f"vpce-ids-{zone}"
    assert next_hop(plan, f"ids-endpoint-{zone}", "0.0.0.0/0") == f"vpce-fw-{zone}"
    assert next_hop(plan, f"fw-endpoint-{zone}", "0.0.0.0/0") == "igw"
    assert next_hop(plan, "igw", "0.0.0.0/0") == "internet"
    assert next_hop(plan, f"web-{zone}", "0.0.0.0/0") == f"app-{zone}"


def test_two_vpcs_with_the_same_addresses_differ_by_endpoint_only() -> None:
    plan = load("overlap")
    red, blue = (one for one in plan.instances if one.name.startswith("web"))
    assert red.address == blue.address
    assert len({endpoint.endpoint_id for endpoint in plan.endpoints}) == 2
    assert plan.gateway_nodes[0].endpoints == ("vpce-red", "vpce-blue")
    assert plan.programs[-1].config.count("vpce-0") == 2  # rules that named endpoints carry their ids


def test_the_lab_can_be_renamed_and_the_bytes_on_the_wire_stay_the_same() -> None:
    one, two = plan_of(), plan_of(lab="other")
    assert two.lab == "other"
    assert {namespace.name for namespace in two.namespaces} == {
        namespace.name.replace("test-", "other-") for namespace in one.namespaces
    }
    assert [end.mac for end in ends(one)] == [end.mac for end in ends(two)]
    assert one.gateway_nodes[0].mac == two.gateway_nodes[0].mac


def test_a_subnet_without_a_table_has_the_local_route_only() -> None:
    plan = plan_of()
    lines = {route.destination for route in namespace(plan, "app-b").routes}
    assert lines == {"10.0.1.0/24", "10.0.11.0/28", "10.0.0.0/16"}
    assert next_hop(plan, "app-b", "10.0.1.0/24") == "app-a"
    assert next_hop(plan, "app-b", "10.0.0.0/16") == "blackhole"  # local, but no subnet is there


@pytest.mark.contract("EP-03")
def test_a_whole_subnet_as_destination_replaces_the_local_route_to_it_and_to_nothing_else() -> None:
    plan = plan_of(put("vpcs.0.route_tables.1.routes+", {"destination": "10.0.2.0/24", "target": "vpce-a"}))
    assert next_hop(plan, "app-a", "10.0.2.0/24") == "vpce-a"
    assert next_hop(plan, "app-a", "10.0.11.0/28") == "ep-a"


@pytest.mark.contract("EP-02")
def test_the_vpc_cidr_in_an_edge_table_replaces_every_local_route() -> None:
    plan = plan_of(put("vpcs.0.route_tables.0.routes", [{"destination": "10.0.0.0/16", "target": "vpce-a"}]))
    for destination in ("10.0.1.0/24", "10.0.2.0/24", "10.0.11.0/28", "10.0.0.0/16"):
        assert next_hop(plan, "igw", destination) == "vpce-a"


def test_a_subnet_never_routes_its_own_addresses_away() -> None:
    plan = plan_of(put("vpcs.0.route_tables.1.routes+", {"destination": "10.0.1.0/24", "target": "vpce-a"}))
    assert "10.0.1.0/24" not in {route.destination for route in namespace(plan, "app-a").routes}


def test_every_route_says_which_line_of_the_file_it_comes_from() -> None:
    (route,) = [line for line in namespace(plan_of(), "app-a").routes if line.destination == "0.0.0.0/0"]
    path = ("vpcs", 0, "route_tables", 1, "routes", 0)
    source = "route table app-a: 0.0.0.0/0 -> vpce-a"
    assert route == KernelRoute("0.0.0.0/0", "fabric", route.via, source=source, path=path)


def test_an_instance_can_be_the_target_of_a_route_from_another_subnet() -> None:
    plan = plan_of(put("vpcs.0.route_tables.2.routes.0.target", "web"))
    assert next_hop(plan, "ep-a", "0.0.0.0/0") == "web"
    uplinks = [link for link in plan.links if link.b.name == "uplink"]
    assert [(link.a.namespace, link.a.bridge, link.b.namespace, link.b.bridge) for link in uplinks] == [
        ("test-app", "fabric", "test-app-a", "subnet")
    ]


def test_a_returned_packet_goes_to_the_router_of_the_endpoint_subnet() -> None:
    plan = plan_of()
    (router,) = [end for end in ends(plan) if end.namespace == "test-ep-a" and end.name == "fabric"]
    assert plan.endpoints[0].router_mac == router.mac
    assert plan.endpoints[0].subnet == "ep-a"


def test_mtus_are_9001_inside_and_1500_on_the_internet_side() -> None:
    plan = plan_of()
    outside = {end.mtu for end in ends(plan) if "internet" in (end.namespace.removeprefix("test-"), end.name)}
    inside = {end.mtu for link in plan.links for end in (link.a, link.b) if link.a.namespace != "test-internet"}
    assert outside == {1500}
    assert inside == {9001}


def test_an_explicit_endpoint_id_stands_and_a_missing_one_is_derived_from_the_name() -> None:
    assert (
        plan_of(put("vpcs.0.endpoints.0.id", "vpce-00123456789abcdef")).endpoints[0].endpoint_id
        == "vpce-00123456789abcdef"
    )
    assert plan_of().endpoints[0].endpoint_id == plan_of(lab="other").endpoints[0].endpoint_id


def test_long_names_are_shortened_without_collisions() -> None:
    def change(data: dict[str, list[dict[str, list[dict[str, object]]]]]) -> None:
        data["vpcs"][0]["instances"] += [{"name": f"web-server-number-{n}", "subnet": "app-b"} for n in range(50)]

    ports = [end.name for end in ends(plan_of(change)) if end.namespace == "test-app-b" and end.bridge]
    assert len(set(ports)) == 50
    assert all(len(port) <= 15 for port in ports)


def test_addresses_that_the_file_leaves_open_are_free_and_never_reserved() -> None:
    def change(data: dict[str, list[dict[str, list[dict[str, object]]]]]) -> None:
        data["vpcs"][0]["instances"] += [{"name": f"i{n}", "subnet": "ep-a"} for n in range(11)]

    addresses = [one.address for one in plan_of(change).instances if one.subnet == "ep-a"]
    assert addresses == [f"10.0.11.{last}" for last in range(4, 15)]


@pytest.mark.contract("TG-02")
def test_a_health_check_has_the_documented_defaults() -> None:
    check = plan_of().target_groups[0].health_check
    assert (check.protocol, check.port, check.path, check.matcher) == ("TCP", 80, "/", "200-399")
    assert (check.interval_seconds, check.timeout_seconds) == (10, 5)
    assert (check.healthy_threshold_count, check.unhealthy_threshold_count) == (5, 2)


def test_attributes_that_the_file_leaves_out_have_aws_defaults() -> None:
    plan = plan_of(put("target_groups.0.attributes", {"stickiness.enabled": True}))
    assert plan.target_groups[0].attributes["stickiness.enabled"] == "true"
    assert plan.target_groups[0].attributes["deregistration_delay.timeout_seconds"] == "300"
    assert plan.load_balancers[0].listener_attributes["tcp.idle_timeout.seconds"] == "350"


def test_ip_targets_take_the_zone_of_their_subnet_and_all_outside_the_vpc() -> None:
    def change(data: dict[str, list[dict[str, object]]]) -> None:
        data["target_groups"][0].update(target_type="ip", targets=["10.254.1.11", "192.168.7.7"])

    assert [(t.id, t.zone) for t in plan_of(change).target_groups[0].targets] == [
        ("10.254.1.11", "a"),
        ("192.168.7.7", "all"),
    ]


def test_a_dual_stack_vpc_routes_both_families_alike() -> None:
    def change(data: dict[str, object]) -> None:
        put("internet.ipv6_cidr", "2001:db8:f::/64")(data)
        put("vpcs.0.ipv6_cidr", "2001:db8::/56")(data)
        put("vpcs.0.subnets.0.ipv6_cidr", "2001:db8:0:1::/64")(data)
        put("vpcs.0.subnets.2.ipv6_cidr", "2001:db8:0:b::/64")(data)
        put("vpcs.0.route_tables.0.routes+", {"destination": "2001:db8:0:1::/64", "target": "vpce-a"})(data)
        put("vpcs.0.route_tables.1.routes+", {"destination": "::/0", "target": "vpce-a"})(data)
        put("vpcs.0.route_tables.2.routes+", {"destination": "::/0", "target": "igw"})(data)

    plan = plan_of(change)
    assert {one.name: one.ipv6_address for one in plan.instances} == {
        "client": "2001:db8:f::a", "web": "2001:db8:0:1::a", "fw-a": "", "fw-b": "",
    }  # fmt: skip
    assert next_hop(plan, "igw", "2001:db8:0:1::/64") == "vpce-a"
    assert next_hop(plan, "app-a", "::/0") == "vpce-a"
    assert next_hop(plan, "ep-a", "::/0") == "igw"
    assert next_hop(plan, "ep-a", "2001:db8:0:1::/64") == "app-a"
    assert next_hop(plan, "igw", "::/0") == "internet"
    assert next_hop(plan, "internet", "2001:db8::/56") == "igw"


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_the_appliances_understand_their_rule_files(path: Path) -> None:
    for program in resolve(parse(path.read_text(), path.name)).programs:
        if program.kind == "firewall":
            assert parse_policy(program.config, program.instance).rules
        if program.kind == "ids":
            assert parse_signatures(program.config, program.instance)


def test_every_key_of_a_firewall_rule_reaches_the_firewall() -> None:
    rule = {"name": "n", "action": "reject", "protocol": [6, "udp"], "source": "10.0.0.0/8", "destination": ["::/0"],
            "source_ports": 53, "ports": ["80", "8000-8010"], "endpoint": "vpce-a"}  # fmt: skip
    program = {"firewall": {"default": "allow", "rules": [rule], "timeouts": {"tcp": 60}}}
    plan = plan_of(put("vpcs.1.instances.0.program", program))
    policy = parse_policy(plan.programs[0].config, "fw-a")
    (found,) = policy.rules
    assert (policy.default, policy.timeouts.tcp, found.name, found.action) == ("allow", 60, "n", "reject")
    assert found.protocols == {6, 17}
    assert (found.source_ports, found.ports) == (((53, 53),), ((80, 80), (8000, 8010)))
    assert found.endpoint == int(plan.endpoints[0].endpoint_id.removeprefix("vpce-0"), 16)


def test_an_appliance_listens_where_its_target_group_probes() -> None:
    def change(data: dict[str, list[dict[str, object]]]) -> None:
        put("vpcs.1.instances.0.program", "passthrough")(data)
        put("target_groups.0.health_check", {"port": 8080})(data)

    argv = plan_of(change).programs[0].argv
    assert argv[argv.index("--health-port") + 1] == "8080"
