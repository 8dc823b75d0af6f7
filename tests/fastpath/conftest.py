from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from gwlbemu.core.elb.gateway_attributes import FIVE_TUPLE
from gwlbemu.core.elb.target import Target
from gwlbemu.core.emulation import Emulation
from gwlbemu.core.gateway.balancer import Balancer
from gwlbemu.core.gateway.settings import Endpoint, Settings
from gwlbemu.fastpath.build import available, compile_object
from gwlbemu.fastpath.fastpath import EndpointDevice, FastPath, FastPathSettings
from tests.fastpath import fastpath_lab as lab
from tests.fastpath.fastpath_lab import SECOND_ENDPOINT, mac

NODE, TARGET, OTHER_TARGET = bytes([10, 9, 0, 1]), bytes([10, 9, 0, 2]), bytes([10, 9, 0, 3])


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("objects")


@pytest.fixture(scope="session")
def usable(cache: Path) -> None:
    """Skip, with the reason that a user would be given, where there is no fast path."""
    reason = available(cache)
    assert not (reason or "").startswith("clang:"), f"gwlb.c is broken: {reason}"
    if reason is not None:
        pytest.skip(reason)


@pytest.fixture
def devices(usable: None) -> Iterator[None]:
    """Two endpoint interfaces and an ENI in this process's own namespace."""
    pairs = ((lab.ENDPOINT_DEVICE, lab.ENDPOINT_MAC), ("vpce2", "02:00:00:00:06:01"), (lab.ENI_DEVICE, lab.ENI_MAC))
    for i, (device, address) in enumerate(pairs):
        for command in (
            f"link add {device} address {address} mtu 9001 type veth peer name peer{i} mtu 9001",
            f"link set {device} up",
            f"link set peer{i} up",
        ):
            subprocess.run(["ip", *command.split()], check=True)
    yield
    for device, _ in pairs:
        subprocess.run(["ip", "link", "del", device], check=True)


@pytest.fixture
def pair(devices: None, cache: Path) -> Iterator[Callable[..., tuple[Balancer, FastPath]]]:
    """Make a core and a fast path with the same settings."""
    made: list[FastPath] = []

    def make(*, hops: int = 2, stickiness: str = FIVE_TUPLE, **changed: object) -> tuple[Balancer, FastPath]:
        settings = Settings(
            load_balancer="lb",
            zone="a",
            node_address=NODE,
            endpoints=(Endpoint(lab.ENDPOINT, "e"), Endpoint(SECOND_ENDPOINT, "f")),
            targets=(Target("t", TARGET, "a"), Target("u", OTHER_TARGET, "a")),
            track_changes=True,
            emulation=Emulation(ttl_decrement=hops),
        )
        balancer = Balancer(settings, now=0.0)
        if stickiness != FIVE_TUPLE:
            balancer.set_attributes(
                "target-group", {"stickiness.enabled": "true", "stickiness.type": stickiness}, now=0.0
            )
        given = {
            "cache": cache,
            "node_address": NODE,
            "eni": lab.ENI_DEVICE,
            "gateway_mac": mac(lab.TARGET_MAC),
            "ttl_decrement": hops,
            "stickiness": stickiness,
            "max_flows4": 4096,
            "max_flows6": 4096,
            "endpoints": (
                EndpointDevice(lab.ENDPOINT, lab.ENDPOINT_DEVICE, mac(lab.ROUTER_MAC)),
                EndpointDevice(SECOND_ENDPOINT, "vpce2", mac("02:00:00:00:06:02")),
            ),
        }
        fast = FastPath(FastPathSettings(**given | changed))  # type: ignore[arg-type]
        made.append(fast)
        return balancer, fast

    yield make
    for fast in made:
        fast.close()


@pytest.fixture
def compiled(usable: None, cache: Path) -> Path:
    return compile_object(cache)
