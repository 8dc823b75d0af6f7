"""What an application load balancer says by itself: AWS's pages, in HAProxy's language, and how often it has.

The texts of 502, 503 and 504 are AWS's; those of others are in the same form. What HAProxy finds wrong before it has a
request (no HTTP, a transfer encoding that it does not know, a client that stops within a header) it answers with its
own page, 400, 408 or 422: the text cannot change that.
"""

from __future__ import annotations

from gwlbemu.programs.application.words import when, word

REASONS = {
    301: "Moved Permanently",
    302: "Found",
    400: "Bad Request",
    401: "Authorization Required",
    405: "Method Not Allowed",
    408: "Request Time-out",
    414: "Request-URI Too Large",
    460: "Client Closed Request",
    463: "Too Many Forwarded Addresses",
    464: "Incompatible Protocol Version",
    500: "Internal Server Error",
    501: "Not Implemented",
    502: "Bad Gateway",
    503: "Service Temporarily Unavailable",
    504: "Gateway Time-out",
    505: "HTTP Version Not Supported",
    507: "Insufficient Storage",
}
_MADE_BY_HAPROXY = (400, 408, 500, 501, 502, 504)  # besides 503
_COUNTED = tuple(code for code in REASONS if code >= 400)
_CONNECT_SLACK = 20  # milliseconds by which a timeout may seem to come early

FIXED, REDIRECTED, TOO_LONG, ACCEPTED, REFUSED = (
    "fixed_responses",
    "redirects",
    "redirects_too_long",
    "jwt_accepted",
    "jwt_refused",
)
# The variables of the process that count, for `get var proc.NAME`, and what each counts.
COUNTERS = {f"elb_{code}": f"answers {code} of the load balancer itself" for code in _COUNTED} | {
    FIXED: "fixed responses",
    REDIRECTED: "redirects",
    TOO_LONG: "redirects that were not made, as the URL became too long",
    ACCEPTED: "tokens that were accepted",
    REFUSED: "tokens that were refused",
}


def page(title: str) -> str:
    """Return a page with this title, AWS's way."""
    said = f"<center><h1>{title}</h1></center>"
    lines = ("<html>", f"<head><title>{title}</title></head>", "<body>", said, "</body>", "</html>")
    return "".join(f"{line}\r\n" for line in lines)


def answer(code: int, mark: str) -> str:
    """Return what stands after `http-request return` for a page of the load balancer's own.

    `mark` is the header by which `afterwards` knows it, which no client sees.
    """
    return f"status {code} content-type text/html string {word(page(f'{code} {REASONS[code]}'))} {headers(mark)}"


def whole(idle_seconds: int, *conditions: str) -> str:
    """Return the rule that takes a request's body before an answer: else a client of HTTP/2 may see a failure."""
    return f"http-request wait-for-body time {idle_seconds}s{when(*conditions, '{ fc_http_major 2 }')}"


def headers(mark: str = "") -> str:
    """Return the headers of everything that the load balancer answers itself; an error has the `mark`, too."""
    return f'hdr Server awselb/2.0 hdr Date "%[date,http_date]"{mark and f" hdr {mark} 1"}'


def counted(name: str) -> str:
    """Return the words that count one more."""
    return f"set-var(proc.{name}) var(proc.{name}),add(1)"


def errors(mark: str, connect_milliseconds: int) -> list[str]:
    """Return the lines of a defaults section: AWS's pages in place of HAProxy's.

    HAProxy's 503 is a connection that could not be made: AWS's 504 where it timed out, else 502.
    """
    said = f"{_since(connect_milliseconds)},iif({REASONS[504]},{REASONS[502]})"
    title = f"%[{_since(connect_milliseconds)},iif(504,502)] %[{said}]"
    return [
        *(f"http-error {answer(code, mark)}" for code in _MADE_BY_HAPROXY),
        f"http-error status 503 content-type text/html lf-string {word(page(title))} {headers(mark)}",
    ]


def afterwards(mark: str, connect_milliseconds: int) -> list[str]:
    """Return a listener's rules for its own answers: the code that AWS has, its reason, the count."""
    timed_out = f"{{ {_since(connect_milliseconds)} -m bool }}"
    forwarded = "{ var(txn.begun) -m found }"
    return [
        "http-after-response allow if { status lt 400 }",
        f"http-after-response allow if !{{ res.hdr({mark}) -m found }}",
        f"http-after-response del-header {mark}",
        f"http-after-response set-status 504 if {{ status 503 }} {forwarded} {timed_out}",
        f"http-after-response set-status 502 if {{ status 503 }} {forwarded}",
        f"http-after-response set-status 460 if {{ status 400 }} {forwarded}",
        *(
            line
            for code in _COUNTED
            for line in (
                f'http-after-response set-status {code} reason "{REASONS[code]}" if {{ status {code} }}',
                f"http-after-response {counted(f'elb_{code}')} if {{ status {code} }}",
            )
        ),
    ]


def _since(milliseconds: int) -> str:
    """The expression of whether so much time went by since the request was given to a target."""
    return f"date(0,ms),sub(txn.begun),div({milliseconds - _CONNECT_SLACK}),bool"
