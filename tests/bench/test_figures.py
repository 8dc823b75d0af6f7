"""Figures follow from raw series, round by round; nothing here is measured."""

from __future__ import annotations

import pytest

from gwlbemu.bench.figures import EXPERIMENTS, FIGURES, Figure, Spread, chosen, spread
from gwlbemu.bench.results import Results
from gwlbemu.errors import SettingError


def results(**series: dict[str, list[float]]) -> Results:
    return Results(series={name.replace("_", "-"): paths for name, paths in series.items()})


def figure(name: str) -> Figure:
    return next(each for each in FIGURES if each.name == name)


def test_a_ratio_is_taken_round_by_round_and_not_of_the_medians() -> None:
    measured = results(packets={"fast": [80.0, 50.0, 90.0], "plain": [100.0, 100.0, 50.0]})
    assert figure("packets").spread(measured) == Spread(0.8, 0.5, 1.8)


def test_an_added_time_is_a_difference() -> None:
    measured = results(round_trip={"fast": [30.0, 28.0], "plain": [20.0, 24.0]})
    assert figure("round-trip").values(measured) == [10.0, 4.0]


def test_a_round_that_one_side_lacks_is_left_out() -> None:
    measured = results(packets={"fast": [80.0, 50.0], "plain": [100.0]})
    assert figure("packets").values(measured) == [0.8]


@pytest.mark.parametrize(
    ("value", "verdict"), [(0.95, "aim reached"), (0.9, "aim reached"), (0.7, "reached"), (0.69, "NOT REACHED")]
)
def test_more_is_better_for_a_rate(value: float, verdict: str) -> None:
    assert figure("packets").verdict(results(packets={"fast": [value], "plain": [1.0]})) == verdict


@pytest.mark.parametrize(
    ("value", "verdict"), [(400.0, "aim reached"), (401.0, "reached"), (700.0, "reached"), (701.0, "NOT REACHED")]
)
def test_less_is_better_for_memory(value: float, verdict: str) -> None:
    assert figure("memory").verdict(results(memory={"fast": [value]})) == verdict


def test_a_limit_without_an_aim_can_be_reached_and_missed() -> None:
    assert figure("packets-vxlan").verdict(results(packets={"fast": [2.5], "vxlan": [1.0]})) == "reached"
    assert figure("packets-vxlan").verdict(results(packets={"fast": [2.4], "vxlan": [1.0]})) == "NOT REACHED"


def test_what_is_not_there_is_said_with_its_reason() -> None:
    measured = results(packets={"fast": [1.0]})
    measured.missing["ovs"] = "not installed"
    assert figure("packets-ovs").verdict(measured) == "not measured: ovs: not installed"


def test_a_path_that_failed_in_one_experiment_is_said_with_the_reason_of_that_experiment() -> None:
    measured = results(packets={"fast": [1.0]})
    measured.missing["packets/vxlan"] = "no packet arrived"
    assert figure("packets-vxlan").verdict(measured) == "not measured: vxlan: no packet arrived"


def test_without_a_fast_node_the_figures_are_the_python_nodes() -> None:
    measured = results(packets={"python": [20.0], "plain": [100.0]})
    assert figure("packets").spread(measured) is None
    measured.subject = "python"
    assert figure("packets").spread(measured) == Spread(0.2, 0.2, 0.2)


def test_the_table_of_the_limits_is_the_one_that_was_agreed() -> None:
    agreed = {
        "tcp-super": (0.90, 1.0), "tcp-wire": (0.40, 0.5), "tcp-super-1500": (0.90, 1.0), "tcp-wire-1500": (0.40, 0.5),
        "packets": (0.70, 0.9), "packets-vxlan": (2.5, None),
        "packets-ovs": (3.5, None), "round-trip": (15, 5), "python": (150_000, 280_000), "python-scapy": (150, None),
        "new-flows": (20_000, 50_000), "crowd": (0.8, 0.95), "memory": (700, 400), "lab-up": (2.5, 1.5),
        "lab-up-100": (1.0, 0.5), "pause": (50, 25), "memory-full": (1400, 800),
        "network-packets": (0.75, 0.85), "network-tcp": (0.75, 0.95), "network-held": (0.999, None),
        "application": (0.8, 0.9), "application-held": (0.999, None), "application-change": (0, None),
        "inspect": (0.7, 1.0), "inspect-journeys": (0.4, 0.7), "inspect-memory": (150, None),
    }  # fmt: skip
    assert {each.name: (each.needed, each.aimed) for each in FIGURES if each.needed is not None} == agreed


def test_a_figure_is_chosen_by_its_name_or_its_experiments() -> None:
    assert [each.name for each in chosen(("round-trip",))] == ["round-trip"]
    assert [each.name for each in chosen(("tcp",))] == ["tcp-super", "tcp-wire", "tcp-super-1500", "tcp-wire-1500"]
    assert chosen(()) == FIGURES
    assert {each.experiment for each in FIGURES} == set(EXPERIMENTS)


def test_an_even_number_of_rounds_has_its_middle_between_two() -> None:
    assert spread([4.0, 1.0, 2.0, 3.0]) == Spread(2.5, 1.0, 4.0)


def test_results_survive_a_file() -> None:
    measured = Results(machine={"cpu": "x"}, subject="python", missing={"ovs": "not installed"}, notes=["n"])
    measured.add("packets", "plain", 5.0, loss=0.25)
    measured.add("packets", "plain", 6.0, loss=0.5)
    assert Results.from_json(measured.to_json()) == measured
    assert measured.loss == {"packets": {"plain": [0.25, 0.5]}}


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"format": 0}', '{"format": 1, "colour": "red"}'], ids=["empty", "list", "no format",
    "other format", "unknown key"]
)  # fmt: skip
def test_a_file_that_is_no_result_is_refused(text: str) -> None:
    with pytest.raises(SettingError):
        Results.from_json(text)
