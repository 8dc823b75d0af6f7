"""The flows of a lab, page by page; and the way of a field from the core's record to every reader."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any

from gwlbemu.core.gateway.records import FlowRecord
from gwlbemu.views import flows
from gwlbemu.views.flows import COLUMNS, LiveFlow, read_flows
from tests.views.fake_lab import NODES, answering, fake_lab, flow

A, B = NODES


def table(count: int) -> Any:
    """What a node with `count` flows answers to `flows`."""

    def answer(request: dict[str, Any]) -> dict[str, Any]:
        first = int(request["cursor"] or 0)
        last = first + request["limit"]
        page = [flow(port) for port in range(count)][first:last]
        return {"flows": page, "more": last < count, "cursor": str(last) if last < count else ""}

    return {"flows": answer}


def test_all_flows_are_read_page_by_page(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(flows, "PAGE", 3)
    lab = fake_lab(tmp_path)
    with answering(lab, A, table(7)) as asked, answering(lab, B, table(0)):
        reading = read_flows(lab)
    assert [(each.node, each.source_port) for each in reading.complete()] == [(A, port) for port in range(7)]
    assert (reading.more, asked) == ((), ["flows"] * 3)


def test_a_limit_is_one_page_and_names_the_nodes_that_have_more(tmp_path: Path) -> None:
    lab = fake_lab(tmp_path)
    with answering(lab, A, table(7)) as asked, answering(lab, B, table(2)):
        reading = read_flows(lab, 2)
    assert [each.node for each in reading.items] == [A, A, B, B]
    assert (reading.more, asked) == ((A,), ["flows"])


def test_a_silent_node_is_named_once_and_hides_no_other(tmp_path: Path) -> None:
    lab = fake_lab(tmp_path, inspect_node_a="dead")
    with answering(lab, B, table(1)):
        reading = read_flows(lab)
    assert [each.node for each in reading.items] == [B]
    assert [each.process for each in reading.silent] == [A]


def test_every_field_of_the_cores_record_reaches_the_view_under_its_name() -> None:
    """What only the node needs (keys) and instants, which become seconds from now, are named here."""
    internal = {"key", "tuple_size", "placed_at", "last_seen_at", "expires_at"}
    told = {"node", "packets", "type", "age_seconds", "idle_seconds", "expires_in_seconds"}
    others = {"listener", "target_group", "target_address", "target_port", "state"}
    names = {each.name for each in fields(LiveFlow)} - others
    assert set(FlowRecord._fields) - internal == names - told
    assert set(COLUMNS["gateway"]) <= names
