"""The same metrics for Prometheus: text exposition, and an HTTP server on a Unix socket. No port is opened anywhere.

Names follow Prometheus: aws_gatewayelb_processed_bytes_total{load_balancer="gateway/..", availability_zone="a"}. Only
the points of single zones are there: Prometheus adds up by itself, and a sum beside its parts would be counted twice.
"""

from __future__ import annotations

import re
import socket
from collections.abc import Callable, Iterator, Mapping
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from socketserver import UnixStreamServer

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from gwlbemu.errors import GwlbemuError, NetError
from gwlbemu.views.ask import Reading
from gwlbemu.views.metrics import HOST_COUNTS, NodeCounters, Point, points

CLIENT_SECONDS = 5.0  # for a client to say what it wants
LOOK_SECONDS = 0.5  # how often the server looks whether the lab is still there


def exposition(counters: Reading[NodeCounters], zones: Mapping[str, str]) -> str:
    """Return the text of one scrape. `zones` is the zone of every node; of a silent one `gwlbemu_node_up` is 0."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Once(counters, zones))
    return generate_latest(registry).decode()


class _Once(Collector):
    def __init__(self, counters: Reading[NodeCounters], zones: Mapping[str, str]) -> None:
        self._counters, self._zones = counters, zones

    def collect(self) -> Iterator[CounterMetricFamily | GaugeMetricFamily]:
        up = GaugeMetricFamily(
            "gwlbemu_node_up",
            "whether the node answers",
            labels=["availability_zone", "node"],
        )
        silent = {each.process for each in self._counters.silent}
        for node, zone in self._zones.items():
            up.add_metric([zone, node], float(node not in silent))
        yield up
        families: dict[str, CounterMetricFamily | GaugeMetricFamily] = {}
        for point in points(self._counters.items):
            if "AvailabilityZone" in point.dimensions:
                name = prometheus_name(point)
                family = families.setdefault(name, _family(name, point))
                family.add_metric(list(point.dimensions.values()), float(max(point.statistics.values())))
        yield from families.values()


def prometheus_name(point: Point) -> str:
    """Return namespace and name: ProcessedBytes of AWS/GatewayELB is aws_gatewayelb_processed_bytes.

    A counter's `_total` is added by the exposition. What is counted of a load balancer and of each of its target groups
    as well has another name for the groups, so that nothing is added up twice.
    """
    prefix = re.sub(r"\W+", "_", point.metric.namespace).lower()
    as_well = "TargetGroup" in point.dimensions and point.metric.name not in HOST_COUNTS
    return f"{prefix}_{_snake(point.metric.name)}{'_by_target_group' if as_well else ''}"


def _family(name: str, point: Point) -> CounterMetricFamily | GaugeMetricFamily:
    is_total = point.metric.statistics == ("Sum",) and not point.metric.is_level
    kind = CounterMetricFamily if is_total else GaugeMetricFamily
    text = f"{point.metric.name} ({point.metric.unit}): {point.metric.meaning}"
    return kind(name, text, labels=[_snake(dimension) for dimension in point.dimensions])


def _snake(name: str) -> str:
    """ProcessedBytes: processed_bytes; HTTPCode_ELB_5XX_Count: http_code_elb_5xx_count."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z]{2})", "_", name).lower()


class _Handler(BaseHTTPRequestHandler):
    timeout = CLIENT_SECONDS
    server: _Server

    def do_GET(self) -> None:
        if self.path not in ("/", "/metrics"):
            self.send_error(404, "ask for /metrics")
            return
        try:
            body = self.server.scrape().encode()
        except GwlbemuError as error:
            self.send_error(503, str(error))
            return
        self.send_response(200)
        self.send_header("Content-Type", CONTENT_TYPE_LATEST)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing: a scrape every few seconds is no news (and a Unix socket's client has no address)."""


class _Server(UnixStreamServer):
    def __init__(self, path: str, scrape: Callable[[], str]) -> None:
        self.scrape = scrape
        super().__init__(path, _Handler)

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that goes away in the middle is no error of ours."""


def serve(
    path: Path, scrape: Callable[[], str], *, until: Callable[[], bool], on_listen: Callable[[], None] = lambda: None
) -> None:
    """Answer GET /metrics on the Unix socket `path` until `until()`; the socket is removed at the end.

    `on_listen` is called once clients can come. A socket that nobody listens on any more makes way; NetError when
    somebody does, or the path cannot be used.
    """
    _make_way(path)
    try:
        server = _Server(str(path), scrape)
    except OSError as error:
        raise NetError(f"cannot listen on {path}: {error.strerror or error}") from error
    try:
        with server:
            server.timeout = LOOK_SECONDS
            on_listen()
            while not until():
                server.handle_request()
    finally:
        path.unlink(missing_ok=True)


def _make_way(path: Path) -> None:
    if not path.is_socket():
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(str(path))
        except OSError:
            path.unlink(missing_ok=True)
            return
    raise NetError(f"somebody listens on {path} already")
