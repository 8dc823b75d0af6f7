"""Cookies as RFC 6265 has them, in a file that curl reads and writes."""

from __future__ import annotations

import pytest

from gwlbemu.programs.cookies import Cookie, CookieJar, parse

NOW = 1_795_888_000.0  # 2026-11-28
HOST = "web.elb.lab"


def cookie(header: str, path: str = "/a/b") -> Cookie:
    found = parse(header, HOST, path, NOW)
    assert found is not None
    return found


def test_a_cookie_of_a_load_balancer_has_its_expiry_and_flags() -> None:
    """As observed of AWS: Expires a week later, Path, SameSite and Secure."""
    found = cookie("AWSALBCORS=x/+=; Expires=Sat, 05 Dec 2026 17:34:00 GMT; Path=/; SameSite=None; Secure")
    assert (found.name, found.value, found.path, found.domain) == ("AWSALBCORS", "x/+=", "/", HOST)
    assert (found.secure, found.same_site, found.http_only, found.host_only) == (True, "None", False, True)
    assert found.expires == 1_796_492_040


@pytest.mark.parametrize(
    ("header", "expires"),
    [
        ("a=b", 0),
        ("a=b; Max-Age=10", int(NOW) + 10),
        ("a=b; Max-Age=10; Expires=Sat, 05 Dec 2026 17:34:00 GMT", int(NOW) + 10),
        ("a=b; Max-Age=0", int(NOW)),
        ("a=b; Max-Age=soon", 0),
        ("a=b; Expires=one day", 0),
        ("a=b; expires=Thu, 01 Jan 1970 00:00:00 GMT", 1),
    ],
)
def test_when_a_cookie_is_gone(header: str, expires: int) -> None:
    assert cookie(header).expires == expires


@pytest.mark.parametrize("header", ["", "novalue", "=x", "a=b; Domain=other.lab", "a=b; Domain=b.lab"])
def test_what_is_no_cookie_of_this_host_is_left_alone(header: str) -> None:
    assert parse(header, HOST, "/", NOW) is None


def test_where_a_cookie_goes() -> None:
    own, below = cookie("a=1"), cookie("b=2; Domain=.elb.lab; Path=/x")
    assert own.path == "/a"
    assert own.fits(HOST, "/a/c", secure=False)
    assert not own.fits(HOST, "/ab", secure=False)
    assert not own.fits("elb.lab", "/a/c", secure=False)
    assert below.fits("other.elb.lab", "/x", secure=False)
    assert not below.fits("elb.labs", "/x", secure=False)
    assert not cookie("a=1; Secure; Path=/").fits(HOST, "/", secure=False)


def test_a_jar_keeps_the_newest_drops_what_expired_and_sends_longer_paths_first() -> None:
    jar = CookieJar()
    for header in ("a=1; Path=/", "a=2; Path=/", "c=3; Path=/x", "gone=1; Path=/", "gone=1; Path=/; Max-Age=0"):
        jar.take(cookie(header), NOW)
    jar.take(cookie("late=1; Path=/; Max-Age=5"), NOW)
    names = [f"{each.name}={each.value}" for each in jar.fitting(HOST, "/x/y", secure=False, now=NOW)]
    assert names == ["c=3", "a=2", "late=1"]
    assert "late" not in {each.name for each in jar.fitting(HOST, "/x/y", secure=False, now=NOW + 6)}


def test_a_file_is_read_as_it_was_written() -> None:
    jar = CookieJar()
    for header in ("a=1; Path=/; HttpOnly", "b=x=y; Domain=elb.lab; Secure; Max-Age=60"):
        jar.take(cookie(header), NOW)
    text = jar.to_text()
    assert f"#HttpOnly_{HOST}\tFALSE\t/\tFALSE\t0\ta\t1\n" in text
    assert f".elb.lab\tTRUE\t/a\tTRUE\t{int(NOW) + 60}\tb\tx=y\n" in text
    assert CookieJar.from_text(text).to_text() == text


@pytest.mark.parametrize("line", ["one two", "h\tFALSE\t/\tFALSE\tsoon\ta\t1", "h\tFALSE\t/\tFALSE\t0\ta"])
def test_a_file_of_another_form_is_refused_with_its_line(line: str) -> None:
    with pytest.raises(ValueError, match="line 2: expected 7 fields"):
        CookieJar.from_text(f"# comment\n{line}\n")
