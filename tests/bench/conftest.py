from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest


@pytest.fixture
def restored_sigterm() -> Iterator[None]:
    handler = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, handler)
