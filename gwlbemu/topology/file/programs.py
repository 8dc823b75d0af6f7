"""The programs that an instance may run, and their settings."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, model_validator

from gwlbemu.topology.file.fields import Model, Name, PortList, Protocols, Texts

SHORT = ("web", "passthrough", "broken", "firewall", "ids")


class FirewallRule(Model):
    """The first rule that matches decides; a key that is absent matches everything."""

    name: str | None = None
    action: Literal["allow", "deny", "reject"]
    protocol: Protocols | None = None
    source: Texts | None = None
    destination: Texts | None = None
    source_ports: PortList | None = None
    ports: PortList | None = None
    endpoint: Name | None = Field(default=None, description="the name or the id of an endpoint")


class FirewallTimeouts(Model):
    """Seconds without a packet after which the firewall forgets a flow."""

    tcp: float = Field(default=350, gt=0)
    udp: float = Field(default=120, gt=0)
    other: float = Field(default=120, gt=0)


class Firewall(Model):
    """A stateful firewall: the first rule that matches decides, else `default`."""

    default: Literal["allow", "deny", "reject"] = "deny"
    rules: tuple[FirewallRule, ...] = ()
    midstream: Literal["allow", "deny"] = Field(
        default="deny", description="TCP connections whose start it has not seen, such as those of a rebalance"
    )
    timeouts: FirewallTimeouts = FirewallTimeouts()


class Ids(Model):
    """`rules` is text in Suricata's rule language; with `ips` a matching drop rule drops."""

    rules: str = ""
    ips: bool = False


class Web(Model):
    """A web server on a TCP port that answers with its own name and what it was asked."""

    port: int = Field(default=80, ge=1, le=65535)


class Broken(Model):
    """`mode` is one of those that `python -m appliances.broken --help` names; `delay` is in seconds, for mode slow."""

    mode: str = "healthy"
    delay: float = Field(default=1.0, ge=0)


class Plain(Model):
    """A program without settings."""


class ProgramChoice(Model):
    """The program of an instance: exactly one of the keys. `command` is a command line of your own."""

    web: Web | None = None
    firewall: Firewall | None = None
    ids: Ids | None = None
    passthrough: Plain | None = None
    broken: Broken | None = None
    command: tuple[str, ...] | None = Field(default=None, min_length=1)

    @model_validator(mode="after")
    def _one_program(self) -> ProgramChoice:
        if len(self.model_fields_set) != 1:
            raise ValueError(f"expected exactly one of {', '.join(type(self).model_fields)}")
        return self

    @property
    def kind(self) -> str:
        """The key that was chosen: web, firewall, ids, passthrough, broken or command."""
        (key,) = self.model_fields_set
        return key


def _short(value: object) -> object:
    if not isinstance(value, str):
        return value
    if value not in SHORT:
        raise ValueError(f"expected one of {', '.join(SHORT)}, or command: [...]; got {value}")
    return {value: {}}


_Short = Literal["web", "passthrough", "broken", "firewall", "ids"]
Program = Annotated[ProgramChoice, BeforeValidator(_short, json_schema_input_type=_Short | ProgramChoice)]
