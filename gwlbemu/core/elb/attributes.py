"""The attributes of a Gateway Load Balancer, its listener and its target group: one row per AWS key.

Rules of this file: the table is the only place that knows keys, ranges and defaults; values come in and go out as AWS
writes them, which is text; what two keys forbid each other stands in `_check_together`. Sources: botocore's service
model elbv2 2015-12-01 (the attribute lists of ModifyLoadBalancerAttributes, ModifyListenerAttributes,
ModifyTargetGroupAttributes) and the guide page beside each row.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import NamedTuple

from gwlbemu.errors import AwsError

LOAD_BALANCER, LISTENER, TARGET_GROUP = "load-balancer", "listener", "target-group"
FIVE_TUPLE, THREE_TUPLE, TWO_TUPLE = "five_tuple", "source_ip_dest_ip_proto", "source_ip_dest_ip"
DEFAULT_TCP_IDLE_SECONDS = 350
Value = bool | int | str


class Attribute(NamedTuple):
    """One AWS attribute. `low` and `high` bound a number, `choices` are the words AWS accepts, `field` is ours in
    `Attributes`.
    """

    key: str
    field: str
    default: Value
    source: str
    low: int = 0
    high: int = 0
    choices: tuple[str, ...] = ()

    @property
    def expected(self) -> str:
        """What a value may be, for people."""
        if isinstance(self.default, bool):
            return "true or false"
        if isinstance(self.default, int):
            return f"a whole number from {self.low} to {self.high}"
        return " or ".join(self.choices)

    def parse(self, text: str) -> Value:
        """Return the value that AWS's `text` stands for. Raises SettingError naming the key and what was expected."""
        if isinstance(self.default, bool) and text in ("true", "false"):
            return text == "true"
        number = isinstance(self.default, int) and not isinstance(self.default, bool)
        if number and text.isascii() and text.isdigit() and self.low <= int(text) <= self.high:
            return int(text)
        if self.choices and text in self.choices:
            return text
        raise AwsError(f"{self.key}: '{text}' is not valid, expected {self.expected}")

    def text(self, value: Value) -> str:
        """Write a value as AWS does."""
        return str(value).lower() if isinstance(value, bool) else str(value)


_FAILOVER = ("no_rebalance", "rebalance")
_STICKY = (TWO_TUPLE, THREE_TUPLE)
_EDIT = "guide, Edit target group attributes"
_TABLE: dict[str, tuple[Attribute, ...]] = {
    LOAD_BALANCER: (
        Attribute("deletion_protection.enabled", "deletion_protection", False, "guide, Deletion protection"),
        Attribute("load_balancing.cross_zone.enabled", "cross_zone", False, "guide, Cross-zone load balancing"),
    ),
    LISTENER: (
        Attribute(
            "tcp.idle_timeout.seconds",
            "tcp_idle_seconds",
            DEFAULT_TCP_IDLE_SECONDS,
            "guide, Update idle timeout",
            60,
            6000,
        ),
        Attribute("send_tcp_reset.on_idle_timeout.enabled", "reset_on_idle_timeout", False, "guide, Listeners"),
    ),
    TARGET_GROUP: (
        Attribute("deregistration_delay.timeout_seconds", "deregistration_delay_seconds", 300, _EDIT, 0, 3600),
        Attribute("stickiness.enabled", "sticky", False, _EDIT),
        Attribute("stickiness.type", "stickiness_type", TWO_TUPLE, _EDIT, choices=_STICKY),
        Attribute("target_failover.on_deregistration", "on_deregistration", "no_rebalance", _EDIT, choices=_FAILOVER),
        Attribute("target_failover.on_unhealthy", "on_unhealthy", "no_rebalance", _EDIT, choices=_FAILOVER),
        Attribute("send_tcp_reset.on_deregistration.enabled", "reset_on_deregistration", False, _EDIT),
        Attribute("send_tcp_reset.on_unhealthy.enabled", "reset_on_unhealthy", False, _EDIT),
    ),
}
TABLE: Mapping[str, Mapping[str, Attribute]] = {name: {row.key: row for row in rows} for name, rows in _TABLE.items()}


@dataclass(frozen=True, slots=True)
class Attributes:
    """Every attribute of one load balancer, parsed; the defaults are AWS's."""

    deletion_protection: bool = False
    cross_zone: bool = False
    tcp_idle_seconds: int = DEFAULT_TCP_IDLE_SECONDS
    reset_on_idle_timeout: bool = False
    deregistration_delay_seconds: int = 300
    sticky: bool = False
    stickiness_type: str = TWO_TUPLE
    on_deregistration: str = "no_rebalance"
    on_unhealthy: str = "no_rebalance"
    reset_on_deregistration: bool = False
    reset_on_unhealthy: bool = False

    @property
    def stickiness(self) -> str:
        """FIVE_TUPLE, THREE_TUPLE or TWO_TUPLE."""
        return self.stickiness_type if self.sticky else FIVE_TUPLE

    @property
    def rebalance(self) -> bool:
        """Whether the flows of a failed target move; the two keys are always equal."""
        return self.on_unhealthy == "rebalance"

    @property
    def effective_tcp_idle_seconds(self) -> int:
        """The listener's timeout counts only with 5-tuple stickiness (guide, Update idle timeout)."""
        return DEFAULT_TCP_IDLE_SECONDS if self.sticky else self.tcp_idle_seconds

    @classmethod
    def from_text(
        cls,
        load_balancer: Mapping[str, str] | None = None,
        listener: Mapping[str, str] | None = None,
        target_group: Mapping[str, str] | None = None,
    ) -> Attributes:
        """Parse AWS's keys; a key that is not given has its default. Raises SettingError as AWS refuses."""
        values = parse(LOAD_BALANCER, load_balancer or {}) | parse(LISTENER, listener or {})
        values |= parse(TARGET_GROUP, target_group or {})
        return _check_together(cls(**values))  # type: ignore[arg-type]

    def changed(self, resource: str, texts: Mapping[str, str]) -> Attributes:
        """Return the attributes after a Modify...Attributes call.

        Raises SettingError as AWS refuses; then nothing has changed.
        """
        values = parse(resource, texts)
        if self.sticky and values.get("tcp_idle_seconds", self.tcp_idle_seconds) != self.tcp_idle_seconds:
            raise AwsError(
                "tcp.idle_timeout.seconds can be changed only while stickiness.enabled is false",
                "InvalidConfigurationRequest",
            )
        return _check_together(replace(self, **values))  # type: ignore[arg-type]

    def as_text(self, resource: str) -> dict[str, str]:
        """Return every key of a resource with its value as AWS writes it."""
        mine = {field.name: getattr(self, field.name) for field in fields(self)}
        return {row.key: row.text(mine[row.field]) for row in _rows(resource).values()}


def parse(resource: str, texts: Mapping[str, str]) -> dict[str, Value]:
    """Parse each given key of `resource`.

    The answer is by field. Raises SettingError for an unknown key or a bad value.
    """
    rows = _rows(resource)
    for key in texts:
        if key not in rows:
            raise AwsError(f"{resource} attribute key '{key}' is not recognized, expected one of: {', '.join(rows)}")
    return {rows[key].field: rows[key].parse(text) for key, text in texts.items()}


def _rows(resource: str) -> Mapping[str, Attribute]:
    if resource not in TABLE:
        raise AwsError(f"'{resource}' has no attributes, expected one of: {', '.join(TABLE)}")
    return TABLE[resource]


def _check_together(new: Attributes) -> Attributes:
    """Refuse what AWS refuses about several keys at once (guide, Edit target group attributes)."""
    if new.on_deregistration != new.on_unhealthy:
        raise AwsError(
            f"target_failover.on_deregistration ({new.on_deregistration}) and "
            f"target_failover.on_unhealthy ({new.on_unhealthy}) must be set to the same value for the target group"
        )
    resets = [
        ("send_tcp_reset.on_deregistration.enabled", new.reset_on_deregistration),
        ("send_tcp_reset.on_unhealthy.enabled", new.reset_on_unhealthy),
    ]
    for key, enabled in resets:
        if enabled and new.sticky:
            raise AwsError(f"{key} needs stickiness.enabled to be false", "InvalidConfigurationRequest")
        if enabled and new.rebalance:
            raise AwsError(
                f"{key} needs target_failover.on_deregistration and target_failover.on_unhealthy to be no_rebalance",
                "InvalidConfigurationRequest",
            )
    return new
