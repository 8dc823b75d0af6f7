"""The validation of a token in HAProxy's language (ALB guide, Verify JWTs using an Application Load Balancer).

Signed with RS256 by a key of the issuer's, `iss` and `exp` required, `nbf` and `iat` not in the future where they are
there. Choices of ours: a claim of format single-string has to be one of its values, one of the other formats has to
have them all; an answer 401 has a page as every other one; a token is refused while no key could be fetched.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence

from gwlbemu.core.elb.rules import Claim, JwtValidation
from gwlbemu.programs.application import pages
from gwlbemu.programs.application.jwks import Key
from gwlbemu.programs.application.words import argument, when, word

_TIMES = ("exp", "nbf", "iat")


def validation(
    wanted: JwtValidation, keys: Sequence[Key], condition: str, mark: str, idle_seconds: int
) -> Iterator[str]:
    """Yield the rules that answer 401 where a request's token is not as `wanted`.

    `idle_seconds` is how long a client of HTTP/2 may take for the body of a refused request, 0 of a listener without.
    """
    good = "{ var(txn.valid) -m found }"
    yield f"http-request set-var(txn.token) http_auth_bearer{when(condition)}"
    yield f"http-request set-var(txn.alg) {_header('alg')}{when(condition)}"
    yield f"http-request set-var(txn.kid) {_header('kid')}{when(condition)}"
    for key in keys:
        it = f"{{ var(txn.kid) -m str -- {word(key.kid)} }}"
        signed = f"{{ {word(f'var(txn.token),jwt_verify(txn.alg,{argument(key.file)})')} -m int 1 }}"
        for named in (it, "!{ var(txn.kid) -m found }") if key.kid else ("",):
            yield f"http-request set-var(txn.valid) bool(true){when(condition, _RS256, named, signed)}"
    if any(map(_is_found_in_payload, wanted.claims)):
        yield f"http-request set-var(txn.payload) var(txn.token),field(2,.),ub64dec{when(condition)}"
    for name in _TIMES:
        yield f"http-request set-var(txn.{name}) {_claim(name, number=True)}{when(condition)}"
    yield f"http-request set-var(txn.now) date{when(condition)}"
    wrong = [
        f"!{{ {_claim('iss')} -m str -- {word(wanted.issuer)} }}",
        "!{ var(txn.exp),sub(txn.now) gt 0 }",
        *(f"{{ var(txn.{name}),sub(txn.now) gt 0 }}" for name in _TIMES[1:]),
        *(f"!{{ {check} }}" for claim in wanted.claims for check in _checks(claim)),
    ]
    yield from (f"http-request unset-var(txn.valid){when(condition, good, each)}" for each in wrong)
    yield f"http-request set-var(txn.checked) str(accepted){when(condition, good)}"
    yield f"http-request set-var(txn.checked) str(refused){when(condition, f'!{good}')}"
    yield f"http-request {pages.counted(pages.ACCEPTED)}{when(condition, good)}"
    yield f"http-request {pages.counted(pages.REFUSED)}{when(condition, f'!{good}')}"
    if idle_seconds:
        yield pages.whole(idle_seconds, condition, f"!{good}")
    yield f"http-request return {pages.answer(401, mark)}{when(condition, f'!{good}')}"


_RS256 = "{ var(txn.alg) -m str RS256 }"


def _is_found_in_payload(claim: Claim) -> bool:
    """Whether HAProxy's query does not come to a claim: into an array, or by a name that it takes for a path."""
    return claim.format == "string-array" or bool(re.search(r"[.\[]", claim.name))


def _checks(claim: Claim) -> Iterator[str]:
    """What is asked of a claim, all of it."""
    sample = _claim(claim.name)
    if _is_found_in_payload(claim):
        yield from (f"var(txn.payload) -m reg -- {word(_member(claim.name, each))}" for each in _values(claim))
    elif claim.format == "single-string":
        yield f"{sample} -m str -- {' '.join(map(word, claim.values))}"
    else:
        yield from (f"{sample} -m reg -- {word(f'(^| ){re.escape(each)}( |$)')}" for each in claim.values)


# JSON (RFC 8259) as an expression: HAProxy 2.6 has no other way into an array.
_JSON = (
    r'(?(DEFINE)(?<s>"(?:[^"\\]++|\\.)*+")'
    r"(?<v>(?&s)|[-+.0-9a-zA-Z]++|\[(?:\s*+(?&v)\s*+,?)*+\s*+\]|\{(?:\s*+(?&p)\s*+,?)*+\s*+\})"
    r"(?<p>(?&s)\s*+:\s*+(?&v)))"
)


def _member(name: str, value: str) -> str:
    """The expression that finds a member of a JSON object, whose value begins with what the expression `value` is."""
    return rf"{_JSON}^\s*\{{(?:\s*(?&p)\s*,)*?\s*{_text(name)}\s*:\s*{value}"


def _values(claim: Claim) -> Iterator[str]:
    """The expressions for what a claim has to be, in JSON."""
    if claim.format == "single-string":
        yield f"(?:{'|'.join(map(_text, claim.values))})"
    elif claim.format == "string-array":
        yield from (rf"\[(?:\s*(?&v)\s*,)*?\s*{_text(each)}\s*[,\]]" for each in claim.values)
    else:
        inner = (_text(each)[1:-1] for each in claim.values)
        yield from (rf'"(?:(?:[^"\\]|\\.)*\ )?{each}(?:\ (?:[^"\\]|\\.)*)?"' for each in inner)


def _text(text: str) -> str:
    """The expression for a text in JSON."""
    return re.escape(json.dumps(text, ensure_ascii=False))


def _header(name: str) -> str:
    return word(f"var(txn.token),jwt_header_query({argument(f'$.{name}')})")


def _claim(name: str, *, number: bool = False) -> str:
    return word(f"var(txn.token),jwt_payload_query({argument(f'$.{name}')}{(number and ',int') or ''})")
