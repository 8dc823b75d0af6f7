from __future__ import annotations

import json
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from gwlbemu.cli.main import main


@dataclass(frozen=True)
class Said:
    """What one command answered."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


@pytest.fixture
def gwlbemu(capfd: pytest.CaptureFixture[str]) -> Iterator[Callable[..., Said]]:
    """Run one command in this process."""
    handler = signal.getsignal(signal.SIGTERM)

    def run(*words: str) -> Said:
        capfd.readouterr()
        code = main(list(words))
        return Said(code, *capfd.readouterr())

    yield run
    signal.signal(signal.SIGTERM, handler)
