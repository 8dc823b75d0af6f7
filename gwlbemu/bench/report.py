"""Results as text: the figures with their limits, the series they come from, and the ratio to an earlier run."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from gwlbemu.bench.figures import Figure, Spread, spread
from gwlbemu.bench.results import Results

UNITS = {
    "tcp-super": "Gbit/s", "tcp-wire": "Gbit/s", "tcp-super-1500": "Gbit/s", "tcp-wire-1500": "Gbit/s",
    "packets": "packets/s", "round-trip": "us", "new-flows": "flows/s", "crowd": "packets/s", "memory": "bytes",
    "inspect": "packets/s", "inspect-memory": "MiB", "lab-up": "s", "lab-up-instance": "s",
    "tcp-network": "Gbit/s", "new-connections": "flows/s", "kernel-memory": "bytes", "flush": "s",
}  # fmt: skip


def number(value: float, unit: str = "") -> str:
    """Three figures that count, thousands apart."""
    if unit in ("packets/s", "flows/s", "bytes"):
        return f"{value:,.0f}"
    if unit == "us":
        return f"{value:.1f}"
    return f"{value:.3g}" if abs(value) < 100 else f"{value:,.0f}"


def shown(found: Spread, unit: str) -> str:
    """Return median, least, greatest and unit as text."""
    low, high = number(found.least, unit), number(found.most, unit)
    return f"{number(found.median, unit)} ({low}-{high}) {unit}"


def limit(figure: Figure, value: float | None) -> str:
    """Return a figure's limit as text."""
    if value is None:
        return "-"
    return f"{'<=' if figure.at_most else '>='} {number(value, figure.unit)}"


def columns(rows: Sequence[Sequence[str]]) -> list[str]:
    """Return rows as lines of text in columns, two spaces apart."""
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    return ["  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip() for row in rows]


def figure_rows(figures: Iterable[Figure], results: Results) -> list[list[str]]:
    """Name, measured, must reach, aim, verdict of each figure."""
    rows = []
    for figure in figures:
        found = figure.spread(results)
        rows.append(
            [
                figure.title,
                shown(found, figure.unit) if found else "-",
                limit(figure, figure.needed),
                limit(figure, figure.aimed),
                figure.verdict(results),
            ]
        )
    return rows


def series_rows(results: Results) -> list[list[str]]:
    """Experiment, path, median (least-most), rounds, loss of every series."""
    rows = []
    for experiment, paths in results.series.items():
        for path, values in paths.items():
            lost = results.loss.get(experiment, {}).get(path)
            loss = f"{spread(lost).median:.1%}" if lost else "-"
            unit = UNITS.get(experiment, "")
            rows.append([experiment, path, shown(spread(values), unit), str(len(values)), loss])
    return rows


def text(figures: Sequence[Figure], results: Results) -> str:
    """Return the whole report, as text."""
    lines = [f"{key}: {value}" for key, value in (results.machine | results.settings).items()]
    lines += [f"figures of: the {results.subject} node", ""]
    lines += columns([["figure", "median (min-max)", "must reach", "aim", "verdict"], *figure_rows(figures, results)])
    rows = series_rows(results)
    if rows:
        lines += ["", *columns([["series", "path", "median (min-max)", "rounds", "loss"], *rows])]
    lines += [f"not measured: {path}: {reason}" for path, reason in results.missing.items()]
    lines += [f"note: {note}" for note in results.notes]
    return "\n".join(lines)


def comparison(figures: Iterable[Figure], now: Results, before: Results) -> str:
    """Each figure and series that both runs have: before, now, and now / before."""
    rows = [["compared with the earlier run", "before", "now", "now/before"]]
    for figure in figures:
        rows += _compared(figure.title, figure.unit, figure.values(before), figure.values(now))
    for experiment, paths in now.series.items():
        for path, values in paths.items():
            earlier = before.series.get(experiment, {}).get(path, [])
            rows += _compared(f"{experiment}: {path}", UNITS.get(experiment, ""), earlier, values)
    lines = columns(rows)
    differing = [key for key in now.machine if before.machine.get(key) != now.machine[key]]
    lines += [f"note: another {key}: {before.machine.get(key, 'unknown')}" for key in differing]
    return "\n".join(lines)


def _compared(title: str, unit: str, before: list[float], now: list[float]) -> list[list[str]]:
    if not before or not now:
        return []
    earlier, later = spread(before), spread(now)
    ratio = f"{later.median / earlier.median:.2f}" if earlier.median else "-"
    return [[title, shown(earlier, unit), shown(later, unit), ratio]]
