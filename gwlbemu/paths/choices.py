"""What is left open, and walking every way it may go.

A walk asks `Choices.pick` where something is decided that cannot be known: a flow hash of the kernel, a seed that is
not given, a source port that is left open. `every` repeats the walk until each answer was given once.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Sequence
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")

MOST = 256  # walks; of more ways that are possible, these are the first


class Choices:
    """The decisions of one walk: the given ones first, then the first option of each that comes up."""

    def __init__(self, given: tuple[int, ...] = ()) -> None:
        self._given = given
        self._by_key: dict[Hashable, int] = {}
        self.taken: list[tuple[int, int]] = []  # the option's number, and of how many
        self.named: dict[str, None] = {}

    def pick(self, key: Hashable, options: Sequence[T]) -> T:
        """Return one of the options, for the same key the same one in the whole walk."""
        if len(options) == 1:
            return options[0]
        number = self._by_key.get(key)
        if number is None:
            at = len(self.taken)
            number = self._given[at] if at < len(self._given) else 0
            self._by_key[key] = number
            self.taken.append((number, len(options)))
        return options[number]

    def name(self, sentence: str) -> None:
        """Note how an open choice was decided, for people."""
        self.named[sentence] = None


def every(walk: Callable[[Choices], R]) -> Iterator[R]:
    """Yield the result of the walk for each way that open choices may go, the first options first; at most MOST."""
    waiting: list[tuple[int, ...]] = [()]
    for _ in range(MOST):
        if not waiting:
            return
        given = waiting.pop(0)
        choices = Choices(given)
        yield walk(choices)
        taken = tuple(number for number, _ in choices.taken)
        for at in range(len(given), len(taken)):
            for other in range(1, choices.taken[at][1]):
                waiting.append((*taken[:at], other))
