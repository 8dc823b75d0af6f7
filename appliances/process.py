"""What every appliance process is made of: a packet port, the health check port, the control socket, one loop."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Protocol

from appliances.health import FAILURES, HealthServer
from gwlbemu.errors import NetError
from gwlbemu.ports import privileges
from gwlbemu.ports.arguments import Arguments, one_of
from gwlbemu.ports.control import ControlServer, Verb
from gwlbemu.ports.faults import Faults
from gwlbemu.ports.filters import udp_port_to_us
from gwlbemu.ports.logfile import LogFile
from gwlbemu.ports.loop import Loop
from gwlbemu.ports.packet import PacketPort
from gwlbemu.ports.port import Port
from gwlbemu.ports.process import FAILED, run_process
from gwlbemu.ports.sink import hold_udp_port
from gwlbemu.wire.geneve import PORT as GENEVE_PORT


class Mover(Protocol):
    """What moves the frames: FrameLoop, or the pass-through's own."""

    def move(self, now: float) -> None:
        """Read one batch of frames, act on each, send what is to be sent; `now` is on the loop's clock, in seconds."""

    def status(self) -> dict[str, int]:
        """Return counters by name."""


MakeMover = Callable[[Port, Loop], Mover]


def parser(module: str, description: str, epilog: str = "") -> argparse.ArgumentParser:
    """Return an argument parser with the options that every appliance has."""
    result = argparse.ArgumentParser(
        prog=f"python -m {module}",
        description=description,
        epilog=epilog,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    result.add_argument("--interface", default="eth0", help="where GENEVE packets arrive (default: eth0)")
    result.add_argument("--health-port", type=int, default=80, help="port of TCP and HTTP health checks (default: 80)")
    result.add_argument("--control", type=Path, help="Unix socket to control this process: one JSON object per line")
    result.add_argument("--name", default=module.partition(".")[2], help="what this appliance calls itself")
    return result


def run(
    options: argparse.Namespace,
    make_mover: MakeMover,
    verbs: Mapping[str, Verb] | None = None,
    *,
    log: LogFile | None = None,
) -> int:
    """Run until SIGTERM or SIGINT; return the exit code. Errors that a user can meet are one line on stderr.

    `log` is what the mover writes to: `status` tells how much of it was lost.
    """
    return run_process(
        lambda loop, stack: _serve(options, make_mover, verbs or {}, log, loop, stack),
        report=lambda text: failure(options.name, text),
    )


def failure(name: str, error: object) -> int:
    """Say on stderr why the appliance cannot run; return the exit code for it."""
    print(f"{name}: {error}", file=sys.stderr)
    return FAILED


def _serve(
    options: argparse.Namespace,
    make_mover: MakeMover,
    verbs: Mapping[str, Verb],
    log: LogFile | None,
    loop: Loop,
    stack: ExitStack,
) -> None:
    port = PacketPort(options.interface, program=udp_port_to_us(GENEVE_PORT))
    stack.callback(port.close)
    mover = make_mover(port, loop)
    health = HealthServer(loop.asyncio, options.health_port, options.name)
    stack.callback(health.close)
    try:
        stack.enter_context(hold_udp_port(GENEVE_PORT))
        loop.run_until_complete(health.fail("none"))
        if options.control:
            table = {**_common_verbs(options.name, mover, health, log, loop.faults), **verbs}
            control = ControlServer(options.control, table, faults=loop.faults)
            stack.callback(control.close)
            loop.run_until_complete(control.open())
    except OSError as error:
        raise NetError(f"opening the appliance's ports: {error.strerror or error}") from None
    privileges.drop(keep=[privileges.NET_BIND_SERVICE])  # a health port that was closed is opened again
    loop.add_reader(port.fileno(), lambda: mover.move(loop.now))
    print(f"{options.name}: ready on {options.interface}, health checks on port {options.health_port}", flush=True)
    loop.run()
    loop.remove_reader(port.fileno())


def _common_verbs(
    name: str, mover: Mover, health: HealthServer, log: LogFile | None, faults: Faults
) -> dict[str, Verb]:
    def status(_: Arguments) -> Mapping[str, object]:
        return {
            "name": name,
            "health": {"failing": health.failing, "requests": health.requests, "closed_early": health.closed_early},
            "counters": mover.status(),
            "log": log.status() if log else {},
            "faults": dict(faults.counts),
        }

    async def fail(request: Arguments) -> Mapping[str, object]:
        await health.fail(one_of(request, "fail", FAILURES))
        return {"failing": health.failing}

    return {"status": status, "health": fail}
