"""One health check of one target: connect, perhaps ask, judge, close.

GWLB guide, "Health checks for GWLB target groups": TCP, HTTP and HTTPS; the connection is closed after each check; a
target that speaks only TLS 1.3 fails; certificates are not verified. What AWS's HTTP client forgives is not documented:
this one takes HTTP/1.0 answers and header lines that end in a bare LF, as real appliances send them.
"""

from __future__ import annotations

import asyncio
import os
import re
import ssl
from dataclasses import dataclass
from typing import NamedTuple

USER_AGENT = "ELB-HealthChecker/2.0"
LONGEST_ANSWER_HEAD = 65536
STATUS_LINE = re.compile(rb"HTTP/1\.[01] +([0-9]{3})(?: |\r?\n)")


class ProbeResult(NamedTuple):
    """What a health check found; `reason` is in the words of AWS's target health descriptions."""

    ok: bool
    reason: str = ""  # empty when ok


@dataclass(frozen=True, slots=True)
class Check:
    """How to probe; `lowest_status` to `highest_status` is the matcher (200-399)."""

    protocol: str = "TCP"  # TCP, HTTP or HTTPS
    port: int = 80
    path: str = "/"
    timeout_seconds: float = 5.0
    lowest_status: int = 200
    highest_status: int = 399


class _BadAnswer(Exception):
    pass


def _tls_without_verification() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    return context


async def _status(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, check: Check, host: str) -> int:
    request = (f"GET {check.path} HTTP/1.1", f"Host: {host}", f"User-Agent: {USER_AGENT}", "Connection: close", "", "")
    writer.write("\r\n".join(request).encode())
    line = await reader.readline()
    match = STATUS_LINE.match(line)
    if match is None:
        raise _BadAnswer(f"not an HTTP answer: {line[:40]!r}" if line else "connection closed without an answer")
    length = len(line)
    while line.strip():
        line = await reader.readline()
        length += len(line)
        if length > LONGEST_ANSWER_HEAD:
            raise _BadAnswer("answer headers without end")
    return int(match.group(1))


async def _attempt(address: str, check: Check, local_address: str) -> ProbeResult:
    secure = check.protocol == "HTTPS"
    reader, writer = await asyncio.open_connection(
        address,
        check.port,
        local_addr=(local_address, 0),
        ssl=_tls_without_verification() if secure else None,
        server_hostname=address if secure else None,
    )
    try:
        if check.protocol == "TCP":
            return ProbeResult(True)
        status = await _status(reader, writer, check, f"{address}:{check.port}")
        if check.lowest_status <= status <= check.highest_status:
            return ProbeResult(True)
        return ProbeResult(False, f"Health checks failed with these codes: [{status}]")
    finally:
        writer.transport.abort()


async def probe(address: str, check: Check, *, local_address: str) -> ProbeResult:
    """Check the target at `address` once, from `local_address`; nothing that a target does makes it raise."""
    try:
        async with asyncio.timeout(check.timeout_seconds):
            return await _attempt(address, check, local_address)
    except TimeoutError:
        return ProbeResult(False, "Request timed out")
    except _BadAnswer as error:
        return ProbeResult(False, str(error))
    except ssl.SSLError as error:
        return ProbeResult(False, f"TLS handshake failed: {error.reason}")
    except OSError as error:
        return ProbeResult(False, os.strerror(error.errno) if error.errno else str(error))
    except ValueError as error:  # StreamReader.readline: a line longer than its limit
        return ProbeResult(False, str(error))
