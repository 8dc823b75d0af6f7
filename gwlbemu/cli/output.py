"""Printing, and what becomes of it when its reader goes away."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from typing import TextIO

import click

from gwlbemu.errors import plain_lines


def say(text: str, *, err: bool = False, nl: bool = True) -> None:
    """Print text as it is. When its reader has gone away (`| head -1`) the verb goes on unheard, to its exit code."""
    try:
        click.echo(text, err=err, nl=nl)
    except BrokenPipeError:
        drop_output(sys.stderr if err else sys.stdout)


def stream(text: str) -> None:
    """Print a part, for people, of what may have no end: BrokenPipeError, which ends the verb, when nobody reads it."""
    click.echo(plain_lines(text))


def drop_output(output: TextIO) -> None:
    """Send what is still to be printed nowhere, so that the interpreter does not stumble over it at its end."""
    with suppress(OSError, ValueError, AttributeError):
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, output.fileno())
        os.close(null)
