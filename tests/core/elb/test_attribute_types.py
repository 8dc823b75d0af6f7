"""A new type of load balancer is a new table: a made-up one is parsed, changed and written like the gateway's."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import ClassVar

import pytest

from gwlbemu.core.elb.attributes import (
    DELETION_PROTECTION,
    DEREGISTRATION_DELAY,
    LOAD_BALANCER,
    TARGET_GROUP,
    Attribute,
    Attributes,
    Table,
    table_of,
)
from gwlbemu.core.elb.balancer_types import ATTRIBUTES, MOST_TARGETS
from gwlbemu.errors import SettingError


@dataclass(frozen=True, slots=True)
class PlainAttributes(Attributes):
    TABLE: ClassVar[Table] = table_of(
        {
            LOAD_BALANCER: (DELETION_PROTECTION,),
            TARGET_GROUP: (
                DEREGISTRATION_DELAY,
                Attribute("algorithm", "algorithm", "hash", "made up", choices=("hash", "least")),
            ),
        }
    )
    deletion_protection: bool = False
    deregistration_delay_seconds: int = 300
    algorithm: str = "hash"

    def _check_together(self) -> None:
        if self.algorithm == "least" and self.deregistration_delay_seconds == 0:
            raise SettingError("algorithm least needs deregistration_delay.timeout_seconds")


def test_a_type_of_its_own_is_parsed_changed_and_written_by_its_table() -> None:
    attributes = PlainAttributes.from_text(target_group={"algorithm": "least"})
    assert attributes == PlainAttributes(algorithm="least")
    changed = attributes.changed(TARGET_GROUP, {"deregistration_delay.timeout_seconds": "7"})
    assert changed.as_text(TARGET_GROUP) == {"deregistration_delay.timeout_seconds": "7", "algorithm": "least"}
    assert changed.as_text(LOAD_BALANCER) == {"deletion_protection.enabled": "false"}


@pytest.mark.parametrize(
    ("resource", "texts", "named"),
    [
        (TARGET_GROUP, {"stickiness.enabled": "true"}, "stickiness.enabled"),
        (TARGET_GROUP, {"algorithm": "random"}, "hash or least"),
        ("listener", {}, "load-balancer, target-group"),
        (TARGET_GROUP, {"algorithm": "least", "deregistration_delay.timeout_seconds": "0"}, "needs"),
    ],
)
def test_a_type_of_its_own_refuses_what_its_table_and_rules_refuse(
    resource: str, texts: dict[str, str], named: str
) -> None:
    with pytest.raises(SettingError, match=named):
        PlainAttributes().changed(resource, texts)


@pytest.mark.parametrize("attributes", ATTRIBUTES.values(), ids=list(ATTRIBUTES))
def test_each_types_fields_are_its_rows_and_have_their_defaults(attributes: type[Attributes]) -> None:
    rows = [row for by_key in attributes.TABLE.values() for row in by_key.values()]
    assert {row.field: row.default for row in rows} == {field.name: field.default for field in fields(attributes)}


def test_each_type_has_its_quota() -> None:
    assert MOST_TARGETS.keys() == ATTRIBUTES.keys()
