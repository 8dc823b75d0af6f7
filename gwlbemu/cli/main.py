"""The `gwlbemu` command: one group, its verbs in the files beside this one.

Nouns read (status, targets, flows, metrics, plan, schema, inspect), and so does watch; verbs change (up, down, inject,
register, ...). Every noun takes --json. Exit codes are in `EXIT_CODES` and in the README.
"""

from __future__ import annotations

import importlib
import sys

import click

from gwlbemu.errors import GwlbemuError, LabError, NetError, SettingError, TopologyError, WireError

EXIT_CODES = {
    0: "it worked, and what was asked about is as it should be",
    1: "it worked, but something is not as it should be (a target is unhealthy, a packet was lost, a finding)",
    2: "the command line is wrong",
    3: "bad input: a topology file, an attribute, a capture file",
    4: "the lab is not in the state that the command needs (not up, already up, a process is dead)",
    5: "the machine refused (privilege, kernel, missing program)",
}
_CODE_OF: tuple[tuple[type[GwlbemuError], int], ...] = (
    (TopologyError, 3),
    (SettingError, 3),
    (WireError, 3),
    (LabError, 4),
    (NetError, 5),
)

# verb -> the module that holds it: a verb is imported when it is used, so that `gwlbemu status` does not load scapy.
VERBS = {
    "up": "lab",
    "down": "lab",
    "exec": "lab",
    "labs": "lab",
    "status": "status",
    "targets": "read",
    "flows": "read",
    "metrics": "metrics",
    "watch": "watch",
    "plan": "plan",
    "schema": "plan",
    "doctor": "doctor",
    "inspect": "inspect",
    "inject": "inject",
    "drill": "drill",
    "bench": "bench",
    "register": "change",
    "deregister": "change",
    "set": "change",
    "fail": "change",
    "heal": "change",
    "advance": "change",
}


class _LazyGroup(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in VERBS:
            return None
        module = importlib.import_module(f"gwlbemu.cli.{VERBS[cmd_name]}")
        command = getattr(module, f"{cmd_name}_command")
        assert isinstance(command, click.Command)
        return command


@click.group(cls=_LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(package_name="gwlbemu")
def cli() -> None:
    """A packet-level emulator of AWS load balancing, the Gateway Load Balancer first."""


def main(argv: list[str] | None = None) -> int:
    """Run one command; the return value is the exit code (see EXIT_CODES)."""
    try:
        result = cli.main(args=argv, prog_name="gwlbemu", standalone_mode=False)
    except click.exceptions.Exit as stop:
        return stop.exit_code
    except click.ClickException as error:
        error.show()
        return 2
    except click.Abort:
        click.echo("interrupted", err=True)
        return 130
    except PermissionError as error:
        what = f"{error.filename}: " if error.filename else ""
        click.echo(f"gwlbemu: {what}permission denied: run it with sudo", err=True)
        return 5
    except GwlbemuError as error:
        click.echo(f"gwlbemu: {error}", err=True)
        return next((code for kind, code in _CODE_OF if isinstance(error, kind)), 3)
    except BrokenPipeError:  # the reader of our output went away: `gwlbemu flows | head`
        sys.stderr.close()
        return 0
    return result if isinstance(result, int) else 0


if __name__ == "__main__":
    sys.exit(main())
