"""What `gwlbemu plan`, `gwlbemu schema` and the end of `make topology` print."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from gwlbemu.core.emulation import EXPLANATIONS
from gwlbemu.topology.file.parse import parse
from gwlbemu.topology.file.schema import json_schema
from gwlbemu.topology.plan.render import lab_map, plan_text
from gwlbemu.topology.plan.resolve import resolve
from gwlbemu.topology.plan.values import Plan
from tests.paths import TOPOLOGIES
from tests.topology.builder import BASE, plan_of, put

FILES = sorted(TOPOLOGIES.glob("*.yaml"))


def two_zones() -> Plan:
    (path,) = [path for path in FILES if path.stem == "two-zones"]
    return resolve(parse(path.read_text(), path.name))


def test_the_plan_tells_every_name_address_mac_mtu_and_route() -> None:
    plan = two_zones()
    text = plan_text(plan)
    for namespace in plan.namespaces:
        assert namespace.name in text
        assert all(route.source in text for route in namespace.routes)
    for link in plan.links:
        assert link.a.mac in text
        assert link.b.mac in text
    for one in plan.instances:
        assert one.address in text
    assert "mtu 9001" in text
    assert all(endpoint.endpoint_id in text for endpoint in plan.endpoints)


def test_the_plan_explains_every_switch_and_shows_the_value_that_counts() -> None:
    lines = plan_text(plan_of(put("emulation", {"ttl_decrement": 1}))).splitlines()
    for key, meaning in EXPLANATIONS.items():
        assert any(key in line and meaning in line for line in lines)
    assert any(line.split()[:2] == ["ttl_decrement", "1"] for line in lines)
    assert any(line.split()[:2] == ["midstream", "drop"] for line in lines)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_the_map_fits_a_hundred_columns(path: Path) -> None:
    plan = resolve(parse(path.read_text(), path.name))
    health = {
        node.name: [{"id": t.id, "state": "unhealthy"} for g in plan.target_groups for t in g.targets]
        for node in plan.gateway_nodes
    }
    assert max(map(len, lab_map(plan, health).splitlines())) <= 100


def test_the_map_shows_zones_endpoints_appliances_and_their_health() -> None:
    plan = two_zones()
    health = {
        "firewall-node-a": [{"id": "fw-a1", "state": "healthy"}, {"id": "fw-a2", "state": "unhealthy"}],
        "ids-node-b": [{"id": "ids-b", "state": "initial"}],
    }
    text = lab_map(plan, health)
    assert "vpce-fw-a => fw-a1 healthy, fw-a2 unhealthy" in text
    assert "vpce-ids-b => ids-b initial" in text
    assert "zone a" in text
    assert "203.0.113.10 = web-a" in text
    assert "0.0.0.0/0 -> vpce-ids-b" in text


def test_with_cross_zone_every_node_shows_every_target() -> None:
    def change(data: dict[str, Any]) -> None:
        put("target_groups.0.targets", ["fw-a", "fw-b"])(data)
        put("load_balancers.0.subnets", ["sec-a", "sec-b"])(data)
        put("load_balancers.0.attributes", {"load_balancing.cross_zone.enabled": True})(data)

    assert "vpce-a => fw-a, fw-b" in lab_map(plan_of(change))
    assert "no endpoint => fw-a, fw-b" in lab_map(plan_of(change))


def conforms(value: Any, schema: dict[str, Any], whole: dict[str, Any]) -> bool:
    """As much of JSON Schema as pydantic writes."""
    if "$ref" in schema:
        schema = whole["$defs"][schema["$ref"].rsplit("/", 1)[1]]
    if "anyOf" in schema:
        return any(conforms(value, one, whole) for one in schema["anyOf"])
    if "const" in schema or "enum" in schema:
        return value in schema.get("enum", [schema.get("const")])
    kinds: dict[str, Any] = {
        "object": dict,
        "array": list,
        "string": str,
        "integer": int,
        "number": (int, float),
        "boolean": bool,
    }
    kind = schema["type"]
    if kind == "null":
        return value is None
    if not isinstance(value, kinds[kind]) or (isinstance(value, bool) and kind != "boolean"):
        return False
    if kind == "array":
        return all(conforms(one, schema["items"], whole) for one in value)
    if kind == "object":
        properties, more = schema.get("properties", {}), schema.get("additionalProperties", True)
        names = schema.get("propertyNames", {}).get("enum", list(value))
        return set(schema.get("required", [])) <= set(value) <= set(names) | set(properties) and all(
            conforms(one, properties[key], whole) if key in properties else more and conforms(one, more, whole)
            for key, one in value.items()
        )
    return True


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_the_json_schema_takes_every_shipped_topology(path: Path) -> None:
    schema: dict[str, Any] = json.loads(json.dumps(json_schema()))
    assert conforms(yaml.safe_load(path.read_text()), schema, schema)


@pytest.mark.parametrize(
    "change",
    [
        put("vpcs.0.cdir", "x"),
        put("vpcs.0.cidr", 3),
        put("target_groups.0.attributes", {"slow_start.seconds": 1}),
        put("emulation", {"ttl": 1}),
        put("load_balancers.0.type", "classic"),
        put("vpcs.0.instances.0.program", "apache"),
    ],
)
def test_the_json_schema_refuses_what_an_editor_should_underline(change: Any) -> None:
    schema: dict[str, Any] = json.loads(json.dumps(json_schema()))
    data = yaml.safe_load(yaml.safe_dump(BASE))
    assert conforms(data, schema, schema)
    change(data)
    assert not conforms(data, schema, schema)
