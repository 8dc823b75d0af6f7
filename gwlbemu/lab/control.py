"""Asking and telling a running process of a lab over its control socket (gwlbemu.ports.control has the other end)."""

from __future__ import annotations

import json
import os
import socket
from pathlib import Path
from typing import Any

from gwlbemu.errors import LabError, NetError, refusal

LONGEST_ANSWER = 256 << 20  # bytes; a line that is longer is none
TIMEOUT = 30.0  # seconds that `call` waits for an answer


def call(
    path: str | os.PathLike[str], verb: str, *, within_seconds: float = TIMEOUT, **arguments: Any
) -> dict[str, Any]:
    """Send one request and return the answer.

    Raises LabError when nobody answers at `path` in time, NetError without root, and the error that the process refuses
    with (see `errors.refusal`), a SettingError as a rule.
    """
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
            sock.settimeout(within_seconds)
            sock.connect(os.fspath(path))
            sock.sendall(json.dumps({"verb": verb, **arguments}).encode() + b"\n")
            with sock.makefile("rb") as stream:
                line = stream.readline(LONGEST_ANSWER)
        answer = json.loads(line)
    except PermissionError:
        raise NetError(f"control socket {_name(path)} answers root only: run it with sudo") from None
    except TimeoutError:
        raise LabError(
            f"no answer at control socket {_name(path)} within {within_seconds:g} s: if the process has read '{verb}',"
            " it goes on with it"
        ) from None
    except (OSError, ValueError, RecursionError) as error:
        reason = error.strerror or str(error) if isinstance(error, OSError) else "it closed the connection"
        raise LabError(f"no answer at control socket {_name(path)}: {reason}") from None
    if not isinstance(answer, dict):
        raise LabError(f"control socket {_name(path)} gave an answer that is not understood")
    if not answer.pop("ok", False):
        raise refusal(str(answer.get("error", "refused")), str(answer.get("code", "")))
    return answer


def _name(path: str | os.PathLike[str]) -> str:
    """Whose socket it is: in a lab each process has a folder of its own."""
    found = Path(path)
    return found.parent.name if found.name == "sock" else found.name
