"""Asking and telling a running process of a lab over its control socket (gwlbemu.ports.control has the other end)."""

from __future__ import annotations

import json
import os
import socket
import time
from pathlib import Path
from typing import Any

from gwlbemu.errors import LabError, NetError, refusal

LONGEST_ANSWER = 32 << 20  # bytes; the longest that is meant are the counts of some hundred targets, a third of it
LONGEST_ERROR = 300  # characters of the sentence that the other side refuses with
TIMEOUT = 30.0  # seconds that `call` waits for an answer


def call(
    path: str | os.PathLike[str], verb: str, *, within_seconds: float = TIMEOUT, **arguments: Any
) -> dict[str, Any]:
    """Send one request and return the answer.

    Raises LabError when there is no whole answer at `path` in time, or one that is longer than LONGEST_ANSWER or no
    JSON object; NetError without root; and the error that the process refuses with (see `errors.refusal`), a
    SettingError as a rule, whose sentence is cut at LONGEST_ERROR.
    """
    deadline = time.monotonic() + within_seconds
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
            sock.settimeout(within_seconds)
            sock.connect(os.fspath(path))
            sock.sendall(json.dumps({"verb": verb, **arguments}).encode() + b"\n")
            line = _read_line(sock, deadline)
    except PermissionError:
        raise NetError(f"control socket {_name(path)} answers root only: run it with sudo") from None
    except TimeoutError:
        raise LabError(
            f"no answer at control socket {_name(path)} within {within_seconds:g} s: if the process has read '{verb}',"
            " it goes on with it"
        ) from None
    except OSError as error:
        raise LabError(f"no answer at control socket {_name(path)}: {error.strerror or error}") from None
    if not line:
        raise LabError(f"no answer at control socket {_name(path)}: it closed the connection")
    if len(line) > LONGEST_ANSWER:
        raise LabError(f"control socket {_name(path)} gave an answer longer than {LONGEST_ANSWER >> 20} MiB")
    try:
        answer = json.loads(line)
    except (ValueError, RecursionError):
        answer = None
    if not isinstance(answer, dict):
        raise LabError(f"control socket {_name(path)} gave an answer that is not understood")
    if not answer.pop("ok", False):
        raise refusal(_cut(answer.get("error", "refused")), _cut(answer.get("code", "")))
    return answer


def _read_line(sock: socket.socket, deadline: float) -> bytes:
    """Return what comes until a newline, the end, or more than LONGEST_ANSWER. Raises TimeoutError at the deadline."""
    line = bytearray()
    while len(line) <= LONGEST_ANSWER:
        left = deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError
        sock.settimeout(left)
        data = sock.recv(1 << 16)
        before, newline, _ = data.partition(b"\n")
        line += before
        if newline or not data:
            break
    return bytes(line)


def _cut(words: object) -> str:
    text = words if isinstance(words, str) else json.dumps(words)
    return text if len(text) <= LONGEST_ERROR else f"{text[: LONGEST_ERROR - 3]}..."


def _name(path: str | os.PathLike[str]) -> str:
    """Whose socket it is: in a lab each process has a folder of its own."""
    found = Path(path)
    return found.parent.name if found.name == "sock" else found.name
