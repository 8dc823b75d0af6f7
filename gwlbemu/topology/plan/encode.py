"""A plan as JSON text and back, without loss."""

from __future__ import annotations

from pydantic import TypeAdapter

from gwlbemu.topology.plan.values import Plan

_PLAN = TypeAdapter(Plan)


def to_json(plan: Plan) -> str:
    """The plan as JSON, for the lab's state folder and for `gwlbemu plan --json`."""
    return _PLAN.dump_json(plan, indent=1).decode()


def from_json(text: str) -> Plan:
    """The plan that `to_json` wrote."""
    return _PLAN.validate_json(text)
