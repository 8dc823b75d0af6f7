"""Every design with one thing changed: a route dropped or led elsewhere, an association gone, appliance mode off."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any, NamedTuple

from gwlbemu.topology.file.document import Path
from tests.review.designs import Data


class Mutation(NamedTuple):
    """What was done, where in the file, and the file; `path` is that of the line, or of what has lost its table."""

    what: str
    path: Path
    data: Data


def mutations(data: Data) -> Iterator[Mutation]:
    """Yield each single change of a design, those that a check of the file refuses among them."""
    for index, vpc in enumerate(data["vpcs"]):
        yield from _tables(data, ("vpcs", index), vpc.get("route_tables", []), _targets(data, vpc))
        owners: list[tuple[Path, Data]] = [(("subnets", n), subnet) for n, subnet in enumerate(vpc["subnets"])]
        owners.append((("internet_gateway",), vpc.get("internet_gateway", {})))
        for own, owner in owners:
            if "route_table" in owner:
                path = ("vpcs", index, *own)
                yield Mutation("no table", path, _with(data, (*path, "route_table"), None))
    for index, gateway in enumerate(data.get("transit_gateways", [])):
        here: Path = ("transit_gateways", index)
        names = [attachment["name"] for attachment in gateway["attachments"]]
        yield from _tables(data, here, gateway["route_tables"], [*names, "blackhole"])
        for number, attachment in enumerate(gateway["attachments"]):
            path = (*here, "attachments", number)
            if attachment.get("appliance_mode") == "enable":
                yield Mutation("mode off", path, _with(data, (*path, "appliance_mode"), "disable"))
            for table in gateway["route_tables"]:
                if table["name"] != attachment["route_table"]:
                    changed = _with(data, (*path, "route_table"), table["name"])
                    yield Mutation(f"table {table['name']}", path, changed)


def _tables(data: Data, here: Path, tables: list[Data], targets: list[str]) -> Iterator[Mutation]:
    for number, table in enumerate(tables):
        for place, route in enumerate(table["routes"]):
            path = (*here, "route_tables", number, "routes", place)
            yield Mutation("dropped", path, _with(data, path[:-1], [r for r in table["routes"] if r is not route]))
            for target in targets:
                if target != route["target"]:
                    yield Mutation(f"to {target}", path, _with(data, (*path, "target"), target))


def _targets(data: Data, vpc: Data) -> list[str]:
    found = [one["name"] for key in ("endpoints", "nat_gateways") for one in vpc.get(key, [])]
    found += [vpc["internet_gateway"]["name"]] if "internet_gateway" in vpc else []
    attached = [
        each for each in data.get("transit_gateways", []) for a in each["attachments"] if a["vpc"] == vpc["name"]
    ]
    return [*found, *(gateway["name"] for gateway in attached), "local"]


def _with(data: Data, path: Path, value: object) -> Data:
    changed = copy.deepcopy(data)
    place: Any = changed
    for part in path[:-1]:
        place = place[part]
    place[path[-1]] = value
    return changed
