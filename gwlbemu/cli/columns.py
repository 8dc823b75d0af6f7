"""Text that fits a screen: the widths of columns, names that are cut in the middle, sentences that go on indented.

What is cut stands whole in the JSON of the same verb; COLUMNS says how wide the screen is where there is none.
"""

from __future__ import annotations

import shutil
import textwrap
from collections.abc import Sequence

NARROWEST = 8  # columns to which a name is cut at most


def screen_width() -> int:
    """Return the columns of the terminal, or what COLUMNS says; 80 where neither is known."""
    return shutil.get_terminal_size().columns


def shorten(text: str, width: int) -> str:
    """Return `text` in at most `width` columns, cut in the middle: names that begin alike differ at their ends."""
    if len(text) <= width:
        return text
    tail = (width - 1) // 2
    return f"{text[: width - 1 - tail]}…{text[len(text) - tail :]}" if width > 2 else text[:width]


def fitted(widths: Sequence[int], room: int, *, gap: int = 2) -> list[int]:
    """Return the widths of columns that are `gap` apart, the widest ones narrowed until all fit into `room`."""
    found = list(widths)
    while sum(found) + gap * (len(found) - 1) > room and max(found) > NARROWEST:
        found[found.index(max(found))] -= 1
    return found


def wrapped(sentence: str, width: int) -> list[str]:
    """Return a sentence as lines of at most `width` columns, the further ones indented."""
    return textwrap.wrap(sentence, width, subsequent_indent="    ", break_on_hyphens=False) or [""]


def beside(label: str, text: str, width: int, *, indent: int) -> list[str]:
    """Return text beside a label as lines of at most `width` columns, the further ones indented by `indent`.

    It is broken at blanks alone: a longer word, a path for instance, stands whole in a line of its own.
    """
    blank = " " * indent
    lines = textwrap.wrap(
        text, max(width, indent + NARROWEST), initial_indent=label, subsequent_indent=blank, break_long_words=False,
        break_on_hyphens=False,
    )  # fmt: skip
    return lines or [label.rstrip()]
