"""A plan as JSON text and back, without loss."""

from __future__ import annotations

from pydantic import TypeAdapter
from pydantic_core import from_json as read_json

from gwlbemu.errors import LabError
from gwlbemu.topology.plan.values import VERSION, Plan

_PLAN = TypeAdapter(Plan)


def to_json(plan: Plan) -> str:
    """Return the plan as JSON, for the lab's state folder and for `gwlbemu plan --json`."""
    return _PLAN.dump_json(plan, indent=1).decode()


def from_json(text: str) -> Plan:
    """Return the plan that `to_json` wrote.

    Raises LabError when another version of gwlbemu wrote it, whose plans look different (see `values.VERSION`), and
    ValueError for any other text.
    """
    found = read_json(text)
    if isinstance(found, dict) and "lab" in found and found.get("version") != VERSION:
        lab = found["lab"]
        raise LabError(
            f"lab {lab} was brought up by another version of gwlbemu, which this one can only take down:"
            f" gwlbemu down --lab {lab}"
        )
    return _PLAN.validate_python(found)
