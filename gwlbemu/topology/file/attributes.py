"""AWS attributes and the emulation's switches: the core knows them, this file asks it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from gwlbemu.core.elb.attributes import LISTENER, LOAD_BALANCER, TARGET_GROUP
from gwlbemu.core.elb.balancer_types import ATTRIBUTES, NETWORK, TYPE_OF_PROTOCOL
from gwlbemu.core.elb.network_attributes import NetworkAttributes, check_group_attributes, group_defaults
from gwlbemu.core.emulation import EXPLANATIONS, Emulation, Scalar
from gwlbemu.errors import AwsError, SettingError
from gwlbemu.topology.file.document import Path, Problem

__all__ = [
    "LISTENER",
    "LOAD_BALANCER",
    "TARGET_GROUP",
    "attribute_problems",
    "complete",
    "explained",
    "group_attribute_problems",
    "switch_problems",
]


def complete(balancer_type: str, resource: str, given: Mapping[str, str]) -> dict[str, str]:
    """Return every attribute of the resource by key: the given text, or AWS's default for that type of balancer."""
    return ATTRIBUTES[balancer_type]().as_text(resource) | dict(given)


def attribute_problems(balancer_type: str, resource: str, given: Mapping[str, str], path: Path) -> Iterator[Problem]:
    """Yield what AWS would refuse about each of the given keys; if nothing, about all of them together."""
    kind = ATTRIBUTES[balancer_type]
    yield from _problems(
        given, path, lambda texts: kind.parse(resource, texts), lambda: kind().changed(resource, given)
    )


def group_attribute_problems(
    protocol: str, target_type: str, given: Mapping[str, str], path: Path
) -> Iterator[Problem]:
    """Yield the same about the attributes of a target group of that protocol and target type."""
    if TYPE_OF_PROTOCOL[protocol] != NETWORK:
        yield from attribute_problems(TYPE_OF_PROTOCOL[protocol], TARGET_GROUP, given, path)
        return

    def one(texts: Mapping[str, str]) -> None:
        NetworkAttributes.parse(TARGET_GROUP, texts)
        check_group_attributes(protocol, target_type, texts)

    before = NetworkAttributes.from_text(target_group=group_defaults(protocol, target_type))
    yield from _problems(given, path, one, lambda: before.changed(TARGET_GROUP, given))


def _problems(
    given: Mapping[str, str], path: Path, one: Callable[[Mapping[str, str]], object], together: Callable[[], object]
) -> Iterator[Problem]:
    found = []
    for key, text in given.items():
        try:
            one({key: text})
        except SettingError as error:
            found.append(Problem((*path, key), str(error)))
    yield from found
    if not found:
        try:
            together()
        except SettingError as error:
            code = "" if error.code == AwsError.code else f" ({error.code})"
            yield Problem(path, f"{error}{code}")


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
