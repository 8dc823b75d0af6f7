"""Text of people's as words of HAProxy's language, which nothing in it can leave: patterns, formats, arguments.

HAProxy's configuration manual, 2.2 (quoting and escaping), 2.4 (arguments of sample expressions).
"""

from __future__ import annotations

import re

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


def wildcards(pattern: str, *, one: str = ".", escapes: bool = False) -> str:
    """Return the expression of a pattern in which * is anything and ? one character, each of them `one`.

    With `escapes` a backslash takes that meaning from the next character.
    """
    parts, literal = [], False
    for each in pattern:
        if literal or each not in ("*", "?", "\\") or (each == "\\" and not escapes):
            parts.append(re.escape(each))
            literal = False
        elif each == "\\":
            literal = True
        else:
            parts.append(one + ("*" if each == "*" else ""))
    return "".join(parts)


def matches(condition: Condition) -> tuple[str, ...]:
    """Return how a text is compared with each value of a condition: the words after a sample of it."""
    found = []
    for value in condition.values:
        if not re.search(r"[*?]", value):
            found.append(f"-m str -- {word(value)}")
        elif not re.search(r"[*?]", value[:-1]) and value[-1] == "*" and len(value) > 1:
            found.append(f"-m beg -- {word(value[:-1])}")
        else:
            found.append(f"-m reg -- {word(f'^{wildcards(value)}$')}")
    return (*found, *(f"-m reg -- {word(each)}" for each in condition.regex_values))
