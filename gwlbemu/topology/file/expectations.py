"""What a topology file expects of its network (`expect:`): who reaches whom, inspected by whom, also after a failure.

`gwlbemu test` judges it, and so does the pytest plugin.
"""

from __future__ import annotations

from itertools import combinations
from typing import Annotated, Literal

from pydantic import BeforeValidator, ConfigDict, Field, model_validator
from pydantic.config import JsonDict

from gwlbemu.topology.file.changes import read_change
from gwlbemu.topology.file.fields import Model

ANY, INTERNET, NONE = "any", "internet", "none"


def _listed(value: object) -> object:
    return value if isinstance(value, tuple) else (value,)


def _balancers(value: object) -> object:
    return () if value == NONE else _listed(value)


def _change(text: object) -> object:
    if isinstance(text, str):
        read_change(text)
    return text


_Port = Annotated[int, Field(ge=1, le=65535)]
_Change = Annotated[str, BeforeValidator(_change, json_schema_input_type=str)]
Names = Annotated[
    tuple[str, ...], BeforeValidator(_listed, json_schema_input_type=str | list[str]), Field(min_length=1)
]


_ENDS = ("delivered", "dropped", "answer_dropped")
_ONE_END: JsonDict = {"allOf": [{"not": {"required": [*pair]}} for pair in combinations(_ENDS, 2)]}


class Drop(Model):
    """Where a packet is lost, and why; what is left out may be anything.

    `by` is an instance, subnet, gateway, endpoint, node or load balancer (with its targets), `reason` the word that
    `explain` has in brackets.
    """

    by: str | None = None
    reason: str | None = None


class Expectation(Model):
    """What is expected of the packets of some pairs; without `delivered`, `dropped` and `answer_dropped`: delivered.

    `from` and `to`: instances, a VPC or a subnet for all in it, `internet`, `any`; `to` also an address, or a network
    load balancer. An appliance is only meant when it is named. `delivered: true` means that the answer arrives, too;
    `false`, that the packet does not. `inspected_by` holds for either direction, in any order.
    """

    model_config = ConfigDict(json_schema_extra=_ONE_END)

    senders: Names = Field(alias="from")
    receivers: Names = Field(alias="to")
    protocol: Literal["tcp", "udp", "icmp"] = "tcp"
    port: (
        Annotated[
            tuple[_Port, ...], BeforeValidator(_listed, json_schema_input_type=int | list[int]), Field(min_length=1)
        ]
        | None
    ) = Field(default=None, description="the destination port, or several; of tcp and udp")
    delivered: bool | None = None
    dropped: Drop | None = Field(default=None, description="the packet is lost")
    answer_dropped: Drop | None = Field(default=None, description="the packet arrives, and its answer is lost")
    inspected_by: (
        Annotated[tuple[str, ...], BeforeValidator(_balancers, json_schema_input_type=str | list[str])] | None
    ) = Field(default=None, description="the load balancers whose targets it passes, or none")
    same_appliance: bool | None = Field(default=None, description="the answer meets the targets that the packet met")
    after: Annotated[tuple[_Change, ...], BeforeValidator(_listed, json_schema_input_type=str | list[str])] = Field(
        default=(), description="what happens first, such as fail zone a"
    )

    @model_validator(mode="after")
    def _one_end(self) -> Expectation:
        given = [key for key in _ENDS if getattr(self, key) is not None]
        if len(given) > 1:
            raise ValueError(
                f"expected one of the keys delivered, dropped and answer_dropped, got {' and '.join(given)}"
            )
        if self.protocol == "icmp" and self.port is not None:
            raise ValueError("icmp has no ports: expected no key port")
        if self.protocol != "icmp" and self.port is None:
            raise ValueError(f"to which port? {self.protocol} needs the key port")
        if self.same_appliance is not None and not self.is_delivered:
            raise ValueError("same_appliance is about an answer that arrives: expected delivered: true beside it")
        return self

    @property
    def is_delivered(self) -> bool:
        """Whether packet and answer are expected to arrive."""
        return self.delivered is True or (
            self.delivered is None and self.dropped is None and self.answer_dropped is None
        )
