"""Suricata's rule language, the subset this IDS understands. Anything else is refused with line and keyword.

    alert tcp any any -> 10.0.0.0/16 80 (msg:"passwd asked for"; flow:established,to_server; content:"GET "; \\
        content:"/etc/passwd"; nocase; classtype:web-application-attack; sid:1000001; rev:1;)

* action: `alert`, `drop`
* header: protocols tcp, udp, icmp, ip; addresses and ports as `any`, one, CIDR or `low:high`, `[lists]`, `!`; `->`
  and `<>`
* `msg`, `sid` (needed, unique), `rev`, `classtype`, `priority`
* `content`, several of them, in any order of appearance in the payload; `|0d 0a|` is hex; `nocase` belongs to the
  content before it; `;` `"` `\\` `:` inside quotes are written with a backslash. Negated content is not in the subset.
* `flow`: `established`, `to_server`, `to_client`, and combinations
* `reference`, `metadata`: accepted and not used
* a backslash at the end of a line continues the rule; `#` starts a comment line

Source: Suricata user guide, chapters Rules Format, Meta Keywords, Payload Keywords, Flow Keywords.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from appliances.ids.classes import CLASSES, DEFAULT_PRIORITY
from appliances.ids.header import Header, parse_header
from gwlbemu.errors import GwlbemuError
from gwlbemu.yaml_file import YamlError, read_text

ACTIONS = ("alert", "drop")
FLOW_WORDS = ("established", "to_server", "to_client")
ESCAPED = ';"\\:'


class RuleError(GwlbemuError):
    """A rule that is outside the subset or wrong: the text names file, line and keyword."""


@dataclass(frozen=True, slots=True)
class Content:
    """Bytes to find in a payload; with `nocase`, `data` is lower case already."""

    data: bytes
    nocase: bool = False


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule; `direction` is "", "to_server" or "to_client"."""

    action: str
    header: Header
    sid: int = 0
    rev: int = 0
    message: str = ""
    contents: tuple[Content, ...] = ()
    established: bool = False
    direction: str = ""
    category: str = ""
    priority: int = DEFAULT_PRIORITY


def load(path: Path) -> tuple[Rule, ...]:
    """Read a rule file; raise RuleError at the first rule that is not in the subset."""
    try:
        return parse(read_text(path), str(path))
    except OSError as error:
        raise RuleError(f"{path}: cannot read the rules: {error.strerror}") from None
    except YamlError as error:
        raise RuleError(str(error)) from None


def parse(text: str, name: str) -> tuple[Rule, ...]:
    """Turn the text of a rule file into rules, in file order; `name` is what errors call the file."""
    rules: dict[int, Rule] = {}
    for number, line in _logical_lines(text):
        try:
            rule = parse_rule(line)
        except ValueError as error:
            raise RuleError(f"{name}: line {number}: {error}") from None
        if rule.sid in rules:
            raise RuleError(f"{name}: line {number}: sid: {rule.sid} is used by an earlier rule")
        rules[rule.sid] = rule
    return tuple(rules.values())


def parse_rule(line: str) -> Rule:
    """Read one rule; raise ValueError that starts with the keyword it is about."""
    head, opened, rest = line.strip().partition("(")
    if not opened or not rest.endswith(")"):
        raise ValueError("options: expected '(keyword:value; ...)' at the end of the rule")
    action, _, header = head.strip().partition(" ")
    if action not in ACTIONS:
        raise ValueError(f"action {action}: not in the subset, expected one of {', '.join(ACTIONS)}")
    rule = Rule(action, parse_header(header))
    seen: set[str] = set()
    priority_given = False
    for keyword, value in _options(rest[:-1]):
        if keyword in seen and keyword not in ("content", "nocase", "reference", "metadata"):
            raise ValueError(f"{keyword}: given twice")
        seen.add(keyword)
        if keyword == "classtype" and priority_given:
            rule = replace(_apply(rule, keyword, value), priority=rule.priority)
        else:
            rule = _apply(rule, keyword, value)
        priority_given = priority_given or keyword == "priority"
    if not rule.sid:
        raise ValueError("sid: missing, expected a number above 0")
    return rule


def _apply(rule: Rule, keyword: str, value: str | None) -> Rule:
    if keyword == "nocase":
        return _with_nocase(rule, value)
    if keyword not in ("msg", "content", "sid", "rev", "priority", "classtype", "flow", "reference", "metadata"):
        raise ValueError(f"{keyword}: this keyword is not in the subset")
    if value is None or not value:
        raise ValueError(f"{keyword}: expected a value")
    match keyword:
        case "msg":
            return replace(rule, message=_text(_unquoted(keyword, value)))
        case "content":
            return replace(rule, contents=(*rule.contents, Content(_bytes(_unquoted(keyword, value)))))
        case "sid":
            return replace(rule, sid=_number(keyword, value, 1))
        case "rev":
            return replace(rule, rev=_number(keyword, value, 0))
        case "priority":
            return replace(rule, priority=_number(keyword, value, 1))
        case "classtype":
            if value not in CLASSES:
                raise ValueError(f"classtype: {value} is not in Suricata's classification.config")
            category, priority = CLASSES[value]
            return replace(rule, category=category, priority=priority)
        case "flow":
            return _with_flow(rule, value)
    return rule  # reference, metadata


def _with_nocase(rule: Rule, value: str | None) -> Rule:
    if value is not None:
        raise ValueError("nocase: takes no value")
    if not rule.contents:
        raise ValueError("nocase: expected after a content")
    last = rule.contents[-1]
    if last.nocase:
        raise ValueError("nocase: given twice for one content")
    return replace(rule, contents=(*rule.contents[:-1], Content(last.data.lower(), nocase=True)))


def _with_flow(rule: Rule, value: str) -> Rule:
    words = [word.strip() for word in value.split(",")]
    for word in words:
        if word not in FLOW_WORDS:
            raise ValueError(f"flow: {word}: not in the subset, expected {', '.join(FLOW_WORDS)}")
    directions = [word for word in words if word != "established"]
    if len(directions) > 1 or len(set(words)) != len(words):
        raise ValueError(f"flow: expected established and at most one direction, got {value!r}")
    return replace(rule, established="established" in words, direction=directions[0] if directions else "")


def _options(text: str) -> Iterator[tuple[str, str | None]]:
    """Split at `;` that has no backslash before it: Suricata does so inside quotes too."""
    start = index = 0
    while index < len(text):
        if text[index] == "\\":
            index += 2
            continue
        if text[index] == ";":
            keyword, colon, value = text[start:index].partition(":")
            if not keyword.strip():
                raise ValueError("options: expected a keyword before ';'")
            yield keyword.strip(), value.strip() if colon else None
            start = index + 1
        index += 1
    if text[start:].strip():
        raise ValueError(f"{text[start:].partition(':')[0].strip()}: expected ';' after the last option")


def _unquoted(keyword: str, value: str) -> str:
    if value.startswith("!"):
        raise ValueError(f"{keyword}: negation is not in the subset")
    if len(value) < 3 or value[0] != '"' or value[-1] != '"':
        raise ValueError(f'{keyword}: expected text in double quotes (with ; " \\ : escaped), got {value}')
    return value[1:-1]


def _characters(text: str) -> Iterator[tuple[str, bool]]:
    """Yield each character with whether it was escaped."""
    letters = iter(text)
    for letter in letters:
        if letter == '"':
            raise ValueError('quote: a " inside quotes needs a backslash')
        if letter != "\\":
            yield letter, False
            continue
        following = next(letters, "")
        if following not in ESCAPED or not following:
            raise ValueError(f"escape: a backslash is followed by one of {ESCAPED}, got {following!r}")
        yield following, True


def _text(text: str) -> str:
    return "".join(letter for letter, _ in _characters(text))


def _bytes(text: str) -> bytes:
    data, hexadecimal, inside = bytearray(), "", False
    for letter, escaped in _characters(text):
        if letter == "|" and not escaped:
            if inside:
                data += _hex(hexadecimal)
            inside, hexadecimal = not inside, ""
        elif inside:
            hexadecimal += letter
        else:
            data += letter.encode()
    if inside:
        raise ValueError("content: expected a closing | after hex bytes")
    return bytes(data)


def _hex(text: str) -> bytes:
    try:
        data = bytes.fromhex(text)
    except ValueError:
        data = b""
    if not data:
        raise ValueError(f"content: expected hex bytes between |...|, got {text!r}")
    return data


def _number(keyword: str, value: str, least: int) -> int:
    if not value.isascii() or not value.isdigit() or int(value) < least:
        raise ValueError(f"{keyword}: expected a number from {least} up, got {value!r}")
    return int(value)


def _logical_lines(text: str) -> Iterator[tuple[int, str]]:
    """Join continued lines; number each rule by its first line."""
    pending, first = "", 0
    for number, line in enumerate(text.splitlines(), 1):
        line = line.strip()
        if not pending:
            if not line or line.startswith("#"):
                continue
            first = number
        if line.endswith("\\"):
            pending += line[:-1] + " "
            continue
        yield first, pending + line
        pending = ""
    if pending:
        yield first, pending
