"""metrics: what CloudWatch would show of the load balancers, and what only gwlbemu knows."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import click

from gwlbemu.cli.common import echo, json_option, lab_option, name_silent, print_json, table
from gwlbemu.command import as_root
from gwlbemu.lab.running import RunningLab, open_lab
from gwlbemu.views.metrics import HOST_COUNTS, OURS, NodeCounters, Point, points, read_counters


@click.command("metrics")
@lab_option
@json_option
@click.option("--prometheus", is_flag=True, help="Print Prometheus text exposition instead.")
@click.option(
    "--serve",
    "socket_path",
    type=click.Path(path_type=Path),
    metavar="SOCKET",
    help="Serve that text over HTTP on the Unix socket SOCKET for as long as the lab is up: "
    "curl --unix-socket SOCKET http://lab/metrics",
)
def metrics_command(lab_name: str | None, as_json: bool, prometheus: bool, socket_path: Path | None) -> int:
    """The metrics of each load balancer under AWS's names, as a whole and per zone; our own apart, under gwlbemu.

    Values are of the whole time since the lab came up. "-" means that CloudWatch would have no value: it is zero, and
    AWS reports the metric only when it is not. Exit code 1 when a node does not answer.
    """
    if as_json + prometheus + (socket_path is not None) > 1:
        raise click.UsageError("choose one of --json, --prometheus and --serve")
    lab = open_lab(lab_name)
    if socket_path is not None:
        _serve(lab, socket_path)
        return 0
    counters = read_counters(lab)
    if as_json:
        print_json([point.as_dict() for point in points(counters.items)])
    elif prometheus:
        from gwlbemu.views.prometheus import exposition

        echo(exposition(counters, _zones(lab)), nl=False)
    else:
        echo("\n".join(metrics_lines(counters.items)))
    name_silent(each.sentence for each in counters.silent)
    return 1 if counters.silent else 0


def _zones(lab: RunningLab) -> dict[str, str]:
    return {node.name: node.zone for node in lab.plan.nodes}


def _serve(lab: RunningLab, path: Path) -> None:
    from gwlbemu.views.prometheus import exposition, serve

    def hint() -> None:
        curl = as_root("curl", "--unix-socket", str(path), f"http://{lab.plan.lab}/metrics")
        echo(f"{curl}      (Ctrl-C ends it)", err=True)

    def scrape() -> str:
        return exposition(read_counters(lab), _zones(lab))

    try:
        serve(path, scrape, until=lambda: not lab.state.plan.exists(), on_listen=hint)
    except KeyboardInterrupt:
        return


def metrics_lines(counters: Iterable[NodeCounters]) -> Iterator[str]:
    """Yield a table per load balancer and namespace, AWS's first; its first numbers are the whole load balancer's."""
    found = points(counters)
    for dimension in dict.fromkeys(point.dimensions["LoadBalancer"] for point in found):
        mine = [point for point in found if point.dimensions["LoadBalancer"] == dimension]
        zones = list(dict.fromkeys(point.dimensions.get("AvailabilityZone", "") for point in mine))
        header = ["UNIT", "STATISTIC", "ALL ZONES", *(f"ZONE {zone}" for zone in zones if zone)]
        yield f"LoadBalancer {dimension}"
        groups = dict.fromkeys(point.dimensions["TargetGroup"] for point in mine if "TargetGroup" in point.dimensions)
        yield from (f"TargetGroup {group}" for group in groups)
        namespaces = dict.fromkeys(point.metric.namespace for point in mine)
        for namespace in sorted(namespaces, key=lambda name: name == OURS):
            yield "\n" + table(_rows(mine, namespace, zones), [namespace, *header])
        yield ""


def _rows(found: list[Point], namespace: str, zones: list[str]) -> list[list[str]]:
    cells: dict[tuple[str, str, str], dict[str, str]] = {}
    several = len({point.dimensions.get("TargetGroup") for point in found} - {None}) > 1
    for point in found:
        if point.metric.namespace == namespace:
            name = point.metric.name
            if reason := point.dimensions.get("Reason"):
                name += f" Reason={reason}"
            group = point.dimensions.get("TargetGroup")
            if group and (several or name not in HOST_COUNTS):
                name += f" of {group.split('/')[1]}"
            for statistic, value in point.statistics.items():
                row = cells.setdefault((name, point.metric.unit, statistic), {})
                row[point.dimensions.get("AvailabilityZone", "")] = f"{value:.15g}" if point.reported else "-"
    return [[*row, *(values.get(zone, "") for zone in zones)] for row, values in cells.items()]
