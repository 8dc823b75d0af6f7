"""What AWS leaves open, in one place.

A switch each, a documented default, one line of explanation (never an AWS fact).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields

from gwlbemu.errors import SettingError

Scalar = str | int | float | bool | None


@dataclass(frozen=True, slots=True)
class Emulation:
    """The switches of the topology file's `emulation:` section; times are seconds, None means never."""

    source_port: str = "aws"
    ttl_decrement: int = 2
    midstream: str = "drop"
    fragments: str = "three_tuple"
    icmp_errors: str = "own"
    fin_linger_seconds: float = 3
    half_open_timeout_seconds: float | None = None
    propagation_delay_seconds: float = 0
    rebalanced_cookie: str = "new"
    initial_health_check_interval_seconds: float | None = 0.1
    mss_clamp: bool = False
    icmp_error_timeout_seconds: float = 10
    max_flows: int = 2_000_000
    reset_ends: str = "sender"

    @classmethod
    def from_values(cls, values: Mapping[str, Scalar]) -> Emulation:
        """Check the given switches.

        The others keep their default. Raises SettingError naming the key and what was expected.
        """
        for key, value in values.items():
            if key not in EXPLANATIONS:
                raise SettingError(f"emulation: unknown key '{key}', expected one of: {', '.join(EXPLANATIONS)}")
            _check(key, value)
        return cls(**values)  # type: ignore[arg-type]


CHOICES: Mapping[str, tuple[str | int, ...]] = {
    "source_port": ("aws", "rfc8926"),
    "ttl_decrement": (0, 1, 2),
    "midstream": ("drop", "rst", "new"),
    "fragments": ("three_tuple", "drop"),
    "icmp_errors": ("own", "parent"),
    "rebalanced_cookie": ("new", "keep"),
    "reset_ends": ("sender", "both"),
}
MOST_FLOWS = 10_000_000  # that max_flows may allow: some five GB
EXPLANATIONS: Mapping[str, str] = {
    "source_port": "outer UDP source port: aws = 60000 or 60001 as in captures, rfc8926 = 49152-65535 by hash",
    "ttl_decrement": "inner TTL taken per pass: 0, 1 (on the first sender's side only) or 2 (entering and leaving)",
    "midstream": "a TCP packet without SYN and without a flow: drop it, answer with rst, or treat it as a new flow",
    "fragments": "inner IP fragments: keep them together by addresses and protocol (three_tuple), or drop them",
    "icmp_errors": "ICMP errors: a flow of their own, or the flow of the packet they quote (parent)",
    "fin_linger_seconds": "how long a TCP flow stays after FIN in both directions and its last packet",
    "half_open_timeout_seconds": "forget a flow whose target returned nothing this long after its start; null = never",
    "propagation_delay_seconds": "how long a change of a target takes to reach the packets; AWS speaks of about 60",
    "rebalanced_cookie": "a moved flow gets a new cookie, or keeps its cookie",
    "initial_health_check_interval_seconds": "pause between probes of an initial target; null = the group's interval",
    "mss_clamp": "lower the MSS option of TCP SYNs to what fits 8500 bytes",
    "icmp_error_timeout_seconds": "idle timeout of a flow that consists of ICMP errors alone (icmp_errors: own)",
    "max_flows": "flows that a node knows at most; the first packet of one more is dropped and counted",
    "reset_ends": "who is told of a failed target's flow by TCP reset: the sender of its next packet alone, or both"
    " ends: the other is asked for a packet by a keep-alive probe, and answered alike",
}


def _check(key: str, value: Scalar) -> None:
    choices = CHOICES.get(key)
    if choices is not None:
        if value not in choices or isinstance(value, bool):
            raise SettingError(f"emulation.{key}: {value!r} is not valid, expected {' or '.join(map(str, choices))}")
    elif key == "mss_clamp":
        if not isinstance(value, bool):
            raise SettingError(f"emulation.{key}: {value!r} is not valid, expected true or false")
    elif key == "max_flows":
        if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= MOST_FLOWS:
            raise SettingError(
                f"emulation.{key}: {value!r} is not valid, expected a whole number from 1 to {MOST_FLOWS}"
            )
    else:
        optional = next(field.type for field in fields(Emulation) if field.name == key) == "float | None"
        if value is None and optional:
            return
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < float("inf"):
            raise SettingError(
                f"emulation.{key}: {value!r} is not valid, expected a number of seconds{' or null' if optional else ''}"
            )
