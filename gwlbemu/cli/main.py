"""The `gwlbemu` command: one group, its verbs in the files beside this one.

Nouns read (status, targets, flows, metrics, logs, plan, schema, inspect), and so does watch; verbs change (up, down,
inject, register, ...). All take --json but watch (for people), exec and logs (what others print) and bench (which keeps
a file).
Exit codes are in `EXIT_CODES` and in the README; which error ends with which code stands at the error's class.
"""

from __future__ import annotations

import importlib
import io
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import NamedTuple

import click

from gwlbemu.cli.output import drop_output, say
from gwlbemu.errors import AWS_CODES, GwlbemuError, NetError, plain_lines

EXIT_CODES = {
    0: "it worked, and what was asked about is as it should be",
    1: "it worked, but something is not as it should be (a target is unhealthy, a packet was lost, a finding)",
    2: "the command line is wrong",
    3: "bad input: a topology file, an attribute, a name that nothing has, a capture file",
    4: "the lab is not in the state that the command needs (not up, already up, a process is dead)",
    5: "the machine refused (privilege, kernel, missing program, full disk)",
}
INTERRUPTED = 130  # by Ctrl-C, SIGTERM or SIGHUP
_ROOT = "run it with sudo"


class Verb(NamedTuple):
    """The module of `gwlbemu.cli` that holds a verb, and the line that `gwlbemu --help` has for it."""

    module: str
    line: str


# A verb is imported when it is used, so that `gwlbemu status` does not load scapy.
GROUPS = {
    "Life of a lab": {
        "up": Verb("lab", "Bring up the lab of a topology and wait for its targets"),
        "down": Verb("lab", "Remove a lab: exactly what it made"),
        "labs": Verb("lab", "Name every lab that is up"),
        "exec": Verb("lab", "Run a command inside an instance, subnet, gateway or node"),
    },
    "Look": {
        "status": Verb("status", "Processes, datapath, packets, drops, what is broken"),
        "targets": Verb("read", "Targets as each node sees them, in AWS's words"),
        "flows": Verb("read", "Live flows: target, cookie, packets, idle time"),
        "attributes": Verb("attributes", "AWS attributes: what is set, and the defaults"),
        "metrics": Verb("metrics", "CloudWatch's metrics, as a table, JSON or for Prometheus"),
        "watch": Verb("watch", "A live view of traffic, targets, losses and flows"),
        "logs": Verb("logs", "What a process has written; access logs of load balancers"),
        "inspect": Verb("inspect", "Captured packets, one line each, or hop by hop"),
        "explain": Verb("explain", "Which way a packet and its answer take, and why"),
        "reach": Verb("reach", "Who reaches whom, and who inspects it, as a matrix"),
    },
    "Change": {
        "register": Verb("change", "Register a target with a target group"),
        "deregister": Verb("change", "Deregister a target: it drains"),
        "set": Verb("change", "Set AWS attributes of a load balancer or target group"),
        "advance": Verb("change", "Let time pass at once, and tell which flows that ended"),
    },
    "Break and heal": {
        "fail": Verb("change", "Break an instance, process, link, health check or zone"),
        "heal": Verb("change", "Undo what fail broke"),
        "drill": Verb("drill", "Fail something under live connections and report"),
    },
    "Try": {
        "inject": Verb("inject", "Send crafted packets and report what became of each"),
        "http": Verb("http", "Requests: who answered, cookies, what the target saw"),
        "bench": Verb("bench", "Measure the data paths side by side, as ratios"),
    },
    "Design": {
        "plan": Verb("plan", "The resolved plan of a topology, without root"),
        "schema": Verb("plan", "The JSON Schema of a topology file, for editors"),
        "doctor": Verb("doctor", "What is wrong with a design, and the line that mends it"),
        "test": Verb("test", "Whether what a topology expects holds, by model or by packets"),
    },
}
VERBS = {name: verb.module for verbs in GROUPS.values() for name, verb in verbs.items()}


class _LazyGroup(click.Group):
    """Imports a verb when it is asked for, and lists the verbs by what they are for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in VERBS:
            return None
        module = importlib.import_module(f"gwlbemu.cli.{VERBS[cmd_name]}")
        if ctx.obj:  # a signal that some module caught while it was imported
            raise KeyboardInterrupt
        command = getattr(module, f"{cmd_name}_command")
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        width = max(map(len, VERBS))
        for title, verbs in GROUPS.items():
            with formatter.section(title):
                formatter.write_dl([(name.ljust(width), verb.line) for name, verb in verbs.items()])


@click.group(
    cls=_LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
    epilog='Completion: eval "$(_GWLBEMU_COMPLETE=bash_source gwlbemu)" (or zsh_source, fish_source).',
)
@click.version_option(package_name="gwlbemu")
def cli() -> None:
    """A packet-level emulator of AWS load balancing, the Gateway Load Balancer first."""


def main(argv: list[str] | None = None) -> int:
    """Run one command, by default the process's own arguments; return the exit code (see EXIT_CODES).

    Whatever the caller's umask, what is made is root's to write. SIGTERM and SIGHUP are what Ctrl-C is: what is half
    done is undone.
    """
    os.umask(0o022)
    code = 0
    with _signals_interrupt() as heard:
        try:
            code = _run(argv, heard)
            if sys.stdout is not None:
                sys.stdout.flush()
        except KeyboardInterrupt:
            code = _interrupted()
        except BrokenPipeError:  # the reader went away, from a stream or before the last of it: `gwlbemu labs | true`
            drop_output(sys.stdout)
        except OSError as error:
            drop_output(sys.stdout)
            _complain(f"the output cannot be written: {error.strerror}")
            return NetError.exit_code
        except Exception:
            if not heard:
                raise
            code = _interrupted()  # raised where Python makes another exception of an interrupt (__set_name__)
    return code


def _run(argv: list[str] | None, heard: list[int]) -> int:
    output, errors = sys.stdout, sys.stderr
    try:
        result = cli.main(args=argv, prog_name="gwlbemu", standalone_mode=False, obj=heard)
    except click.exceptions.Exit as stop:
        return stop.exit_code
    except SystemExit:
        if sys.stdout is output:  # a shell's completion
            raise
        sys.stdout, sys.stderr = output, errors  # click's own end when the reader of our output went away
        raise BrokenPipeError from None
    except click.ClickException as error:
        said = io.StringIO()
        error.show(said)
        say(plain_lines(said.getvalue()), err=True, nl=False)
        return 2
    except click.Abort:
        return _interrupted()
    except GwlbemuError as error:
        _complain(plain_lines(_sentence(error)))
        return error.exit_code
    except BrokenPipeError:
        raise
    except PermissionError as error:
        _complain(f"{error.filename}: permission denied: {_ROOT}" if error.filename else f"permission denied: {_ROOT}")
        return NetError.exit_code
    except OSError as error:
        if not error.filename:
            raise  # of the output, as a rule
        _complain(f"{error.filename}: {error.strerror}")
        return NetError.exit_code
    return result if isinstance(result, int) else 0


def _interrupted() -> int:
    with suppress(OSError):
        click.echo("interrupted", err=True)
    return INTERRUPTED


def _complain(sentence: str) -> None:
    with suppress(OSError):  # nobody reads it
        click.echo(f"gwlbemu: {sentence}", err=True)


@contextmanager
def _signals_interrupt() -> Iterator[list[int]]:
    """Let SIGTERM and SIGHUP do what Ctrl-C does, and note each in the list that is yielded.

    One that our caller ignores (nohup) stays ignored.
    """
    heard: list[int] = []

    def interrupt(number: int, _frame: FrameType | None) -> None:
        heard.append(number)
        raise KeyboardInterrupt

    before = {}
    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            if signal.getsignal(number) is not signal.SIG_IGN:
                before[number] = signal.signal(number, interrupt)
    try:
        yield heard
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _sentence(error: GwlbemuError) -> str:
    """The error as the command line prints it: behind AWS's code, where AWS has one for it."""
    return f"{error.code}: {error}" if error.code in AWS_CODES else str(error)


if __name__ == "__main__":
    sys.exit(main())
