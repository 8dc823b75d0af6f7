"""The text of a topology file -> a checked Topology, or one TopologyError that lists all that is wrong."""

from __future__ import annotations

from dataclasses import dataclass, field
from difflib import get_close_matches
from types import UnionType
from typing import Annotated, Union, get_args, get_origin

from pydantic import BaseModel, BeforeValidator, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from gwlbemu.core.elb.balancer_types import GATEWAY
from gwlbemu.topology.file import document
from gwlbemu.topology.file.check_gateway import NOT_FOR_GATEWAY
from gwlbemu.topology.file.checks import problems_of
from gwlbemu.topology.file.document import Path, Problem
from gwlbemu.topology.file.schema import Topology

LONGEST_SHOWN = 200  # characters of a value in a complaint
# What people know from AWS and a topology cannot have, by the key that they would write.
ABSENT = {
    **{f"egress_only_internet_gateway{s}": "an egress-only internet gateway is" for s in ("", "s")},
    **{f"{word}{s}": "network ACLs are" for word in ("network_acl", "nacl", "acl") for s in ("", "s")},
    **{f"{word}{s}": "VPC peering is" for word in ("peering", "vpc_peering", "peering_connection") for s in ("", "s")},
    **{f"vpc_peering_connection{s}": "VPC peering is" for s in ("", "s")},
    **{f"{word}{s}": "a VPN is" for word in ("vpn_gateway", "vpn_connection", "customer_gateway") for s in ("", "s")},
    **{f"prefix_list{s}": "prefix lists are" for s in ("", "s")},
    **{f"gateway_endpoint{s}": "a gateway endpoint is" for s in ("", "s")},
    **{f"interface_endpoint{s}": "an interface endpoint is" for s in ("", "s")},
    **{f"local_gateway{s}": "a local gateway is" for s in ("", "s")},
    **{f"carrier_gateway{s}": "a carrier gateway is" for s in ("", "s")},
    **{f"secondary_cidr{s}": "a second network of a VPC is" for s in ("", "s")},
    "propagations": "route propagation is",
}
EMPTY = "expected at least one entry, got none"


@dataclass(frozen=True, slots=True)
class Parsed:
    """A topology that has passed every check, and where its lines stand."""

    topology: Topology
    source: str
    lines: dict[Path, int] = field(default_factory=dict)


def parse(text: str, source: str) -> Parsed:
    """Read, understand and check the text of a topology file; `source` is the file's name as the user gave it.

    Raises one TopologyError that lists everything that is wrong, a line each: `source:line: key: what was expected`.
    """
    read = document.read(text, source)
    try:
        topology = Topology.model_validate(read.data)
    except ValidationError as error:
        problems = [_problem(details, read.data) for details in error.errors()]
        document.refuse(source, read.lines, _without_echoes(problems))
        raise AssertionError("a ValidationError without errors") from None
    document.refuse(source, read.lines, problems_of(topology))
    return Parsed(topology, source, read.lines)


def _without_echoes(problems: list[Problem]) -> list[Problem]:
    """A list whose only entry is wrong also counts as empty for pydantic: one complaint is enough, and none twice."""
    problems = list(dict.fromkeys(problems))
    inner = [problem.path for problem in problems]
    return [
        problem
        for problem in problems
        if problem.text != EMPTY
        or not any(len(path) > len(problem.path) and path[: len(problem.path)] == problem.path for path in inner)
    ]


def _is_gateways(path: Path, data: object) -> bool:
    """Whether the listener at `path` is that of a gateway load balancer."""
    found = data["load_balancers"][path[1]] if isinstance(data, dict) else None
    return isinstance(found, dict) and found.get("type") == GATEWAY


def _problem(details: ErrorDetails, data: object) -> Problem:
    path = details["loc"]
    in_listener = path[:1] == ("load_balancers",) and path[2:3] == ("listeners",)
    if in_listener and path[4:5] and path[4] in NOT_FOR_GATEWAY and _is_gateways(path, data):
        return Problem(path[:5], NOT_FOR_GATEWAY[str(path[4])])  # whatever stands there: no other value would do
    kind, value, context = details["type"], details["input"], details.get("ctx", {})
    if kind == "extra_forbidden":
        return Problem(path, _unknown_key(path, value))
    if kind == "missing":
        return Problem(path, "this key is missing" if path else "expected a topology, got an empty file")
    if kind == "value_error":
        return Problem(path, str(context["error"]))
    if kind == "tuple_type":
        return Problem(path, f"expected a list, got {_shown(value)}")
    if kind in ("model_type", "dict_type", "model_attributes_type"):
        keys = _keys(path)
        return Problem(path, f"expected {'the keys ' + ', '.join(keys) if keys else 'keys'}, got {_shown(value)}")
    if kind == "too_short":
        return Problem(path, EMPTY)
    if kind == "string_pattern_mismatch":
        return Problem(path, f"expected text that matches {context['pattern']}, got {_shown(value)}")
    wanted = {
        "string_type": "text",
        "int_type": "a whole number",
        "bool_type": "true or false",
        "float_type": "a number",
    }
    message = wanted.get(kind) or details["msg"].removeprefix("Input should be ")
    return Problem(path, f"expected {message}, got {_shown(value)}")


def _shown(value: object) -> str:
    if value is None:
        return "nothing"
    if isinstance(value, tuple):
        return "a list"
    if isinstance(value, dict):
        return "keys"
    text = str(value).lower() if isinstance(value, bool) else repr(value)
    return text if len(text) <= LONGEST_SHOWN else f"{text[:LONGEST_SHOWN]}..."


def _unknown_key(path: Path, value: object) -> str:
    """Say which keys there are; one of them in the first place only where it is what was meant, but for the spelling.

    What AWS has and this emulator has not is not a mistake in writing, and a key of a similar name is another thing.
    """
    known, key = _keys(path[:-1]), str(path[-1])
    wanted = f"expected one of {', '.join(known)}"
    if key in ABSENT:
        return f"{ABSENT[key]} not emulated: expected the file without this key"
    near = [each for each in get_close_matches(key, known, n=1) if abs(len(each) - len(key)) <= 2]
    if not near:
        return f"unknown key: {wanted}"
    meant = _fields(_model(path[:-1]))[near[0]]
    is_list = get_origin(_bare(meant.annotation)) is tuple
    shape = ", a list" if is_list and not isinstance(value, tuple) and not _takes_one(meant) else ""
    if not is_list and isinstance(value, tuple):
        shape = ", one of them"
    return f"unknown key: did you mean {near[0]}{shape}? {wanted}"


def _takes_one(field: FieldInfo) -> bool:
    """Whether a list of one may be written without the brackets: a validator makes it a list."""
    annotations = [*field.metadata]
    for choice in get_args(field.annotation):
        annotations += getattr(choice, "__metadata__", ())
    return any(isinstance(each, BeforeValidator) for each in annotations)


def _keys(path: Path) -> list[str]:
    """The keys that the model at `path` knows; none when there is no model."""
    return list(_fields(_model(path)))


def _model(path: Path) -> type[BaseModel]:
    """The model at `path`, or one without keys."""
    found: object = Topology
    for part in path:
        if isinstance(found, type) and issubclass(found, BaseModel) and part in _fields(found):
            found = _bare(_fields(found)[str(part)].annotation)
        elif get_origin(found) is tuple:
            found = _bare(get_args(found)[0])
        else:
            return BaseModel
    return found if isinstance(found, type) and issubclass(found, BaseModel) else BaseModel


def _fields(model: type[BaseModel]) -> dict[str, FieldInfo]:
    """The fields of a model by the keys that they have in the file."""
    return {field.alias or name: field for name, field in model.model_fields.items()}


def _bare(annotation: object) -> object:
    """The type without Annotated and without `| None`."""
    while True:
        if get_origin(annotation) is Annotated:
            annotation = get_args(annotation)[0]
        elif get_origin(annotation) in (Union, UnionType):
            annotation = next(choice for choice in get_args(annotation) if choice is not type(None))
        else:
            return annotation
