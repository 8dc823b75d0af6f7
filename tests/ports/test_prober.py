from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import pytest

from gwlbemu.ports import prober as prober_module
from gwlbemu.ports.loop import Loop
from gwlbemu.ports.probe import Check, ProbeResult
from gwlbemu.ports.prober import Pace, Prober
from tests.waiting import PATIENCE


@dataclass
class Target:
    id: str
    address: bytes = bytes([10, 0, 0, 5])
    initial: bool = False
    port: int = 0


class Bench:
    """A prober whose probes take `duration` seconds and pass; when it probed, and what it reported.

    It probes every 0.1 s, targets that are initial every 0.02 s. How late a probe begins is the machine's affair.
    """

    def __init__(self, loop: Loop, monkeypatch: pytest.MonkeyPatch, *targets: Target, duration: float = 0.0) -> None:
        self.loop, self.targets, self.start = loop, list(targets), loop.now
        self.probed: list[float] = []
        self.reports: list[str] = []
        self.overlap = self.running = 0
        self.enough: Callable[[], bool] = lambda: False
        self.on_probe: Callable[[], None] = lambda: None

        async def fake(address: str, check: Check, *, local_address: str, local_ports: Sequence[int]) -> ProbeResult:
            assert (address, local_address) == ("10.0.0.5", "10.0.0.1")
            self.probed.append(loop.now - self.start)
            self.on_probe()
            self.running += 1
            self.overlap = max(self.overlap, self.running)
            await asyncio.sleep(duration)
            self.running -= 1
            return ProbeResult(True)

        monkeypatch.setattr(prober_module, "probe", fake)
        self.prober = Prober(
            loop, Check(), Pace(0.1, 0.02), local_address="10.0.0.1", targets=lambda: self.targets,
            report=self.report,
        )  # fmt: skip

    def report(self, name: str, _: ProbeResult) -> None:
        self.reports.append(name)
        if self.enough():
            self.loop.stop()

    def run(self, seconds: float, *, reports: int = 0) -> None:
        """Run for `seconds`, or until there are `reports` of them."""
        self.enough = lambda: len(self.reports) == reports
        self.loop.call_at(self.loop.now, self.prober.refresh)
        self.loop.call_at(self.loop.now + seconds, self.loop.stop)
        self.loop.run()

    def pauses(self) -> list[float]:
        return [later - earlier for earlier, later in zip(self.probed, self.probed[1:], strict=False)]


@pytest.fixture
def loop() -> Iterator[Loop]:
    loop = Loop()
    yield loop
    loop.close()


def test_a_target_is_probed_at_the_interval(loop: Loop, monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench(loop, monkeypatch, Target("a"))
    bench.run(PATIENCE, reports=4)
    assert bench.reports == ["a"] * 4
    assert all(pause >= 0.1 for pause in bench.pauses())


def test_an_initial_target_is_probed_faster_until_it_is_not_initial(
    loop: Loop, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = Target("a", initial=True)
    bench = Bench(loop, monkeypatch, target)

    def pass_the_fifth() -> None:
        target.initial = len(bench.probed) < 5

    bench.on_probe = pass_the_fifth
    bench.run(PATIENCE, reports=8)
    assert all(pause >= 0.02 for pause in bench.pauses())
    assert min(bench.pauses()[:5]) < 0.1
    assert min(bench.pauses()[5:]) >= 0.1


def test_probes_of_one_target_never_overlap(loop: Loop, monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench(loop, monkeypatch, Target("a"), duration=0.25)
    bench.run(PATIENCE, reports=3)
    assert bench.overlap == 1
    assert all(pause >= 0.25 for pause in bench.pauses())


def test_a_target_that_left_is_neither_probed_nor_reported(loop: Loop, monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench(loop, monkeypatch, Target("a"), duration=0.05)

    def leave() -> None:
        bench.targets.clear()
        bench.prober.refresh()

    loop.call_at(loop.now + 0.02, leave)
    bench.run(0.3)
    assert len(bench.probed) == 1
    assert bench.reports == []


def test_a_new_target_is_probed_at_once_on_refresh(loop: Loop, monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench(loop, monkeypatch, Target("a"))

    def come() -> None:
        bench.targets.append(Target("b"))
        bench.prober.refresh()

    loop.call_at(loop.now + 0.05, come)
    bench.run(PATIENCE, reports=2)
    assert bench.reports == ["a", "b"]


def test_advancing_the_clock_makes_probes_due(loop: Loop, monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench(loop, monkeypatch, Target("a"))
    loop.call_at(loop.now + 0.03, lambda: loop.advance(1))
    bench.run(PATIENCE, reports=2)
    assert bench.reports == ["a", "a"]
    assert bench.probed[1] >= 1


def test_however_often_a_probe_is_due_before_another_one_timer_waits_for_each(
    loop: Loop, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = Bench(loop, monkeypatch, Target("a"), Target("b", initial=True), duration=0.003)
    timers: list[int] = []
    bench.on_probe = lambda: timers.append(len(loop._timers))
    bench.run(PATIENCE, reports=60)
    assert max(timers) <= 2 + len(bench.targets)  # the prober's, and the two of `run`
