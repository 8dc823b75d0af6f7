"""Every value of every bundled topology, replaced by one that breaks readers: read or refused with its line."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from gwlbemu.errors import TopologyError
from gwlbemu.topology.plan.resolve import load
from tests.paths import TOPOLOGIES

HOSTILE: list[object] = [
    None, True, "", " ", "-", "/", "10.0.0.0/", "/24", "9" * 5000, "10.0.0.0/" + "9" * 5000, "1.1.1." + "9" * 5000,
    "-" * 300, "\u0663\u0663", "\u00b2", "a" * 60_000, 10**63, -1, 0, 1e300, float("inf"), float("nan"), [], {}, [[]],
    [None], {"": None}, {"a": {"a": {"a": 1}}}, "2001-99-99", "::", "::/0", "fe80::1%eth0", "{python}", "any", "\x85",
]  # fmt: skip
PROGRAMS = """
{name: %s, subnet: appliances, address: 10.254.1.99, program: {firewall: {default: deny, timeouts: {tcp: 1}, rules: [
  {name: x, action: allow, protocol: [tcp, 6], source: 10.0.0.0/8, destination: any, ports: [80, 1-2],
   source_ports: 1024-65535}]}}}
"""


def places(value: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """The path of everything in a document."""
    yield path
    for key in value if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ():
        yield from places(value[key], (*path, key))


def replaced(document: Any, path: tuple[str | int, ...], value: object) -> Any:
    changed = copy.deepcopy(document)
    place = changed
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    return changed


@pytest.mark.slow
@pytest.mark.parametrize("value", HOSTILE, ids=lambda value: repr(value)[:20])
def test_a_value_that_breaks_readers_is_read_or_refused(value: object) -> None:
    document = yaml.safe_load((TOPOLOGIES / "minimal.yaml").read_text())
    document["vpcs"][1]["instances"].append(yaml.safe_load(PROGRAMS % "extra"))
    document["target_groups"][0]["health_check"] = {"protocol": "HTTP", "port": 80, "path": "/", "interval_seconds": 10}
    document["load_balancers"][0]["listener"]["attributes"] = {"tcp.idle_timeout.seconds": 350}
    document["emulation"] = {"ttl_decrement": 2, "propagation_delay_seconds": 0.5}
    document["capture"] = {"enabled": True, "files": 2, "snapshot_length": 100}
    load(yaml.safe_dump(document), "f.yaml")  # as it is, it is read
    for path in places(document):
        if not path:
            continue
        text = yaml.safe_dump(replaced(document, path, value), sort_keys=False, allow_unicode=True)
        try:
            load(text, "f.yaml")
        except TopologyError as error:
            assert str(error).startswith("f.yaml"), (path, str(error)[:200])  # noqa: PT017
