"""A plan as JSON text and back, without loss."""

from __future__ import annotations

from pydantic import TypeAdapter
from pydantic_core import from_json as read_json

from gwlbemu.topology.plan.values import VERSION, Plan

_PLAN = TypeAdapter(Plan)


class PlanVersionError(ValueError):
    """A plan that another version of gwlbemu wrote, whose plans look different (see `values.VERSION`)."""


def to_json(plan: Plan) -> str:
    """Return the plan as JSON, for the lab's state folder and for `gwlbemu plan --json`."""
    return _PLAN.dump_json(plan, indent=1).decode()


def from_json(text: str) -> Plan:
    """Return the plan that `to_json` wrote.

    Raises PlanVersionError for a plan of another version, and ValueError for any other text.
    """
    found = read_json(text)
    if isinstance(found, dict) and "lab" in found and found.get("version") != VERSION:
        raise PlanVersionError(f"expected a plan of version {VERSION}, got {found.get('version', 1)}")
    return _PLAN.validate_python(found)
