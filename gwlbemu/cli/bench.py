"""bench: the figures of the README, side by side, as ratios."""

from __future__ import annotations

from pathlib import Path

import click

from gwlbemu.bench import report, svg
from gwlbemu.bench.figures import EXPERIMENTS, FIGURES, chosen
from gwlbemu.bench.results import Results
from gwlbemu.cli.common import need_root
from gwlbemu.cli.output import say
from gwlbemu.errors import SettingError

_FILE = click.Path(dir_okay=False, path_type=Path)


@click.command("bench")
@click.option("--quick", is_flag=True, help="Fewer and shorter rounds: about a minute, to see that it works.")
@click.option(
    "--only",
    "names",
    multiple=True,
    metavar="FIGURE",
    help=f"One figure or experiment; may be repeated. Experiments: {', '.join(EXPERIMENTS)}.",
)
@click.option("--json", "keep", type=_FILE, metavar="FILE", help="Keep the results there.")
@click.option("--compare", "earlier", type=_FILE, metavar="FILE", help="Print the ratio to an earlier --json FILE.")
@click.option(
    "--plot", "folder", type=click.Path(file_okay=False, path_type=Path), metavar="FOLDER", help="Write SVG plots."
)
def bench_command(
    quick: bool, names: tuple[str, ...], keep: Path | None, earlier: Path | None, folder: Path | None
) -> None:
    """Measure the data paths side by side: labs in namespaces, every load bounded, nothing left behind.

    The figures are ratios of what was measured seconds apart, with median, least and greatest of the rounds; pinned
    to two cores. A full run takes some five minutes.
    """
    figures = chosen(names)
    known = {figure.name for figure in FIGURES} | set(EXPERIMENTS)
    for name in names:
        if name not in known:
            raise click.UsageError(f"no figure {name}; there are {', '.join(figure.name for figure in FIGURES)}")
    before = _read(earlier) if earlier else None
    need_root()
    from gwlbemu.bench.run import measure
    from gwlbemu.bench.session import FULL, QUICK

    _check_places(keep, folder)
    results = measure(figures, QUICK if quick else FULL, lambda line: say(f"  {line}", err=True))
    if keep:
        keep.write_text(results.to_json())
    if folder:
        for name, text in svg.plots(results).items():
            (folder / name).write_text(text)
    say(report.text(figures, results))
    if before:
        say("\n" + report.comparison(figures, results, before))


def _check_places(keep: Path | None, folder: Path | None) -> None:
    """SettingError before anything is measured when the results could not be written."""
    try:
        if folder:
            folder.mkdir(parents=True, exist_ok=True)
        if keep:
            there = keep.exists()
            keep.open("a").close()
            if not there:
                keep.unlink()  # nothing is measured yet
    except OSError as error:
        raise SettingError(f"{error.filename}: {error.strerror}") from error


def _read(file: Path) -> Results:
    try:
        return Results.from_json(file.read_text())
    except OSError as error:
        raise SettingError(f"{file}: {error.strerror}") from error
    except SettingError as error:
        raise SettingError(f"{file}: {error}") from error
