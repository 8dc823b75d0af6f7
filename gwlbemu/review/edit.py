"""A change of one place of a topology, as a value that can be tried."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar, cast

from pydantic import BaseModel

from gwlbemu.topology.file.document import Path
from gwlbemu.topology.file.schema import Topology

M = TypeVar("M")


@dataclass(frozen=True, slots=True)
class Edit:
    """A change: where, in words, and what it makes of a topology. `rank` is the smaller the likelier to mend."""

    path: Path
    change: str
    apply: Callable[[Topology], Topology]
    rank: int = 0


def changed(model: M, path: Path, change: Callable[[object], object]) -> M:
    """Return a model, a tuple or a dict with what stands at `path` replaced by what `change` makes of it."""
    if not path:
        return cast(M, change(model))
    key, rest = path[0], path[1:]
    if isinstance(key, int) and isinstance(model, tuple):
        return cast(M, (*model[:key], changed(model[key], rest, change), *model[key + 1 :]))
    if isinstance(model, dict):
        return cast(M, {**model, key: changed(model.get(key), rest, change)})
    assert isinstance(model, BaseModel)
    return cast(M, model.model_copy(update={str(key): changed(getattr(model, str(key)), rest, change)}))


def setting(path: Path, value: object, text: str, rank: int = 0) -> Edit:
    """Return the change that writes `value` at `path`; `text` is how the line reads then."""
    return Edit(path, text, lambda topology: changed(topology, path, lambda _: value), rank)


def adding(path: Path, item: object, text: str, where: Path, rank: int = 0) -> Edit:
    """Return the change that adds an item to the list at `path`; it is told as `text` at `where`."""

    def more(known: object) -> object:
        assert isinstance(known, tuple)
        return (*known, item)

    return Edit(where, text, lambda topology: changed(topology, path, more), rank)


def removing(path: Path, rank: int = 0) -> Edit:
    """Return the change that takes the item at `path` out of its list."""
    number = int(path[-1])

    def fewer(known: object) -> object:
        assert isinstance(known, tuple)
        return (*known[:number], *known[number + 1 :])

    return Edit(path, "remove this line", lambda topology: changed(topology, path[:-1], fewer), rank)
