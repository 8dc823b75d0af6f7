from __future__ import annotations

import pytest

from gwlbemu.fastpath.build import available, cache_folder


@pytest.fixture(scope="session")
def fast_path() -> None:
    """Skip, with the reason that a user would be given, where there is no fast path."""
    reason = available(cache_folder())
    assert not (reason or "").startswith("clang:"), f"gwlb.c is broken: {reason}"
    if reason is not None:
        pytest.skip(reason)
