"""How AWS's attributes work, whatever the type of load balancer: keys by resource, text in and out, refusals.

Rules of this file: values come in and go out as AWS writes them, which is text. The keys of a type, with ranges and
defaults, are the table of its own class (`gateway_attributes`); `balancer_types` finds a class by the name of its type.
Source: botocore's service model elbv2 2015-12-01 (ModifyLoadBalancerAttributes, ModifyListenerAttributes,
ModifyTargetGroupAttributes) and the guide page beside each row.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import ClassVar, NamedTuple, Self

from gwlbemu.errors import AwsError

LOAD_BALANCER, LISTENER, TARGET_GROUP = "load-balancer", "listener", "target-group"
OFF = "off"
Value = bool | int | str


class Attribute(NamedTuple):
    """One AWS attribute: its key, the field of the `Attributes` class that holds it, its default, the guide page.

    `low` and `high` bound a number (both included), `choices` are the words that AWS accepts, `pattern` is what other
    text has to match. The value of a number that is `off` (`may_be_off`) is 0.
    """

    key: str
    field: str
    default: Value
    source: str
    low: int = 0
    high: int = 0
    choices: tuple[str, ...] = ()
    may_be_off: bool = False
    pattern: str = ""

    @property
    def expected(self) -> str:
        """What a value may be, in words for an error message."""
        if isinstance(self.default, bool) and not self.choices:
            return "true or false"
        if isinstance(self.default, int) and not self.choices:
            return f"a whole number from {self.low} to {self.high}{' or off' if self.may_be_off else ''}"
        return " or ".join(self.choices) or f"text that matches {self.pattern}"

    def parse(self, text: str) -> Value:
        """Return the value that AWS's `text` stands for. Raises AwsError naming the key and what was expected."""
        if isinstance(self.default, bool) and text in (self.choices or ("true", "false")):
            return text == "true"
        if self.may_be_off and text == OFF:
            return 0
        number = isinstance(self.default, int) and not isinstance(self.default, bool)
        if number and re.fullmatch(r"[0-9]{1,18}", text) and self.low <= int(text) <= self.high:
            return int(text)
        if text in self.choices or (self.pattern and re.fullmatch(self.pattern, text)):
            return text
        raise AwsError(f"{self.key}: '{text[:100]}' is not valid, expected {self.expected}")

    def text(self, value: Value) -> str:
        """Return a value as AWS writes it: `true`, `350`, `off`, `source_ip_dest_ip`."""
        if self.may_be_off and value == 0:
            return OFF
        return str(value).lower() if isinstance(value, bool) else str(value)


Table = Mapping[str, Mapping[str, Attribute]]  # resource -> key -> row


def table_of(rows: Mapping[str, tuple[Attribute, ...]]) -> Table:
    """Return the table of a type from its rows by resource."""
    return {resource: {row.key: row for row in its_rows} for resource, its_rows in rows.items()}


# The keys that every type has with the same meaning and default.
DELETION_PROTECTION = Attribute(
    "deletion_protection.enabled", "deletion_protection", False, "guide, Deletion protection"
)
DEREGISTRATION_DELAY = Attribute(
    "deregistration_delay.timeout_seconds",
    "deregistration_delay_seconds",
    300,
    "guide, Edit target group attributes",
    0,
    3600,
)


@dataclass(frozen=True, slots=True)
class Attributes:
    """The parsed attributes of a load balancer, of one listener of it and of that listener's target group.

    A type derives its own class, with a table, one field per row (whose default is the row's), and what AWS refuses
    about several keys at once.
    """

    TABLE: ClassVar[Table] = {}
    ABSENT: ClassVar[Mapping[str, str]] = {}  # what AWS has and the emulation has not: a key's beginning, the reason

    @classmethod
    def rows(cls, resource: str) -> Mapping[str, Attribute]:
        """Return the rows of `load-balancer`, `listener` or `target-group` by key. Raises AwsError for another."""
        if resource not in cls.TABLE:
            raise AwsError(f"'{resource}' has no attributes, expected one of: {', '.join(cls.TABLE)}")
        return cls.TABLE[resource]

    @classmethod
    def absent(cls, key: str) -> str:
        """Return why a key of AWS's is not emulated, "" for one that is, or is none."""
        return next((reason for beginning, reason in cls.ABSENT.items() if key.startswith(beginning)), "")

    @classmethod
    def parse(cls, resource: str, texts: Mapping[str, str]) -> dict[str, Value]:
        """Return the value of each given key, by field name.

        Raises AwsError for an unknown key or a value that AWS would refuse.
        """
        rows = cls.rows(resource)
        for key in texts:
            if reason := cls.absent(key):
                raise AwsError(f"{resource} attribute key '{key}': {reason}")
            if key not in rows:
                raise AwsError(
                    f"{resource} attribute key '{key}' is not recognized, expected one of: {', '.join(rows)}"
                )
        return {rows[key].field: rows[key].parse(text) for key, text in texts.items()}

    @classmethod
    def from_text(
        cls,
        load_balancer: Mapping[str, str] | None = None,
        listener: Mapping[str, str] | None = None,
        target_group: Mapping[str, str] | None = None,
    ) -> Self:
        """Parse AWS's keys; a key that is not given has its default. Raises AwsError as AWS refuses."""
        values: dict[str, Value] = {}
        for resource, texts in ((LOAD_BALANCER, load_balancer), (LISTENER, listener), (TARGET_GROUP, target_group)):
            values |= cls.parse(resource, texts) if texts else {}
        return cls()._with(values)

    def changed(self, resource: str, texts: Mapping[str, str]) -> Self:
        """Return the attributes after a Modify...Attributes call for `resource`.

        Raises AwsError as AWS refuses; then nothing has changed.
        """
        values = self.parse(resource, texts)
        self._check_change(values)
        return self._with(values)

    def as_text(self, resource: str) -> dict[str, str]:
        """Return every key of a resource with its value as AWS writes it."""
        mine = {field.name: getattr(self, field.name) for field in fields(self)}
        return {row.key: row.text(mine[row.field]) for row in self.rows(resource).values()}

    def _with(self, values: Mapping[str, Value]) -> Self:
        changed = replace(self, **values)
        changed._check_together()
        return changed

    def _check_change(self, values: Mapping[str, Value]) -> None:
        """Refuse what AWS refuses of a change because of what holds before it."""

    def _check_together(self) -> None:
        """Refuse what AWS refuses about several keys at once."""
