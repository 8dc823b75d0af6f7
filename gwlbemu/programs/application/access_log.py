"""The access log of a node: HAProxy's datagrams, one per request, become AWS's lines.

ALB guide, Access logs for your Application Load Balancer, Access log entries: one line per request, fields in this
order, "-" for what there is not. As it is here, not at AWS: a load balancer and a target group have ids that follow
from their names; an ARN has neither region nor account; the time between a target's answer and ours is not measured,
so `response_processing_time` is 0; `conn_trace_id` is not made; `error_reason` and the classes of requests that break
RFC 7230 are not told.
"""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from hashlib import blake2b
from pathlib import Path

from gwlbemu.core.application.settings import Balancer
from gwlbemu.core.elb.rules import HOST_HEADER_REWRITE, URL_REWRITE, Rule
from gwlbemu.errors import NetError
from gwlbemu.ports import privileges
from gwlbemu.ports.logfile import LogFile
from gwlbemu.programs.application import text_log

SOCKET, FILE = "access", "access.log"  # in the node's own folder
_BUFFER_BYTES = 4 << 20  # of datagrams that wait
_AT_ONCE = 200  # datagrams that are read before something else has its turn
_NOTHING = "-"
_SO_RCVBUFFORCE = 33  # asm-generic/socket.h


class AccessLog:
    """Reads what HAProxy tells at a socket in `folder` and writes the file there, which is made with its first line."""

    def __init__(self, folder: Path, load_balancer: str, balancer: Callable[[], Balancer]) -> None:
        self._file = folder / FILE
        self._load_balancer, self._balancer = load_balancer, balancer
        self._log: LogFile | None = None
        self._unread = self._unopened = 0  # datagrams that were none of HAProxy's; lines for which there was no file
        place = folder / SOCKET
        place.unlink(missing_ok=True)
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.setblocking(False)
        with suppress(OSError):  # more than others may have needs CAP_NET_ADMIN
            self.socket.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _BUFFER_BYTES)
        self.socket.bind(str(place))
        privileges.give(place)

    def read(self) -> None:
        """Write the lines of what has come."""
        balancer = self._balancer()
        for _ in range(_AT_ONCE):
            try:
                data = self.socket.recv(text_log.LONGEST_LINE + 1)
            except BlockingIOError:
                return
            try:
                line = access_line(json.loads(data), self._load_balancer, balancer)
            except (ValueError, KeyError, TypeError, AttributeError):
                self._unread += 1
                continue
            self._write(line)

    def status(self) -> dict[str, int]:
        """Return how many lines were written, and how many were not (see `LogFile.status`); `unread` are datagrams that
        were none of HAProxy's. Nothing before any.
        """
        if self._log is None and not (self._unread or self._unopened):
            return {}
        told = {"written": 0, "over_rate": 0, "failed": 0} if self._log is None else self._log.status()
        return told | {"failed": told["failed"] + self._unopened, "unread": self._unread}

    def close(self) -> None:
        """Give socket and file back."""
        self.socket.close()
        if self._log is not None:
            self._log.close()

    def _write(self, line: str) -> None:
        if self._log is None:
            try:
                self._log = LogFile(self._file)
            except NetError:
                self._unopened += 1
                return
        self._log.write(line)


def access_line(told: Mapping[str, str], load_balancer: str, balancer: Balancer) -> str:
    """Return AWS's line for a request of which HAProxy told `text_log.FIELDS`."""
    rule = _rule(told, balancer)
    has_target = told["target_port"] not in ("0", _NOTHING)
    target = f"{told['target']}:{told['target_port']}" if has_target else _NOTHING
    group = told["target_group"] if any(each.name == told["target_group"] for each in balancer.groups) else ""
    actions = _actions(told, rule, balancer, group)
    return " ".join(
        (
            _kind(told),
            _instant(told["answered"]),
            resource(f"app/{load_balancer}"),
            f"{told['client']}:{told['client_port']}",
            target,
            *_times(told),
            told["status"] if told["status"] not in ("-1", "0") else _NOTHING,
            told["target_status"],
            told["bytes_received"],
            told["bytes_sent"],
            _quoted(_request(told)),
            _quoted(told["user_agent"]),
            told["tls_cipher"],
            told["tls_version"],
            f"arn:aws:elasticloadbalancing:::{resource(f'targetgroup/{group}')}" if group else _NOTHING,
            _quoted(told["trace"]),
            _quoted(told["tls_name"]),
            _quoted(_NOTHING),  # chosen_cert_arn
            _priority(told),
            _instant(told["received"]),
            _quoted(actions),
            _quoted(told["location"]),
            _quoted(_NOTHING),  # error_reason
            _quoted(target),
            _quoted(told["target_status"]),
            _quoted(_NOTHING),  # classification
            _quoted(_NOTHING),  # classification_reason
            _NOTHING,  # conn_trace_id
            *_transformed(told, rule),
        )
    )


def resource(path: str) -> str:
    """Return the id of a resource with this word and name: word/name/16 hex digits, as in CloudWatch's dimensions."""
    return f"{path}/{blake2b(path.encode(), digest_size=8).hexdigest()}"


def _kind(told: Mapping[str, str]) -> str:
    is_secure = told["tls_version"] != _NOTHING
    if told["upgrade"].lower() == "websocket" and told["status"] == "101":
        return "wss" if is_secure else "ws"
    if told["version"] == "HTTP/2.0":
        return "grpcs" if told["content_type"].startswith("application/grpc") else "h2"
    return "https" if is_secure else "http"


def _instant(microseconds: str) -> str:
    if microseconds in ("", _NOTHING):
        return _NOTHING
    seconds, rest = divmod(int(microseconds), 1_000_000)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{rest:06d}Z"


def _times(told: Mapping[str, str]) -> tuple[str, str, str]:
    """Until the request was sent to the target, until its header came, until ours was sent; -1 for what was not."""
    before = [int(told[name]) for name in ("waiting", "queueing", "connecting")]
    if min(before) < 0:
        return "-1", "-1", "-1"
    answering = int(told["answering"])
    if answering < 0:
        return f"{sum(before) / 1000:.3f}", "-1", "-1"
    return f"{sum(before) / 1000:.3f}", f"{answering / 1000:.3f}", "0.000"


def _request(told: Mapping[str, str]) -> str:
    """Method, whole URL with its port, version; what is none is a dash."""
    protocol = told["listener"].partition(":")[0].lower()
    host = told["asked_host"] if told["asked_host"] != _NOTHING else told["node"]
    url = told["asked_url"]
    if url == _NOTHING or told["method"] == "<BADREQ>":
        return f"- {protocol}://{host}:{told['node_port']}- -"
    if not url.startswith("/"):  # an absolute URI
        url = "/" + url.partition("://")[2].partition("/")[2]
    name, colon, port = host.rpartition(":")
    if colon and (port.isdecimal() or not port) and (":" not in name or name.endswith("]")):
        host = name
    return f"{told['method']} {protocol}://{host}:{told['node_port']}{url} {told['version']}"


def _rule(told: Mapping[str, str], balancer: Balancer) -> Rule | None:
    rules = (rule for each in balancer.listeners if each.name == told["listener"] for rule in each.rules)
    return next((rule for rule in rules if str(rule.priority) == told["rule"]), None)


def _priority(told: Mapping[str, str]) -> str:
    """0 for the default actions, also of what was refused before rules were asked."""
    return "0" if told["rule"] == _NOTHING else told["rule"]


def _actions(told: Mapping[str, str], rule: Rule | None, balancer: Balancer, group: str) -> str:
    """What was done with the request, in order; a dash for what was refused before."""
    defaults = (each.default_actions for each in balancer.listeners if each.name == told["listener"])
    actions = rule.actions if rule is not None else next(defaults, ())
    done: list[str] = []
    for action in actions:
        if action.jwt_validation is not None:
            if told["token"] == _NOTHING:
                continue
            done.append(action.type)
            if told["token"] != "accepted":
                break
        elif action.redirect is not None:
            done += [action.type] if told["location"] != _NOTHING else []
        elif action.fixed_response is not None:
            done += [action.type] if told["status"] == str(action.fixed_response.status) else []
        elif group:
            done.append(action.type)
    return ",".join(done) or _NOTHING


def _transformed(told: Mapping[str, str], rule: Rule | None) -> Iterable[str]:
    """transformed_host, transformed_uri, request_transform_status."""
    kinds = {each.type for each in rule.transforms} if rule is not None else set()
    host = told["rewritten"] if HOST_HEADER_REWRITE in kinds else _NOTHING
    url = told["url"] if URL_REWRITE in kinds else _NOTHING
    is_done = (host, url) != (_NOTHING, _NOTHING)
    return _quoted(host), _quoted(url), _quoted("TransformSuccess" if is_done else _NOTHING)


def _quoted(text: str) -> str:
    """A text in quotes; what is no printable ASCII is written as \\xNN, as are quotes and backslashes."""
    data = (text or _NOTHING).encode("utf-8", "surrogateescape")
    written = "".join(chr(each) if 32 <= each < 127 and chr(each) not in '"\\' else f"\\x{each:02X}" for each in data)
    return f'"{written}"'
