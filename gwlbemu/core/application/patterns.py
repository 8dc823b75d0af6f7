"""The patterns of conditions: wildcards as regular expressions, and the replacements of transforms.

`*` is any number of characters, `?` exactly one (ELBv2 API, RuleCondition). Regular expressions of conditions and
transforms are found anywhere in the text unless they have anchors; AWS names what its engine lacks (lookaheads,
lookbehinds, back references, ...), not how it is anchored: that, and that it is case-sensitive, is our choice.
"""

from __future__ import annotations

import re

ANY, PART_OF_QUERY, PART_OF_KEY = ".", "[^&]", "[^&=]"  # what one wildcard character may be


def wildcards(pattern: str, one: str = ANY, *, escapes: bool = False) -> str:
    r"""Return the regular expression of a pattern with wildcards, without anchors, in the language of PCRE and Python.

    With `escapes`, `\*` and `\?` are the characters themselves (QueryStringConditionConfig).
    """
    parts = re.findall(r"\\[*?]|." if escapes else r".", pattern, re.DOTALL)
    return "".join({"*": f"{one}*", "?": one}.get(part, re.escape(part[-1])) for part in parts)


def query_pattern(key: str, value: str) -> str:
    """Return the regular expression that finds a parameter in a query: with this key, or with "" of any, or no key.

    Parameters stand between `&`, the key before the first `=`. Nothing is decoded: a choice of ours.
    """
    value = wildcards(value, PART_OF_QUERY, escapes=True)
    before = f"{wildcards(key, PART_OF_KEY, escapes=True)}=" if key else f"({PART_OF_KEY}*=)?"
    return f"(^|&){before}{value}(&|$)"


def rewritten(regex: str, replace: str, text: str) -> str:
    """Return `text` with the first match of `regex` replaced: $1 to $9 in `replace` are the expression's groups."""
    found = re.search(regex, text)
    if found is None:
        return text

    def group(reference: re.Match[str]) -> str:
        number = int(reference[1])
        return (found[number] or "") if number <= len(found.groups()) else ""

    return text[: found.start()] + re.sub(r"\$([1-9])", group, replace) + text[found.end() :]
