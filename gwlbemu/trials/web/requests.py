"""Requests from inside an instance, with the lab's resolver and its authority: what became of each."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import urlsplit

from gwlbemu.errors import LabError, SettingError
from gwlbemu.lab.client import execute
from gwlbemu.lab.commands import own_module
from gwlbemu.lab.running import RunningLab
from gwlbemu.net.inits import SEEN_AUTHORITY
from gwlbemu.topology.plan.ends import instance_named
from gwlbemu.topology.plan.values import Plan
from gwlbemu.trials.web.answers import HttpAnswer, HttpReport, ReceivedCookie

MOST = 10_000  # requests
WITHIN_SECONDS = 120.0  # no request begins later
_LAST_SECONDS = 100.0  # that the last of them may take


def http(
    lab: RunningLab, client: str, url: str, *, count: int = 1, keep_alive: bool = False, cookies: str | None = None
) -> tuple[HttpReport, str | None]:
    """Send `count` GET requests for `url` from inside the instance `client`, one after the other.

    Each has a connection of its own or, with `keep_alive`, all have one. `cookies` is the text of a cookie file: what
    fits goes with each request, what comes is kept; it is returned as it is afterwards. None sends no cookies.

    Raises UnknownNameError for an instance that is not there, SettingError for what is no URL of HTTP, a count out of
    range or another form of cookie file, LabError when the client program ends badly.
    """
    sender = instance_named(lab.plan, client)
    _check(url, count)
    words = [url, "--count", str(count), "--within", f"{WITHIN_SECONDS:g}"]
    words += ["--keep-alive"] if keep_alive else []
    words += ["--cookies"] if cookies is not None else []
    words += ["--authority", str(SEEN_AUTHORITY)] if lab.state.authority.exists() else []
    done = execute(
        lab, sender.name, own_module("gwlbemu.programs.web_client", *words),
        timeout=WITHIN_SECONDS + _LAST_SECONDS, stdin=cookies or "",
    )  # fmt: skip
    if done.code != 0:
        last = (done.stderr.strip().splitlines() or [f"exit code {done.code}"])[-1]
        raise LabError(f"the web client in {sender.name} failed: {last}")
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    if lines and "refused" in lines[0]:
        raise SettingError(f"the cookie file: {lines[0]['refused']}")
    kept = lines.pop()["cookies"] if cookies is not None else None
    answers = tuple(_answer(lab.plan, line) for line in lines)
    return HttpReport(sender.name, url, count, answers), kept


def _check(url: str, count: int) -> None:
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise SettingError(f"{url!r} is no URL: {error}") from None
    if parts.scheme not in ("http", "https") or not parts.hostname or port == 0:
        raise SettingError(f"{url!r}: expected http://HOST/PATH or https://HOST/PATH")
    if any(not "!" <= each <= "~" for each in url):
        raise SettingError(f"{url!r}: expected no blanks and no letters outside ASCII in a URL (write them as %20)")
    if not 1 <= count <= MOST:
        raise SettingError(f"count {count}: expected 1 to {MOST:,}")


def _answer(plan: Plan, told: dict[str, Any]) -> HttpAnswer:
    """What the client program told of one request, with its target's zone."""
    seen = told.pop("facts", {})
    headers = tuple((str(name), str(value)) for name, value in told.pop("headers", ()))
    cookies = tuple(ReceivedCookie(**each) for each in told.pop("cookies_set", ()))
    served_by = next((value for name, value in headers if name.lower() == "x-served-by"), "")
    target = str(seen.get("name", served_by))
    zone = next((each.zone for each in plan.instances if each.name == target and each.vpc), "")
    return HttpAnswer(**told, target=target, zone=zone, headers=headers, cookies_set=cookies, seen=seen)
