"""What people got wrong in public, and a small design of ours with each of the same mistakes."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import yaml

from gwlbemu.errors import TopologyError
from gwlbemu.review.finding import Finding
from gwlbemu.review.review import review
from gwlbemu.review.talk import Talk
from gwlbemu.topology.file.document import dotted
from gwlbemu.topology.file.parse import parse
from tests.paths import SHARED
from tests.review.designs import d1, d2, d5, d7, d10, d11_small, table, vm

Data = dict[str, Any]
Told = tuple[str, str, str]  # kind, path, change


def reviewed(data: Data) -> list[Finding]:
    return review(parse(yaml.safe_dump(data, sort_keys=False), "design.yaml").topology, mtus={})


def told(found: list[Finding]) -> list[Told]:
    return [(each.kind, dotted(each.path), each.change) for each in found]


def case(file: str) -> str:
    path = SHARED / "cases" / file
    if not path.exists():
        pytest.skip(f"no {path}")
    return path.read_text()


EGRESS = "31-central-egress-mistakes"
CASES: dict[str, list[Told]] = {
    "02-fortinet-one-endpoint/one-endpoint.yaml": [
        (
            "unused-target", "load_balancers[0].attributes['load_balancing.cross_zone.enabled']",
            "load_balancing.cross_zone.enabled: true",
        ),
        ("single-zone", "load_balancers[0]", ""),
    ],
    "03-same-subnet-loop/loop.yaml": [("endpoint-in-own-subnet", "vpcs[0].route_tables[1].routes[0]", "")],
    "12-intra-vpc-zone-pairs/own-zone.yaml": [
        ("other-zone", "vpcs[0].route_tables[1].routes[0].target", "target: vpce-a"),
        ("other-zone", "vpcs[0].route_tables[2].routes[0].target", "target: vpce-a"),
        ("other-zone", "vpcs[0].route_tables[2].routes[1].target", "target: vpce-b"),
    ],
    "13-server-in-public-subnet/uninspected.yaml": [("uninspected", "vpcs[0].route_tables[3].routes[0]", "")],
    "15-two-arm/one-eni.yaml": [],
    "27-endpoint-of-other-zone/swapped.yaml": [
        ("crosses-zone", "vpcs[0].route_tables[5].routes[0]", ""),
        ("crosses-zone", "vpcs[0].route_tables[6].routes[0]", ""),
    ],
    "30-tgw-zone-b-forgotten/no-route.yaml": [
        ("leads-nowhere", "vpcs[2].route_tables[1]", "add {destination: 10.0.0.0/8, target: vpce-b}"),
    ],
    "30-tgw-zone-b-forgotten/endpoint-b-half.yaml": [
        ("leads-nowhere", "vpcs[2].route_tables[3]", "add {destination: 10.0.0.0/8, target: tgw}"),
    ],
    f"{EGRESS}/appliance-mode-off.yaml": [
        ("other-zone", "transit_gateways[0].attachments[2].appliance_mode", "appliance_mode: enable"),
    ],
    f"{EGRESS}/bypass.yaml": [
        ("skips-endpoint", "vpcs[2].route_tables[0].routes[0].target", "target: vpce-a"),
        ("skips-endpoint", "vpcs[2].route_tables[3].routes[0].target", "target: vpce-b"),
    ],
    f"{EGRESS}/nat-of-other-zone.yaml": [
        ("other-zone", "vpcs[2].route_tables[1].routes[1].target", "target: nat-a"),
        ("other-zone", "vpcs[2].route_tables[4].routes[1].target", "target: nat-b"),
    ],
    f"{EGRESS}/nat-returns-by-tgw.yaml": [
        ("skips-endpoint", "vpcs[2].route_tables[2].routes[0].target", "target: vpce-a"),
        ("skips-endpoint", "vpcs[2].route_tables[5].routes[0].target", "target: vpce-b"),
    ],
    f"{EGRESS}/nat-without-return.yaml": [
        ("no-answer", "vpcs[2].route_tables[2]", "add {destination: 10.0.0.0/8, target: vpce-a}"),
        ("no-answer", "vpcs[2].route_tables[5]", "add {destination: 10.0.0.0/8, target: vpce-b}"),
    ],
    f"{EGRESS}/no-nat.yaml": [
        ("no-nat", "vpcs[2].route_tables[1].routes[1].target", "target: nat-a"),
        ("no-nat", "vpcs[2].route_tables[4].routes[1].target", "target: nat-b"),
    ],
    f"{EGRESS}/tgw-without-default.yaml": [
        ("leads-nowhere", "transit_gateways[0].route_tables[0]", "add {destination: 0.0.0.0/0, target: t-sec}"),
    ],
}  # fmt: skip


@pytest.mark.parametrize("file", CASES)
def test_what_somebody_got_wrong_is_found_with_the_line_that_mends_it(file: str) -> None:
    assert told(review(parse(case(file), file).topology, mtus={})) == CASES[file]


def test_the_published_design_of_pairs_of_zones_leaves_one_target_idle() -> None:
    """Two endpoints serve three zones: the third zone's appliance is never used, and nothing else is to be said."""
    found = review(parse(case("12-intra-vpc-zone-pairs/endpoint-per-pair.yaml"), "x").topology, mtus={})
    assert [(each.kind, each.severity) for each in found] == [("unused-target", "hint")]


def test_what_doctor_once_proposed_is_refused_by_the_checks() -> None:
    with pytest.raises(TopologyError):
        parse(case("ref-1-distributed/after-the-doctors-mend.yaml"), "x")


# ---- the same mistakes in designs of ours --------------------------------------------------------------------------
def lines(data: Data, table: str) -> Any:
    return next(
        t["routes"] for v in (*data["vpcs"], *data["transit_gateways"]) for t in v["route_tables"] if t["name"] == table
    )


def changed(data: Data, table: str, line: int, target: str) -> Data:
    lines(data, table)[line]["target"] = target
    return data


def without(data: Data, table: str, *numbers: int) -> Data:
    for number in sorted(numbers, reverse=True):
        del lines(data, table)[number]
    return data


def test_the_other_zones_nat_gateway_is_found_and_mended() -> None:
    (found,) = reviewed(changed(d7(), "ep-a", 0, "nat-b"))
    assert (found.kind, found.severity, found.change) == ("other-zone", "error", "target: nat-a")
    assert "each zone has a flow table of its own" in found.text


def test_without_a_nat_gateway_private_sources_are_lost() -> None:
    (found,) = reviewed(changed(d7(), "ep-b", 0, "igw"))
    assert (found.kind, found.change) == ("no-nat", "target: nat-b")


def test_a_nat_gateway_without_a_way_back_loses_the_answers() -> None:
    (found,) = reviewed(without(d7(), "pub-a", 1, 2))
    assert found.kind == "no-answer"
    assert found.change.endswith("target: vpce-a}")
    assert "the answer is lost" in found.text


def test_a_transit_gateways_table_without_a_default_leads_nowhere() -> None:
    data = d7()
    lines(data, "spokes")[0]["destination"] = "10.0.0.0/8"
    (found,) = reviewed(data)
    assert (found.kind, found.change) == ("leads-nowhere", "add {destination: 0.0.0.0/0, target: t-inspection}")


def test_a_blackhole_that_is_no_exception_is_found() -> None:
    (found,) = reviewed(changed(d7(), "inspected", 1, "blackhole"))
    assert (found.kind, found.change) == ("blackhole", "target: t-blue")


def test_a_blackhole_that_is_an_exception_from_a_wider_line_is_a_decision() -> None:
    """AWS's egress design keeps the spokes apart so."""
    data = d7()
    lines(data, "spokes").extend(table("x", "10.1.0.0/16 blackhole", "10.2.0.0/16 blackhole")["routes"])
    assert reviewed(data) == []


def test_a_line_around_the_inspection_is_found() -> None:
    data = d7()
    lines(data, "spokes").extend(table("x", "10.1.0.0/16 t-red", "10.2.0.0/16 t-blue")["routes"])
    found = reviewed(data)
    assert [(each.kind, each.change) for each in found] == [("way-around", "")] * 2
    one = d7()
    lines(one, "spokes").extend(table("x", "10.2.0.0/16 t-blue")["routes"])
    (found_one,) = reviewed(one)
    assert (found_one.severity, found_one.change) == ("error", "target: t-inspection")


def test_an_endpoint_in_the_subnet_of_its_instances_is_a_loop_that_no_line_mends() -> None:
    data = d1()
    vpc = data["vpcs"][0]
    vpc["endpoints"][0]["subnet"] = "app"
    found = reviewed(data)
    assert {(each.kind, each.change) for each in found if each.severity == "error"} == {("endpoint-in-own-subnet", "")}


def test_an_instance_that_nobody_inspects_is_named() -> None:
    data = d2()
    vpc = data["vpcs"][0]
    vpc["subnets"].append({"name": "open", "zone": "a", "cidr": "10.0.0.64/28", "route_table": "ep"})
    vpc["instances"].append(vm("forgotten", "open", "203.0.113.99"))
    (found,) = reviewed(data)
    assert (found.kind, found.severity, found.change) == ("uninspected", "warning", "")
    assert "instance forgotten in subnet open" in found.text


def test_swapped_endpoints_cost_and_break_nothing() -> None:
    data = d2()
    for name, endpoint in (("app-a", "vpce-b"), ("app-b", "vpce-a")):
        vpc = data["vpcs"][0]
        next(t for t in vpc["route_tables"] if t["name"] == name)["routes"][0]["target"] = endpoint
    for route, endpoint in zip(data["vpcs"][0]["route_tables"][0]["routes"], ("vpce-b", "vpce-a"), strict=True):
        route["target"] = endpoint
    found = reviewed(data)
    assert [(each.kind, each.severity) for each in found] == [("crosses-zone", "hint")] * 2


def test_one_endpoint_for_two_zones_leaves_targets_idle_and_hangs_on_one_zone() -> None:
    data = d5()
    vpc = data["vpcs"][1]
    vpc["endpoints"] = vpc["endpoints"][:1]
    for each in vpc["route_tables"]:
        for route in each["routes"]:
            route["target"] = route["target"].replace("vpce-b", "vpce-a")
    vpc["route_tables"] = [each for each in vpc["route_tables"] if each["name"] != "pub-b"]
    vpc["nat_gateways"] = vpc["nat_gateways"][:1]
    vpc["subnets"] = [each for each in vpc["subnets"] if each["name"] != "pub-b"]
    next(each for each in vpc["route_tables"] if each["name"] == "appl-b")["routes"] = []
    assert {(each.kind, each.severity) for each in reviewed(data)} == {
        ("unused-target", "hint"),
        ("single-zone", "hint"),
    }


def test_a_subnet_with_local_routes_only_is_a_decision() -> None:
    data = d7()
    red = data["vpcs"][0]
    red["subnets"].append({"name": "database", "zone": "a", "cidr": "10.1.9.0/24"})
    red["instances"].append(vm("db", "database"))
    assert reviewed(data) == []


def test_a_vpc_that_is_attached_and_has_no_line_to_the_transit_gateway_is_found() -> None:
    (found,) = reviewed(without(d5(), "red", 0))
    assert (found.kind, found.severity, dotted(found.path)) == (
        "unused-attachment",
        "warning",
        "vpcs[0].route_tables[0]",
    )
    assert found.change == "add {destination: 0.0.0.0/0, target: tgw}"


def test_a_zone_whose_instances_have_no_way_to_their_endpoint_is_found() -> None:
    data = d10()
    data["vpcs"][0]["route_tables"][0]["routes"] = []
    (found,) = reviewed(data)
    assert (found.kind, found.change) == ("forgotten-zone", "add {destination: 0.0.0.0/0, target: vpce-a}")


def test_a_zone_without_a_default_is_found_where_the_other_has_one() -> None:
    data = d7()
    red = data["vpcs"][0]
    red["route_tables"].append(table("red-b", "10.2.0.0/16 tgw"))
    red["subnets"][1]["route_table"] = "red-b"
    (found,) = reviewed(data)
    assert (found.kind, found.severity) == ("no-default", "warning")
    assert found.change == "add {destination: 0.0.0.0/0, target: tgw}"


def test_a_vpc_whose_default_is_too_narrow_is_found_where_another_has_one_by_the_same_hub() -> None:
    data = d7()
    data["vpcs"][0]["route_tables"] = [table("red", "10.0.0.0/8 tgw")]
    (found,) = reviewed(data)
    assert told([found]) == [("no-default", "vpcs[0].route_tables[0]", "add {destination: 0.0.0.0/0, target: tgw}")]


def test_each_of_two_mistakes_has_its_mend_although_the_other_goes_on() -> None:
    data = d7()
    public = next(each for each in data["vpcs"][2]["route_tables"] if each["name"] == "pub-a")
    public["routes"] = [each for each in public["routes"] if each["target"] != "igw"]
    inspected = data["transit_gateways"][0]["route_tables"][1]
    inspected["routes"] = [each for each in inspected["routes"] if each["target"] != "t-blue"]
    assert [(dotted(each.path), each.change) for each in reviewed(data)] == [
        ("vpcs[2].route_tables[2]", "add {destination: 0.0.0.0/0, target: igw}"),
        ("transit_gateways[0].route_tables[1]", "add {destination: 10.2.0.0/16, target: t-blue}"),
    ]


def test_a_design_without_anybody_on_the_internet_is_walked_all_the_same() -> None:
    data = d2()
    del data["internet"]["instances"]
    assert reviewed(data) == []
    data["vpcs"][0]["route_tables"][1]["routes"][0]["target"] = "igw"
    (found,) = reviewed(data)
    assert "web-a -> somebody" in found.text


# ---- mends ---------------------------------------------------------------------------------------------------------
Mistake = Callable[[], Data]
MISTAKES: list[Mistake] = [
    lambda: changed(d7(), "ep-a", 0, "nat-b"),
    lambda: changed(d7(), "pub-b", 1, "vpce-a"),
    lambda: without(d7(), "att-a", 0),
    lambda: without(d7(), "inspected", 0),
    lambda: changed(d7(), "att-b", 0, "tgw"),
]


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mend_that_is_told_leaves_nothing_to_be_found_and_breaks_nothing(mistake: Mistake) -> None:
    """Written into the file by hand, as a user does."""
    data = mistake()
    (found,) = reviewed(data)
    assert found.change
    mended = copy.deepcopy(data)
    place: Any = mended
    for part in found.path[:-1]:
        place = place[part]
    if found.change.startswith("add "):
        place[found.path[-1]]["routes"].append(yaml.safe_load(found.change[4:]))
    else:
        assert isinstance(found.path[-1], str)
        place[found.path[-1]] = yaml.safe_load(found.change)[found.path[-1]]
    assert reviewed(mended) == []
    talk = Talk(parse(yaml.safe_dump(mended), "x").topology)
    assert all(talk.walk(pair).answered for pair in talk.pairs())


def test_two_zones_of_two_subnets_part_and_either_line_would_do() -> None:
    data = d11_small()
    vpc = data["vpcs"][0]
    vpc["subnets"][1]["zone"] = "b"
    vpc["subnets"].append({"name": "middle-b", "zone": "b", "cidr": "10.0.4.0/24"})
    vpc["endpoints"].append({"name": "vpce-b", "subnet": "middle-b", "service": "inspect"})
    vpc["route_tables"][1]["routes"][0]["target"] = "vpce-b"
    data["vpcs"][1]["subnets"].append({"name": "appl-b", "zone": "b", "cidr": "10.254.2.0/24"})
    data["vpcs"][1]["instances"].append({"name": "fw-b", "subnet": "appl-b", "program": "passthrough"})
    data["target_groups"][0]["targets"].append("fw-b")
    data["load_balancers"][0]["subnets"].append("appl-b")
    found = reviewed(data)
    assert [each.kind for each in found] == ["other-zone"]


def test_a_switch_that_lets_in_what_belongs_to_no_flow_hides_no_fault() -> None:
    data = changed(d7(), "ep-a", 0, "nat-b")
    data["emulation"] = {"midstream": "new"}
    (found,) = reviewed(data)
    assert (found.kind, found.change) == ("other-zone", "target: nat-a")
