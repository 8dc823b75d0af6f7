"""The configuration and commands of an application load balancer's HAProxy (2.6 or newer), in HAProxy's language.

Paths are relative to the folder in which it runs. The description is how a running one tells which text it has read.
A new text has each server in its present state; a change of states and weights alone needs no new text. What a listener
or a target group does not use is not in the text: a request costs what it needs.

As HAProxy has it, not AWS: header names towards HTTP/1 are in their usual spelling, not in the client's; a request of
HTTP/1.0 reaches a target as HTTP/1.0; an absolute URI whose host is not the Host header's is refused; a client that
stops within its body is answered 504 where its target has answered nothing, not 408; a connection of HTTP/2 lasts until
it is idle, whatever client_keep_alive.seconds says.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING

from gwlbemu.core.application.engine import Engine, Pool, Server
from gwlbemu.core.elb.application_attributes import ApplicationAttributes
from gwlbemu.programs.application import keyed, pages
from gwlbemu.programs.application.jwks import Key
from gwlbemu.programs.application.text_listeners import Frontend, Options
from gwlbemu.programs.application.text_pools import Backend
from gwlbemu.programs.haproxy.description import UNKNOWN, described

if TYPE_CHECKING:
    from jinja2 import Template

CONNECT_SECONDS = 10  # ALB guide, Troubleshoot: HTTP 504
FORMER_WORKERS = 20  # that may stay with old connections
STREAMS = 128  # ALB guide, Listeners: requests at once over one connection of HTTP/2
# ALB guide, Quotas and HTTP header limits: 64 K of headers. A buffer holds them, and what is added to them.
BUFFER_BYTES, ADDED_BYTES = 98304, 24576
# Header names as AWS writes them; of others, as most do.
_SPELLINGS = """
Host User-Agent Accept Accept-Encoding Accept-Language Accept-Ranges Authorization Cache-Control Connection
Content-Disposition Content-Encoding Content-Length Content-Type Cookie Date ETag Expires If-Modified-Since If-
None-Match Keep-Alive Last-Modified Location Origin Pragma Range Referer Sec-WebSocket-Accept Sec-WebSocket-
Extensions Sec-WebSocket-Key Sec-WebSocket-Protocol Sec-WebSocket-Version Server Set-Cookie TE Trailer Transfer-
Encoding Upgrade Vary Via WWW-Authenticate X-Amzn-Trace-Id X-Forwarded-For X-Forwarded-Host X-Forwarded-Port
X-Forwarded-Proto
"""

_TEXT = """\
global
  description {{ description }}
  nbthread 1
  mworker-max-reloads {{ former }}
  ssl-server-verify none
  httpclient.ssl.verify none
  tune.bufsize {{ buffer }}
  tune.maxrewrite {{ added }}
  tune.h2.max-concurrent-streams {{ streams }}
{% for name in spellings %}
  h1-case-adjust {{ name.lower() }} {{ name }}
{% endfor %}
{% for name in counters %}
  set-var proc.{{ name }} int(0)
{% endfor %}
defaults
  mode http
  retries 0
  option abortonclose
  option idle-close-on-response
  option h1-case-adjust-bogus-client
  option h1-case-adjust-bogus-server
  timeout connect {{ connect }}ms
  timeout client {{ idle }}s
  timeout http-request {{ idle }}s
  timeout http-keep-alive {{ idle }}s
  timeout server {{ idle }}s
  timeout tunnel {{ idle }}s
{% for line in errors %}
  {{ line }}
{% endfor %}
{% for one in frontends %}
frontend {{ one.name }}
{% for line in one.lines() %}
  {{ line }}
{% endfor %}
{% endfor %}
{% for one in backends %}
backend {{ one.name }}
{% for line in one.lines() %}
  {{ line }}
{% endfor %}
{% endfor %}
"""


@cache
def _template() -> Template:
    from jinja2 import Environment, StrictUndefined

    environment = Environment(undefined=StrictUndefined, trim_blocks=True, autoescape=False)
    return environment.from_string(_TEXT)


def text(
    engine: Engine,
    *,
    access_log: str = "",
    keys: Mapping[str, Sequence[Key]] | None = None,
    connect_seconds: float = CONNECT_SECONDS,
    keep_alive_seconds: int = 0,
) -> str:
    """Return the configuration; its description says how the HAProxy that has read it can be told.

    `access_log` is the path of a datagram socket that gets a line of JSON per request (see `access_log`), "" for none.
    `keys` are those that were found at each JWKS endpoint; without any, no token is accepted.
    `keep_alive_seconds` is how long a client's connection may last, instead of what the load balancer's attribute says.
    """
    attributes = ApplicationAttributes.from_text(load_balancer=engine.attributes)
    connect = round(connect_seconds * 1000)
    mark = f"x-{keyed.token(engine.cookie_secret, 'mark')}"
    keep_alive = keep_alive_seconds or attributes.client_keep_alive_seconds
    options = Options(mark, connect, keep_alive, access_log, keys or {})
    written: str = _template().render(
        description=UNKNOWN,
        former=FORMER_WORKERS,
        buffer=BUFFER_BYTES,
        added=ADDED_BYTES,
        streams=STREAMS,
        spellings=_SPELLINGS.split(),
        counters=pages.COUNTERS,
        connect=connect,
        idle=attributes.idle_seconds,
        errors=pages.errors(mark, connect),
        frontends=[Frontend(engine, listener, options) for listener in engine.listeners],
        backends=[Backend(engine, pool, mark) for pool in engine.pools],
    )
    return described(written)


def changes(before: Engine, after: Engine) -> Iterator[str]:
    """Yield the commands that make a running HAProxy of `before` one of `after`, which has the same shape."""
    old = {(pool.name, server.name): server for pool, server in _servers(before)}
    for pool, server in _servers(after):
        former = old[pool.name, server.name]
        if former.weight != server.weight:
            yield f"set server {pool.name}/{server.name} weight {server.weight}"
        if former.takes_requests is not server.takes_requests:
            yield f"set server {pool.name}/{server.name} state {'ready' if server.takes_requests else 'maint'}"


def ends(engine: Engine, names: Iterable[str]) -> Iterator[str]:
    """Yield the commands that end every request to the servers with these names: a client gets 502."""
    wanted = set(names)
    return (
        f"shutdown sessions server {pool.name}/{server.name}"
        for pool, server in _servers(engine)
        if server.name in wanted
    )


def _servers(engine: Engine) -> Iterator[tuple[Pool, Server]]:
    return ((pool, server) for pool in engine.pools for server in pool.servers)
