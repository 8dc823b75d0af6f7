"""What the keeper of an application load balancer's node is told: one JSON file, made from the plan.

Its part `balancer` is also what the verb `configure` takes, whole: the keeper finds the difference.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import ConfigDict, TypeAdapter
from pydantic_core import to_json

from gwlbemu.core.application.settings import Balancer, Settings

ENGINE_SOCKET, ENGINE_CONFIGURATION = "engine", "engine.cfg"  # in the node's own folder
_FORM = ConfigDict(ser_json_bytes="base64", val_json_bytes="base64")


@dataclass(frozen=True, slots=True)
class NodeConfig:
    """Everything that a keeper knows at its start."""

    name: str
    settings: Settings
    balancer: Balancer
    control: str  # path of the control socket
    resolver: str = ""  # address of the resolver of the node's subnet
    authority: str = ""  # path of the certificate of the lab's own authority
    zone_news: str = ""  # path of the resolver's socket for news of zones (see `programs.zone_news`), or nothing
    logs: str = ""  # the folder of what the lab's processes print, if the keeper shall keep that small

    def to_json(self) -> str:
        """Return the text that `from_json` reads."""
        return _configs().dump_json((self,), indent=1).decode()

    @classmethod
    def from_json(cls, text: str) -> NodeConfig:
        """Read what `to_json` wrote."""
        (config,) = _configs().validate_json(text)
        return config


def balancer_to_json(balancer: Balancer) -> dict[str, Any]:
    """Return a load balancer as plain values."""
    (told,) = _balancers().dump_python((balancer,), mode="json")
    return dict(told)


def balancer_from_json(told: Mapping[str, Any]) -> Balancer:
    """Return the load balancer that `balancer_to_json` told. Raises ValueError for another form."""
    (balancer,) = _balancers().validate_json(to_json([told]))
    return balancer


# Tuples of one: a configuration of pydantic's is handed down to dataclasses by what stands around them alone.
def _configs() -> TypeAdapter[tuple[NodeConfig]]:
    return TypeAdapter(tuple[NodeConfig], config=_FORM)


def _balancers() -> TypeAdapter[tuple[Balancer]]:
    return TypeAdapter(tuple[Balancer], config=_FORM)
