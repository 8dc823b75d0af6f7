"""YAML that breaks readers, as (name, text, words of the refusal): for whatever reads a user's YAML."""

from __future__ import annotations

NINES = [f"l{n}: &l{n} [{', '.join([f'*l{n - 1}'] * 9)}]" for n in range(1, 10)]
DIGITS = "9" * 5000

REFUSED = [
    ("no number", "a: !!int x", ":1: a: expected what the tag !!int says, got 'x'"),
    ("no float", "b: 1\na: !!float x", ":2: a: expected what the tag !!float says"),
    ("no bool", "a: !!bool x", ":1: a: expected what the tag !!bool says"),
    ("many digits", f"b: 1\na: {DIGITS}", ":2: a: a number of 5,000 characters"),
    ("many hexadecimal digits", f"a: 0x{DIGITS}", ":1: a: a number of 5,002 characters"),
    ("many sixties", f"a: 1{':59' * 2000}", ":1: a: a number of"),
    ("brackets", "a: 1\nb: " + "[" * 1000, "f.yaml:2: "),
    ("closed brackets", "a: " + "[" * 50 + "]" * 50, ":1: nested deeper than 20 levels"),
    ("braces", "{a: " * 1000, ":1: nested deeper than 20 levels"),
    ("indentation", "\n".join(" " * n + "a:" for n in range(900)), ":21: nested deeper than 20 levels"),
    ("alias bomb", "\n".join(["l0: &l0 [x, x, x, x, x, x, x, x, x]", *NINES]), "more than 100,000 values"),
    ("bomb of keys", "\n".join(["l0: &l0 {a: x, b: x, c: x, d: x, e: x, f: x, g: x, h: x}", *NINES]), "more than"),
    ("many aliases", "a: &a " + "[x]\n" + "b: [" + "*a, " * 120_000 + "]", "more than 100,000 values"),
    ("alias of itself", "a: &a [*a]", "nested deeper than 20 levels"),
    ("keys of itself", "a: &a {b: *a}", "nested deeper than 20 levels"),
    ("unknown alias", "a: 1\nb: *a", ":2: this is not YAML"),
    ("merge key", "a: &a {b: 1}\nc: {<<: *a}", ":2: c.<<: expected a key that is plain text"),
    ("merge of a merge", "a: &a {<<: *a}", ":1: a.<<: expected a key that is plain text"),
    ("key twice", "a: 1\na: 2", ":2: a: this key stands twice, first on line 1"),
    ("list as key", "? [a]\n: 1", ":1: ?: expected a key that is plain text"),
    ("NUL", "a: 1\nb: \0", ":2: this is not YAML: the character U+0000 is not allowed"),
    ("escape", "a: 1\nb: \x1b[2J", ":2: this is not YAML: the character U+001B is not allowed"),
    ("tab", "a:\n\tb: 1", ":2: this is not YAML"),
    ("two documents", "a: 1\n---\nb: 2", "this is not YAML"),
    ("directive", "%YAML 9.9\n---\na: 1", "this is not YAML"),
    ("long text", "a: 1\nb: " + "x" * 70_000, ":2: a text of more than 65,536 characters"),
    ("long key", "x" * 70_000 + ": 1", "f.yaml:1: "),
    ("too large", "# comment\n" * 300_000, "larger than 2 MiB"),
    ("many values", "- a\n" * 300_000, "more than 100,000 values"),
]  # fmt: skip

# Read as text, whatever YAML's own types make of them.
TEXT = [
    ("no date", "2001-99-99"),
    ("a date", "2001-01-01"),
    ("a tag", "!!python/object:os.system x"),
    ("bytes", "!!binary x"),
]
