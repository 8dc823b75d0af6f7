"""The proxy's configuration and commands, in HAProxy's language (2.6 or newer).

Paths are relative to the folder in which it runs. The description is how a running one tells which text it has read.
A new text has each server in its present state; a change of states alone needs no new text.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import cache
from typing import TYPE_CHECKING

from gwlbemu.core.elb.tls import Tls
from gwlbemu.core.network.proxy import SHARES, Frontend, Proxy
from gwlbemu.programs.haproxy.description import UNKNOWN, described
from gwlbemu.programs.haproxy.tls import bind

if TYPE_CHECKING:
    from jinja2 import Template

CONNECT_SECONDS = 10  # to a target; what AWS takes is not documented
KEEPALIVE_SECONDS = 20  # NLB guide, Idle timeout: on TLS connections, towards both sides
FORMER_WORKERS = 20  # that may stay with old connections, each some 12 MB

_TEXT = """\
global
  description {{ description }}
  nbthread 1
  mworker-max-reloads {{ former }}
  ssl-server-verify none
defaults
  mode tcp
  retries 0
  timeout connect {{ connect }}s
{% for frontend in proxy.frontends %}
frontend {{ frontend.name }}
  bind {{ place(frontend) }}{{ tls(frontend.tls) }}
  timeout client {{ frontend.idle_seconds }}s
{% if frontend.tls %}
  option clitcpka
  clitcpka-idle {{ keepalive }}s
  clitcpka-intvl {{ keepalive }}s
{% endif %}
{% if frontend.shares | length > 1 %}
  tcp-request content set-var(txn.share) {{ "src,crc32(1),mod" if frontend.is_sticky else "rand" }}({{ shares }})
{% for backend, end in frontend.shares[:-1] %}
  use_backend {{ backend }} if { var(txn.share) -m int lt {{ end }} }
{% endfor %}
{% endif %}
{% for backend, _ in frontend.shares[-1:] %}
  default_backend {{ backend }}
{% endfor %}
{% endfor %}
{% for backend in proxy.backends %}
backend {{ backend.name }}
{% if backend.is_sticky %}
  balance source
  hash-type consistent
{% else %}
  balance random(1)
{% endif %}
  timeout server {{ backend.idle_seconds }}s
{% if backend.keeps_alive %}
  option srvtcpka
  srvtcpka-idle {{ keepalive }}s
  srvtcpka-intvl {{ keepalive }}s
{% endif %}
  source {{ "0.0.0.0 usesrc clientip" if backend.keeps_client else backend.source }}
{% for server in backend.servers %}
  server {{ server.name }} {{ server.address }}:{{ server.port }}
  {{- " send-proxy-v2" if backend.sends_header }}
  {{- " ssl verify none" if backend.speaks_tls }}
  {{- "" if server.takes_new else " disabled" }}
{% endfor %}
{% endfor %}
"""


@cache
def _template() -> Template:
    from jinja2 import Environment, StrictUndefined  # late: a keeper without a proxy does without it

    environment = Environment(undefined=StrictUndefined, trim_blocks=True, autoescape=False)
    return environment.from_string(_TEXT)


def text(proxy: Proxy) -> str:
    """Return the configuration; its description says how the proxy that has read it can be told."""
    written: str = _template().render(
        proxy=proxy,
        description=UNKNOWN,
        connect=CONNECT_SECONDS,
        keepalive=KEEPALIVE_SECONDS,
        former=FORMER_WORKERS,
        shares=SHARES,
        place=_place,
        tls=_tls,
    )
    return described(written)


def _place(frontend: Frontend) -> str:
    if ":" in frontend.address:
        return f"[{frontend.address}]:{frontend.port} v6only"
    return f"{frontend.address}:{frontend.port}"


def _tls(tls: Tls | None) -> str:
    return "" if tls is None else f" {bind(tls, tls.alpn)}"


def changes(before: Proxy, after: Proxy) -> Iterator[str]:
    """Yield the commands that make a running proxy of `before` one of `after`, which has the same shape."""
    old = {(backend, server.name): server.takes_new for backend, server in before.servers()}
    for backend, server in after.servers():
        if old[backend, server.name] is not server.takes_new:
            yield f"set server {backend}/{server.name} state {'ready' if server.takes_new else 'maint'}"


def ends(proxy: Proxy, names: Iterable[str]) -> Iterator[str]:
    """Yield the commands that end every connection to the servers with these names, which may be known no more."""
    return (f"shutdown sessions server {backend.name}/{name}" for name in names for backend in proxy.backends)
