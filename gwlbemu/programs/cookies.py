"""A client's cookies (RFC 6265), in a file of the form that curl and wget keep: what `web_client` sends and takes.

Domains are compared as RFC 6265 has it, without a list of public suffixes: a lab has none.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from email.utils import parsedate_to_datetime

HEADING = "# Netscape HTTP Cookie File\n"
_HTTP_ONLY = "#HttpOnly_"
_FIELDS = 7


@dataclass(frozen=True, slots=True)
class Cookie:
    """A cookie. `expires` is seconds since 1970, 0 for one that is gone with the session."""

    name: str
    value: str
    domain: str
    path: str = "/"
    expires: int = 0
    host_only: bool = True  # no other host below its domain gets it
    secure: bool = False
    http_only: bool = False
    same_site: str = ""  # Strict | Lax | None, as it was said; a file does not keep it

    def fits(self, host: str, path: str, *, secure: bool) -> bool:
        """Whether it goes with a request for `path` at `host` (RFC 6265, 5.4)."""
        below = not self.host_only and host.endswith(f".{self.domain}")
        inside = path == self.path or path.startswith(self.path if self.path.endswith("/") else f"{self.path}/")
        return (host == self.domain or below) and inside and (secure or not self.secure)


def parse(header: str, host: str, path: str, now: float) -> Cookie | None:
    """Return the cookie of a Set-Cookie header of a response for `path` at `host` (RFC 6265, 5.2 and 5.3).

    None for what is no cookie, or one of another host's domain. Max-Age comes before Expires.
    """
    pair, *attributes = header.split(";")
    name, found, value = pair.partition("=")
    if not found or not name.strip():
        return None
    said = {}
    for each in attributes:
        key, _, text = each.partition("=")
        said[key.strip().lower()] = text.strip()
    domain = said.get("domain", "").lower().lstrip(".")
    if domain and host != domain and not host.endswith(f".{domain}"):
        return None
    told = said.get("path", "")
    return Cookie(
        name=name.strip(),
        value=value.strip(),
        domain=domain or host,
        path=told if told.startswith("/") else _default_path(path),
        expires=_expires(said, now),
        host_only=not domain,
        secure="secure" in said,
        http_only="httponly" in said,
        same_site=said.get("samesite", ""),
    )


def _default_path(path: str) -> str:
    return path.rpartition("/")[0] or "/"


def _expires(said: dict[str, str], now: float) -> int:
    age = said.get("max-age", "")
    if age.lstrip("-").isdigit():
        return max(int(now) + int(age), 1)
    try:
        return max(int(parsedate_to_datetime(said["expires"]).timestamp()), 1)
    except (KeyError, ValueError, TypeError):
        return 0


class CookieJar:
    """The cookies of one client."""

    def __init__(self, cookies: Iterable[Cookie] = ()) -> None:
        self._cookies = {(each.domain, each.path, each.name): each for each in cookies}

    @classmethod
    def from_text(cls, text: str) -> CookieJar:
        """Read a cookie file. Raises ValueError, with the line's number, for another form."""
        found = []
        for number, line in enumerate(text.splitlines(), 1):
            http_only = line.startswith(_HTTP_ONLY)
            if not line.strip() or (line.startswith("#") and not http_only):
                continue
            fields = line.removeprefix(_HTTP_ONLY).split("\t")
            if len(fields) != _FIELDS or not fields[4].isdigit():
                raise ValueError(
                    f"line {number}: expected {_FIELDS} fields with tabs between them, as curl writes them"
                )
            domain, below, path, secure, expires, name, value = fields
            found.append(
                Cookie(
                    name, value, domain.lstrip("."), path, int(expires), below != "TRUE", secure == "TRUE", http_only
                )
            )
        return cls(found)

    def to_text(self) -> str:
        """Return the text that `from_text` reads; curl does, too (-b FILE, -c FILE)."""
        return HEADING + "".join(f"{_line(each)}\n" for each in self._cookies.values())

    def take(self, cookie: Cookie, now: float) -> None:
        """Keep a cookie in the place of an earlier one; one that has expired takes that away."""
        place = (cookie.domain, cookie.path, cookie.name)
        if 0 < cookie.expires <= now:
            self._cookies.pop(place, None)
        else:
            self._cookies[place] = cookie

    def fitting(self, host: str, path: str, *, secure: bool, now: float) -> list[Cookie]:
        """Return what goes with a request, longer paths first (RFC 6265, 5.4)."""
        live = [each for each in self._cookies.values() if not 0 < each.expires <= now]
        return sorted((each for each in live if each.fits(host, path, secure=secure)), key=lambda each: -len(each.path))


def _line(cookie: Cookie) -> str:
    domain = cookie.domain if cookie.host_only else f".{cookie.domain}"
    words = [
        domain, _word(not cookie.host_only), cookie.path, _word(cookie.secure), str(cookie.expires), cookie.name,
        cookie.value,
    ]  # fmt: skip
    return (_HTTP_ONLY if cookie.http_only else "") + "\t".join(words)


def _word(value: bool) -> str:
    return str(value).upper()
