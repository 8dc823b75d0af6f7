"""One plot per experiment: a bar per path up to the median, a whisker from least to most, limits as dashed lines."""

from __future__ import annotations

from html import escape

from gwlbemu.bench.figures import FIGURES, SUBJECT, Spread, spread
from gwlbemu.bench.report import UNITS, number
from gwlbemu.bench.results import Results

WIDTH, LEFT, RIGHT, TOP, ROW, BAR, LABEL = 760, 120, 150, 64, 34, 20, 15
RED = "#b3261e"
SPAN = WIDTH - LEFT - RIGHT
TITLES = {
    "tcp-super": "TCP throughput, super-packets on",
    "tcp-wire": "TCP throughput, wire mode",
    "tcp-super-1500": "TCP throughput, super-packets on, segments for 1500 bytes",
    "tcp-wire-1500": "TCP throughput, wire mode, segments for 1500 bytes",
    "packets": "64-byte packets/s, established flows",
    "round-trip": "Round-trip time of a UDP echo",
    "new-flows": "New flows/s, first packet to installed entry",
    "crowd": "64-byte packets/s with few and with many established flows",
    "memory": "Memory per flow, Python and map together",
    "lab-up": "Time until a lab is up and healthy",
    "lab-up-instance": "Time until a lab is up and healthy, per instance",
}
HUES = {"fast": "#1b7f5c", "fast-long": "#7fb8a3", "python": "#2f6db5", "crowd": "#1b7f5c", "few": "#7fb8a3"}


def plots(results: Results) -> dict[str, str]:
    """File name -> SVG text, one for each experiment that was measured."""
    return {
        f"{experiment}.svg": plot(experiment, {path: spread(values) for path, values in paths.items()}, results)
        for experiment, paths in results.series.items()
    }


def plot(experiment: str, bars: dict[str, Spread], results: Results) -> str:
    """Return the plot of one experiment as SVG; a limit that follows from another bar (0.7 x plain) is drawn there."""
    unit = UNITS.get(experiment, "")
    marks = limits(experiment, results)
    top = max([bar.most for bar in bars.values()] + [value for value, _ in marks]) or 1.0
    height = TOP + ROW * len(bars) + LABEL * len(marks) + 36
    text = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}"'
        ' font-family="sans-serif" font-size="13">',
        f'<rect width="{WIDTH}" height="{height}" fill="#ffffff"/>',
        f'<text x="16" y="26" font-size="16" font-weight="bold">{escape(TITLES.get(experiment, experiment))}</text>',
        f'<text x="16" y="46" fill="#555555">{escape(unit)}; median, least and greatest of the rounds</text>',
    ]
    for row, (path, bar) in enumerate(bars.items()):
        text += _bar(path, bar, TOP + row * ROW, top, unit)
    base = TOP + ROW * len(bars)
    for place, (value, label) in enumerate(marks):
        x = LEFT + SPAN * value / top
        label_y = base + LABEL * (place + 1)
        anchor, away = ("end", -5) if x > LEFT + SPAN / 2 else ("start", 5)
        text += [
            f'<path d="M{x:.1f} {TOP - 4}V{label_y}" stroke="{RED}" stroke-dasharray="4 3"/>',
            f'<text x="{x + away:.1f}" y="{label_y}" fill="{RED}" text-anchor="{anchor}" font-size="11">'
            f"{escape(label)}</text>",
        ]
    text.append(
        f'<text x="16" y="{height - 10}" fill="#777777" font-size="11">{escape(_words(results.machine))}</text></svg>'
    )
    return "\n".join(text) + "\n"


def _words(machine: dict[str, str]) -> str:
    return ", ".join(f"{value} cores" if key == "cores" else value for key, value in machine.items())


def _bar(path: str, bar: Spread, y: float, top: float, unit: str) -> list[str]:
    least, middle, most = (LEFT + SPAN * max(value, 0) / top for value in (bar.least, bar.median, bar.most))
    centre = y + BAR / 2
    return [
        f'<text x="{LEFT - 8}" y="{y + 15:.1f}" text-anchor="end">{escape(path)}</text>',
        f'<rect x="{LEFT}" y="{y}" width="{middle - LEFT:.1f}" height="{BAR}" fill="{HUES.get(path, "#9aa3ad")}"/>',
        f'<path d="M{least:.1f} {centre}H{most:.1f}M{least:.1f} {centre - 4}v8M{most:.1f} {centre - 4}v8"'
        ' stroke="#222222" fill="none"/>',
        f'<text x="{max(most, middle) + 8:.1f}" y="{y + 15:.1f}">{number(bar.median, unit)}</text>',
    ]


def limits(experiment: str, results: Results) -> list[tuple[float, str]]:
    """Return where the must-reach limits of an experiment's figures lie on its axis, with a word for each."""
    found = []
    for figure in FIGURES:
        if figure.series[0] != experiment or figure.needed is None:
            continue
        words = f"must reach {number(figure.needed, figure.unit)}"
        if figure.other is None:
            found.append((figure.needed, words))
            continue
        experiment_of, path = figure.other
        path = results.subject if path == SUBJECT else path
        values = results.series.get(experiment_of, {}).get(path)
        if values:
            middle = spread(values).median
            at = middle + figure.needed if figure.compare == "difference" else middle * figure.needed
            sign = "+ " if figure.compare == "difference" else "x "
            found.append((at, f"{number(figure.needed, figure.unit)} {sign}{path}"))
    return found
