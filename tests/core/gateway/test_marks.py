"""The cookie and the outer source port of a flow."""

import pytest

from gwlbemu.core.elb.choice import Seed
from gwlbemu.core.gateway.marks import flow_cookie, outer_source_port


def test_cookies_depend_on_seed_key_and_moves() -> None:
    cookies = {flow_cookie(Seed(seed), name, moves) for seed in (1, 2) for name in (b"a", b"b") for moves in (0, 1)}
    assert len(cookies) == 8


@pytest.mark.parametrize(("policy", "lowest", "highest"), [("aws", 60000, 60001), ("rfc8926", 49152, 65535)])
def test_outer_source_ports_are_in_the_range_of_the_policy_and_the_same_in_each_run(
    policy: str, lowest: int, highest: int
) -> None:
    keys = [number.to_bytes(49, "big") for number in range(2000)]
    ports = [outer_source_port(Seed(7), key, policy) for key in keys]
    assert lowest == min(ports) if policy == "aws" else lowest <= min(ports)
    assert highest == max(ports) if policy == "aws" else highest >= max(ports)
    assert ports == [outer_source_port(Seed(7), key, policy) for key in keys]
