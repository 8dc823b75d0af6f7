"""What became of requests: who answered, which cookies came and went, what the target saw. Plain values."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

BALANCER = "the load balancer"


@dataclass(frozen=True, slots=True)
class ReceivedCookie:
    """A cookie that came with an answer. `expires` is seconds since 1970, 0 for one that is gone with the session."""

    name: str
    value: str
    domain: str
    path: str
    expires: int
    host_only: bool
    secure: bool
    http_only: bool
    same_site: str


@dataclass(frozen=True, slots=True)
class HttpAnswer:
    """One request and its answer. Without an answer `status` is 0 and `error` says why in words.

    `target` is who answered, by its own word (the bundled web server's name, or X-Served-By), `zone` where that is an
    instance's name; "" where the load balancer itself answered, or a server that does not say who it is. `address` is
    where the connection went.
    """

    number: int
    status: int = 0
    reason: str = ""
    error: str = ""
    target: str = ""
    zone: str = ""
    seconds: float = 0.0
    connection: int = 0  # which one, counted from 1
    address: str = ""
    port: int = 0
    source_port: int = 0
    headers: tuple[tuple[str, str], ...] = ()
    cookies_sent: Mapping[str, str] = field(default_factory=dict)
    cookies_set: tuple[ReceivedCookie, ...] = ()
    bytes: int = 0  # of the body
    seen: Mapping[str, Any] = field(default_factory=dict)  # what a web server of ours says it was sent; {} of others

    @property
    def is_balancers(self) -> bool:
        """Whether an application load balancer made the answer itself, and no target that says who it is."""
        return not self.target and self.header("Server").startswith("awselb/")

    @property
    def forwarded(self) -> dict[str, str]:
        """X-Forwarded-* and X-Amzn-* as the target saw them, by their names."""
        headers = self.seen.get("headers", {})
        return {name: value for name, value in headers.items() if name.lower().startswith(("x-forwarded-", "x-amzn-"))}

    def header(self, name: str) -> str:
        """Return a header of the answer; "" where there is none."""
        return next((value for key, value in self.headers if key.lower() == name.lower()), "")


@dataclass(frozen=True, slots=True)
class HttpReport:
    """What became of `wanted` requests from the instance `client` for `url`; fewer answers where time was over."""

    client: str
    url: str
    wanted: int
    answers: tuple[HttpAnswer, ...]

    @property
    def ok(self) -> bool:
        """Whether every request got an answer, whatever its status."""
        return len(self.answers) == self.wanted and not any(answer.error for answer in self.answers)

    @property
    def targets(self) -> dict[str, int]:
        """How many answers came from each target, most first, and from the load balancer itself; "" counts those of
        nobody who says so.
        """
        names = (BALANCER if each.is_balancers else each.target for each in self.answers if not each.error)
        return dict(Counter(names).most_common())

    @property
    def zones(self) -> dict[str, int]:
        """How many answers came from each zone; "" counts those from no zone that is known."""
        return dict(sorted(Counter(each.zone for each in self.answers if not each.error).items()))

    def zone_of(self, target: str) -> str:
        """Return the zone of a target that answered."""
        return next((each.zone for each in self.answers if each.target == target), "")

    def as_dict(self) -> dict[str, Any]:
        """Return it as `gwlbemu http --json` prints it."""
        return asdict(self) | {"ok": self.ok, "targets": self.targets, "zones": self.zones}
