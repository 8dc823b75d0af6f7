"""Text of people's as words of HAProxy's language, which nothing in it can leave: patterns, formats, arguments.

HAProxy's configuration manual, 2.2 (quoting and escaping), 2.4 (arguments of sample expressions).
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from gwlbemu.core.application.patterns import wildcards
from gwlbemu.core.elb.rules import Condition

_ESCAPES = {"\\": "\\\\", '"': '\\"', "$": "\\$", "\n": "\\n", "\r": "\\r", "\t": "\\t", "\0": ""}
_REPLACED = re.compile(r"\\|\$([1-9])")


def word(text: str) -> str:
    """Return a text as one word of a line."""
    return '"' + "".join(_ESCAPES.get(each, each) for each in text) + '"'


def plain(text: str) -> str:
    """Return a text as a word where HAProxy takes a format, in which % begins something."""
    return word(text.replace("%", "%%"))


def argument(text: str) -> str:
    """Return a text as an argument of a converter; the whole expression is then to be a `word`."""
    return "'" + text.replace("'", "'\\''") + "'"


def substitution(regex: str, replace: str, flags: str = "") -> str:
    """Return the converter that replaces the first match of `regex`; $1 to $9 in `replace` are its groups.

    `flags`: g for every match, i for any case.
    """
    said = _REPLACED.sub(lambda found: f"\\{found[1]}" if found[1] else "\\\\", replace)
    return f"regsub({argument(regex)},{argument(said)}{flags and ','}{flags})"


def when(*conditions: str) -> str:
    """Return the end of a line that is for requests with all of these conditions; "" stands for one that is met."""
    given = " ".join(filter(None, conditions))
    return f" if {given}" if given else ""


def matches(condition: Condition, *, any_case: bool = False) -> Iterator[str]:
    """Yield how a text is compared with each value of a condition: what stands behind the sample."""
    case = " -i" if any_case else ""
    for value in condition.values:
        if not re.search(r"[*?]", value):
            yield f"-m str{case} -- {word(value)}"
        elif re.fullmatch(r"[^*?]+[*]", value):
            yield f"-m beg{case} -- {word(value[:-1])}"
        else:
            yield f"-m reg{case} -- {word(f'^{wildcards(value)}$')}"
    for regex in condition.regex_values:
        yield f"-m reg -- {word(regex)}"
