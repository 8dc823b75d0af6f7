"""The report, the comparison and the plots, from made-up numbers."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree

import pytest

from gwlbemu.bench import loads, machine, report, svg
from gwlbemu.bench.figures import FIGURES, Spread, chosen
from gwlbemu.bench.results import Results
from gwlbemu.errors import NetError

SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture
def measured() -> Results:
    found = Results(
        machine={"cpu": "a <fine> CPU", "cores": "2", "kernel": "Linux 6.18"},
        settings={"packets": "64 bytes"},
        missing={"ovs": "not installed"},
        notes=["a note"],
    )
    for fast, plain, vxlan in (
        (800_000, 1_000_000, 300_000),
        (700_000, 1_000_000, 310_000),
        (600_000, 800_000, 290_000),
    ):
        found.add("packets", "fast", fast, loss=0.0)
        found.add("packets", "plain", plain, loss=0.125)
        found.add("packets", "vxlan", vxlan)
    return found


def line(text: str, start: str) -> str:
    return next(each for each in text.splitlines() if each.startswith(start))


def test_each_figure_has_a_line_with_median_limits_and_verdict(measured: Results) -> None:
    text = report.text(FIGURES, measured)
    cells = re.split(r"  +", line(text, "64-byte packets/s, against plain routing"))
    assert cells[1:] == ["0.75 (0.7-0.8) x", ">= 0.7", ">= 0.9", "reached"]
    cells = re.split(r"  +", line(text, "64-byte packets/s, against kernel VXLAN"))
    assert cells[1:] == ["2.26 (2.07-2.67) x", ">= 2.5", "-", "NOT REACHED"]


def test_the_raw_series_stand_below_with_their_loss(measured: Results) -> None:
    text = report.text(FIGURES, measured)
    cells = re.split(r"  +", line(text, "packets  plain"))
    assert cells == ["packets", "plain", "1,000,000 (800,000-1,000,000) packets/s", "3", "12.5%"]


def test_machine_settings_gaps_and_notes_are_told(measured: Results) -> None:
    lines = report.text(FIGURES, measured).splitlines()
    for wanted in ("cpu: a <fine> CPU", "kernel: Linux 6.18", "packets: 64 bytes", "not measured: ovs: not installed"):
        assert wanted in lines
    assert "note: a note" in lines


def test_a_limit_that_must_not_be_passed_is_shown_as_such() -> None:
    (memory,) = chosen(("memory",))
    assert report.limit(memory, memory.needed) == "<= 700"


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [(0.8333, "x", "0.833"), (150.4, "x", "150"), (1234567.8, "packets/s", "1,234,568"), (4.96, "us", "5.0")],
)
def test_a_number_has_the_digits_that_count(value: float, unit: str, text: str) -> None:
    assert report.number(value, unit) == text


def test_a_comparison_names_what_both_runs_have_and_the_machine_that_differs(measured: Results) -> None:
    before = Results(machine={**measured.machine, "kernel": "Linux 6.12"})
    for fast, plain in ((400_000, 1_000_000), (350_000, 1_000_000), (300_000, 800_000)):
        before.add("packets", "fast", fast)
        before.add("packets", "plain", plain)
    text = report.comparison(chosen(("packets",)), measured, before)
    assert line(text, "64-byte packets/s, against plain routing").endswith("  2.00")
    assert line(text, "packets: fast").endswith("  2.00")
    assert line(text, "packets: plain").endswith("  1.00")
    assert "vxlan" not in text
    assert line(text, "note") == "note: another kernel: Linux 6.12"


def test_a_plot_has_a_bar_per_path_up_to_its_median(measured: Results) -> None:
    (name, text), *others = svg.plots(measured).items()
    assert name == "packets.svg"
    assert not others
    bars = ElementTree.fromstring(text).findall(f"{SVG}rect")[1:]
    widths = [float(bar.attrib["width"]) for bar in bars]
    assert widths[0] / widths[1] == pytest.approx(0.7, abs=0.001)
    assert len(widths) == 3


def test_the_whisker_goes_from_the_least_to_the_most() -> None:
    text = svg.plot("unlimited", {"one": Spread(50.0, 25.0, 100.0)}, Results())
    (whisker,) = ElementTree.fromstring(text).findall(f"{SVG}path")
    first, last = (float(x) for x in re.match(r"M([\d.]+) [\d.]+H([\d.]+)M", whisker.attrib["d"]).groups())  # type: ignore[union-attr]
    assert (first - svg.LEFT) / (last - svg.LEFT) == pytest.approx(0.25)
    assert last <= svg.WIDTH - svg.RIGHT


def test_limits_are_drawn_where_they_fall_among_the_bars(measured: Results) -> None:
    assert (0.7 * 1_000_000, "0.7 x plain") in svg.limits("packets", measured)
    assert (2.5 * 300_000, "2.5 x vxlan") in svg.limits("packets", measured)
    assert (150_000, "must reach 150,000") in svg.limits("packets", measured)


def test_a_plot_escapes_what_the_machine_says(measured: Results) -> None:
    assert "a &lt;fine&gt; CPU, 2 cores" in svg.plots(measured)["packets.svg"]


def test_a_series_of_nothing_but_zeros_can_be_plotted() -> None:
    ElementTree.fromstring(svg.plot("packets", {"one": Spread(0.0, 0.0, 0.0)}, Results()))


def test_the_cpus_name_and_its_absence() -> None:
    assert machine.cpu_model("processor\t: 0\nmodel name\t: EPYC 9\nmodel name\t: other\n") == "EPYC 9"
    assert machine.cpu_model("processor: 0\n") == "unknown"
    assert machine.kilobytes("VmPeak:\t 9 kB\nVmRSS:\t  12 kB\n", "VmRSS") == 12 * 1024


def test_iperfs_answer_and_its_errors() -> None:
    assert loads.throughput('{"end": {"sum_received": {"bits_per_second": 2.5e9}}}') == 2.5
    with pytest.raises(NetError, match="unable to connect"):
        loads.throughput('{"start": {}, "error": "unable to connect"}')


def test_loss_is_what_did_not_arrive_and_never_negative() -> None:
    assert loads.Delivered(100, 75, 0.5).loss == 0.25
    assert loads.Delivered(100, 75, 0.5).rate == 150
    assert loads.Delivered(100, 101, 1.0).loss == 0
