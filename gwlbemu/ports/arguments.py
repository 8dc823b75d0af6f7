"""The arguments of a control request, checked: each function takes one of them out, of the type and in the range that
is asked for, or refuses in a sentence that names it (SettingError). Nothing here trusts the sender: a number may be
infinite, a text endless, a list deep.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from typing import Any

from gwlbemu.errors import SettingError

Arguments = dict[str, Any]
LONGEST_TEXT = 1024  # characters, unless a verb says otherwise
_SHOWN = 60  # characters of a refused value


def shown(value: object) -> str:
    """Return a value as a refusal quotes it: its own text, cut, without control characters; a type where it is big."""
    if isinstance(value, list | dict):
        return f"a {'list' if isinstance(value, list) else 'object'} of {len(value)}"
    text = repr(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."


def refused(name: str, expected: str, value: object) -> SettingError:
    """Return the refusal of the argument `name`."""
    return SettingError(f"{name}: expected {expected}, got {shown(value)}")


def number(arguments: Mapping[str, Any], name: str, least: float, most: float, default: float | None = None) -> float:
    """Return the finite number `name` from `least` to `most`; without a default it has to be there."""
    value = _get(arguments, name, default)
    if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value <= most:
        raise refused(name, f"a number from {least:.12g} to {most:.12g}", value)
    return float(value)


def whole(arguments: Mapping[str, Any], name: str, least: int, most: int, default: int | None = None) -> int:
    """Return the whole number `name` from `least` to `most`; without a default it has to be there."""
    value = _get(arguments, name, default)
    if isinstance(value, float) and math.isfinite(value) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise refused(name, f"a whole number from {least} to {most}", value)
    return value


def text(arguments: Mapping[str, Any], name: str, default: str | None = None, *, longest: int = LONGEST_TEXT) -> str:
    """Return the text `name` of at most `longest` characters; without a default it has to be there."""
    value = _get(arguments, name, default)
    if not isinstance(value, str) or len(value) > longest:
        raise refused(name, f"text of at most {longest} characters", value)
    return value


def flag(arguments: Mapping[str, Any], name: str, default: bool = False) -> bool:
    """Return the truth value `name`."""
    value = arguments.get(name, default)
    if not isinstance(value, bool):
        raise refused(name, "true or false", value)
    return value


def one_of(arguments: Mapping[str, Any], name: str, choices: Collection[str], default: str | None = None) -> str:
    """Return the text `name`, one of `choices`."""
    value = _get(arguments, name, default)
    if not isinstance(value, str) or value not in choices:
        raise refused(name, f"one of {', '.join(choices)}", value)
    return value


def texts(arguments: Mapping[str, Any], name: str, *, most: int = 100) -> dict[str, str]:
    """Return the object `name`, at most `most` texts by name."""
    value = _get(arguments, name, None)
    if (
        not isinstance(value, dict)
        or len(value) > most
        or not all(isinstance(each, str) and len(each) <= LONGEST_TEXT for item in value.items() for each in item)
    ):
        raise refused(name, f"an object of at most {most} texts", value)
    return value


def _get(arguments: Mapping[str, Any], name: str, default: object) -> object:
    if name in arguments:
        return arguments[name]
    if default is None:
        raise SettingError(f"argument {name!r} is missing")
    return default
