"""http: requests from inside an instance: who answers, which cookies come and go, what the target sees."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import click

from gwlbemu.cli.common import echo, json_option, lab_option, need_root, print_json
from gwlbemu.errors import NetError, SettingError
from gwlbemu.lab.running import open_lab
from gwlbemu.trials.web.answers import BALANCER, HttpAnswer, HttpReport, ReceivedCookie
from gwlbemu.trials.web.requests import MOST, http

BAR, MOST_SHOWN = 40, 20  # columns of the longest bar; requests that have a line of their own


@click.command("http")
@click.argument("client")
@click.argument("url")
@lab_option
@click.option(
    "--cookies",
    "jar",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Keep cookies there, in curl's form; without it none are sent.",
)
@click.option(
    "--count", type=click.IntRange(1, MOST), default=1, show_default=True, metavar="N", help="How many requests."
)
@click.option("--keep-alive", is_flag=True, help="All of them over one connection, not each over a new one.")
@json_option
def http_command(
    client: str, url: str, lab_name: str | None, jar: Path | None, count: int, keep_alive: bool, as_json: bool
) -> int:
    """Send GET requests from inside the instance CLIENT and tell who answered: gwlbemu http client http://10.0.1.10/

    Names are asked of the lab's resolver, HTTPS is verified against the lab's authority, redirects are told and not
    followed. What the target saw of a request is told by the bundled web server, which also answers /login (it sets a
    cookie), /status/503, /delay/2 and /bytes/1000. Exit code 1 when a request got no answer.
    """
    lab = open_lab(lab_name)
    need_root()
    report, kept = http(lab, client, url, count=count, keep_alive=keep_alive, cookies=_read(jar) if jar else None)
    if jar is not None and kept is not None:
        _write(jar, kept)
    if as_json:
        print_json(report.as_dict())
    else:
        echo("\n".join(http_lines(report)))
    return 0 if report.ok else 1


def _read(path: Path) -> str:
    try:
        return path.read_text(errors="surrogateescape")
    except FileNotFoundError:
        return ""
    except OSError as error:
        raise SettingError(f"{path}: {error.strerror}") from None


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text, errors="surrogateescape")
    except OSError as error:
        raise NetError(f"{path}: {error.strerror}") from None


def http_lines(report: HttpReport) -> Iterator[str]:
    """Yield the text of a report: a line for each of the first requests, details of the first, and who answered."""
    shown = report.answers[:MOST_SHOWN]
    for answer in shown:
        yield _line(answer)
        if answer.number == 1:
            yield from (f"      {detail}" for detail in _details(answer))
    left = len(report.answers) - len(shown)
    if left:
        yield f"... {left} more"
    if len(report.answers) < report.wanted:
        yield f"! {report.wanted - len(report.answers)} of {report.wanted} requests were not sent: it took too long"
    if report.wanted > 1:
        yield ""
        yield from _distribution(report)


def _line(answer: HttpAnswer) -> str:
    milliseconds = f"{answer.seconds * 1000:.1f} ms"
    if answer.error:
        place = f" ({_place(answer)})" if answer.address else ""
        return f"{answer.number:>4}  no answer{place}: {answer.error}, after {milliseconds}"
    who = _target(BALANCER if answer.is_balancers else answer.target, answer.zone)
    return f"{answer.number:>4}  {answer.status}  {who}  {milliseconds}  by {_place(answer)}"


def _target(target: str, zone: str) -> str:
    if not target:
        return "nobody who says who it is"
    return f"{target} (zone {zone})" if zone else target


def _place(answer: HttpAnswer) -> str:
    return f"[{answer.address}]:{answer.port}" if ":" in answer.address else f"{answer.address}:{answer.port}"


def _details(answer: HttpAnswer) -> Iterator[str]:
    yield from (f"sent      cookie {name}={value}" for name, value in answer.cookies_sent.items())
    yield from (f"set       cookie {_cookie(cookie)}" for cookie in answer.cookies_set)
    for name in ("Location", "Server"):
        if value := answer.header(name):
            yield f"answer    {name}: {value}"
    if answer.seen:
        yield f"target    saw {answer.seen.get('peer_address')} port {answer.seen.get('peer_port')}"
    yield from (f"target    {name}: {value}" for name, value in answer.forwarded.items())


def _cookie(cookie: ReceivedCookie) -> str:
    until = "gone with the session"
    if cookie.expires:
        until = f"expires {datetime.fromtimestamp(cookie.expires, UTC):%Y-%m-%d %H:%M:%S} UTC"
    flags = [name for name, on in (("Secure", cookie.secure), ("HttpOnly", cookie.http_only)) if on]
    flags += [f"SameSite={cookie.same_site}"] if cookie.same_site else []
    return f"{cookie.name}={cookie.value}  ({'; '.join([until, f'path {cookie.path}', *flags])})"


def _distribution(report: HttpReport) -> Iterator[str]:
    """A bar for each target and zone, and how often which status came."""
    answered = sum(report.targets.values())
    rows = [(_target(name, report.zone_of(name)), count) for name, count in sorted(report.targets.items())]
    if len(report.zones) > 1:
        rows += [(f"zone {zone}" if zone else "no zone", count) for zone, count in report.zones.items()]
    width = max((len(name) for name, _ in rows), default=0)
    most = max((count for _, count in rows), default=1)
    for name, count in rows:
        bar = "#" * max(1, round(BAR * count / most))
        yield f"{name:<{width}}  {count:>5}  {count / answered:>6.1%}  {bar}"
    statuses: dict[int, int] = {}
    for answer in report.answers:
        if not answer.error:
            statuses[answer.status] = statuses.get(answer.status, 0) + 1
    told = [f"{status}: {count}" for status, count in sorted(statuses.items())]
    failed = sum(bool(answer.error) for answer in report.answers)
    yield f"status    {', '.join(told) or 'none'}" + (f"; no answer: {failed}" if failed else "")
