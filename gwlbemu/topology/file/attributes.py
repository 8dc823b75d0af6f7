"""AWS attributes and the emulation's switches: the core knows them, this file asks it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from gwlbemu.core.elb.attributes import LISTENER, LOAD_BALANCER, TARGET_GROUP
from gwlbemu.core.elb.balancer_types import ATTRIBUTES
from gwlbemu.core.emulation import EXPLANATIONS, Emulation, Scalar
from gwlbemu.errors import SettingError
from gwlbemu.topology.file.document import Path, Problem

__all__ = [
    "LISTENER",
    "LOAD_BALANCER",
    "TARGET_GROUP",
    "attribute_problems",
    "complete",
    "explained",
    "switch_problems",
]


def complete(balancer_type: str, resource: str, given: Mapping[str, str]) -> dict[str, str]:
    """Return every attribute of the resource by key: the given text, or AWS's default for that type of balancer."""
    return ATTRIBUTES[balancer_type]().as_text(resource) | dict(given)


def attribute_problems(balancer_type: str, resource: str, given: Mapping[str, str], path: Path) -> Iterator[Problem]:
    """Yield what AWS would refuse about each of the given keys; if nothing, about all of them together."""
    found = []
    for key, text in given.items():
        try:
            ATTRIBUTES[balancer_type].parse(resource, {key: text})
        except SettingError as error:
            found.append(Problem((*path, key), str(error)))
    yield from found
    if not found:
        try:
            ATTRIBUTES[balancer_type]().changed(resource, given)
        except SettingError as error:
            yield Problem(path, str(error))


def switch_problems(given: Mapping[str, Scalar], path: Path) -> Iterator[Problem]:
    """Yield what is wrong with the given switches of `emulation`."""
    for key, value in given.items():
        try:
            Emulation.from_values({key: value})
        except SettingError as error:
            yield Problem((*path, key), str(error).partition(": ")[2])  # the path names the key already


def explained(given: Mapping[str, Scalar]) -> Iterator[tuple[str, str, str]]:
    """Yield every switch of `emulation`: its key, its value as text, what it means."""
    switches = Emulation.from_values(given)
    for key, meaning in EXPLANATIONS.items():
        value = getattr(switches, key)
        yield key, "null" if value is None else str(value).lower(), meaning
