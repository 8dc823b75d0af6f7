"""The validation of tokens by HAProxy itself, and the keys that it is given."""

from __future__ import annotations

import json
import time
from base64 import urlsafe_b64encode
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from gwlbemu.core.elb.rules import JWT_VALIDATION, Action, Claim, Condition, JwtValidation, Rule
from gwlbemu.lab import engines
from gwlbemu.programs.application import jwks
from gwlbemu.programs.application.jwks import JwksError
from tests.programs.application.http_lab import Lab, engine, forward, listener, pool, running

pytestmark = [pytest.mark.skipif(engines.missing() is not None, reason="needs HAProxy")]
ENDPOINT, ISSUER = "https://idp.example/keys", 'https://idp.example/"a"'
CLAIMS = (
    Claim("aud", "single-string", ("web", "a 'b'")),
    Claim("roles", "string-array", ("reader", 'wri"ter')),
    Claim("scope", "space-separated-values", ("items:read", "a.b")),
)
GOOD = {"iss": ISSUER, "aud": "web", "roles": ["x", "reader", 'wri"ter'], "scope": "a.b x items:read"}


@cache
def _private(name: str) -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65537, 2048)


def _b64(raw: bytes) -> str:
    return urlsafe_b64encode(raw).decode().rstrip("=")


def _jwk(name: str, **more: object) -> dict[str, object]:
    numbers = _private(name).public_key().public_numbers()
    texts = {
        key: _b64(value.to_bytes((value.bit_length() + 7) // 8)) for key, value in (("n", numbers.n), ("e", numbers.e))
    }
    return {"kty": "RSA", "use": "sig", "alg": "RS256", **texts, **more}


def _token(claims: dict[str, object], key: str = "one", **header: object) -> str:
    parts = [_b64(json.dumps(each).encode()) for each in ({"alg": "RS256", "typ": "JWT", **header}, claims)]
    signed = _private(key).sign(".".join(parts).encode(), padding.PKCS1v15(), hashes.SHA256())
    return ".".join((*parts, _b64(signed)))


def _status(lab: Lab, path: str, token: str, scheme: str = "Bearer") -> int:
    return lab.ask(path, f"Authorization: {scheme} {token}").status


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    """A listener that wants a token on /token, and one with more claims on /claims."""
    document = {"keys": [_jwk("one", kid="one"), _jwk("two", kid="two")]}
    keys = {ENDPOINT: jwks.write(json.dumps(document).encode(), tmp_path)}
    rules = [
        Rule(
            number,
            (Condition("path-pattern", (path,)),),
            (Action(JWT_VALIDATION, jwt_validation=JwtValidation(ENDPOINT, ISSUER, claims)), forward("web")),
        )
        for number, (path, claims) in enumerate((("/token", ()), ("/claims", CLAIMS)), 1)
    ]
    balancer = engine(listener(*rules), pools=[pool("web", ("a", "127.0.2.1", 8000))])
    with running(tmp_path, balancer, keys=keys) as lab:
        yield lab


def _claims(**more: Any) -> dict[str, Any]:
    given = {"iss": ISSUER, "exp": int(time.time()) + 600, **more}
    return {name: value for name, value in given.items() if value is not None}


@pytest.mark.namespace
@pytest.mark.contract("AL-15")
def test_a_token_that_is_valid_is_forwarded_as_it_is(lab: Lab) -> None:
    now = int(time.time())
    for token in (
        _token(_claims(), kid="one"),
        _token(_claims(), "two", kid="two"),
        _token(_claims(), "two"),  # no kid: any key will do
        _token(_claims(nbf=now - 5, iat=now - 5), kid="one"),
    ):
        answer = lab.ask("/token", f"Authorization: Bearer {token}")
        assert answer.status == 200
        assert answer.seen.value("Authorization") == f"Bearer {token}"
    assert lab.ask("/").status == 200
    assert (lab.counter("jwt_accepted"), lab.counter("jwt_refused")) == (4, 0)


@pytest.mark.namespace
@pytest.mark.contract("AL-15")
def test_every_failure_is_401(lab: Lab) -> None:
    now = int(time.time())
    good = _token(_claims(), kid="one")
    head, body, signature = good.split(".")
    other_body = _b64(json.dumps(_claims(sub="root")).encode())
    bad = {
        "expired": _token(_claims(exp=now - 5), kid="one"),
        "no exp": _token(_claims(exp=None), kid="one"),
        "exp is text": _token(_claims(exp="soon"), kid="one"),
        "not yet": _token(_claims(nbf=now + 600), kid="one"),
        "issued later": _token(_claims(iat=now + 600), kid="one"),
        "another issuer": _token(_claims(iss="https://other.example"), kid="one"),
        "no issuer": _token(_claims(iss=None), kid="one"),
        "another key": _token(_claims(), "three", kid="one"),
        "the other key's id": _token(_claims(), "two", kid="one"),
        "an unknown id": _token(_claims(), kid="nine"),
        "forged": f"{head}.{other_body}.{signature}",
        "not signed": f"{_b64(json.dumps({'alg': 'none'}).encode())}.{body}.",
        "HS256": _token(_claims(), kid="one", alg="HS256"),
        "RS512": _token(_claims(), kid="one", alg="RS512"),
        "no token": "x",
        "empty": "",
    }
    assert {name: _status(lab, "/token", token) for name, token in bad.items()} == dict.fromkeys(bad, 401)
    assert _status(lab, "/token", good, "Basic") == 401
    answer = lab.ask("/token")
    assert (answer.status, answer.value("Server")) == (401, "awselb/2.0")
    assert b"<center><h1>401 Authorization Required</h1></center>" in answer.body
    assert (lab.counter("jwt_refused"), lab.counter("elb_401")) == (len(bad) + 2, len(bad) + 2)
    assert _status(lab, "/token", good) == 200


@pytest.mark.namespace
@pytest.mark.contract("AL-15")
@pytest.mark.parametrize("name", ["https://web.example/what", "a[0]", "a.b"])
def test_the_name_of_a_claim_may_look_like_a_path(name: str, tmp_path: Path) -> None:
    keys = {ENDPOINT: jwks.write(json.dumps({"keys": [_jwk("one", kid="one")]}).encode(), tmp_path)}
    formats: dict[str, tuple[list[object], list[object]]] = {
        "single-string": (["x y", 'q"'], ["x", "x yz", ["x y"], None]),
        "string-array": ([["z", "x y", 'q"']], [["x y"], "x y", None]),
        "space-separated-values": (
            ['x y q"', 'z x y q" z', 'q" z x y'],
            ["x y", 'xx y q"', 'x y q"z', ["x y", 'q"'], None],
        ),
    }
    rules = []
    for number, format_ in enumerate(formats, 1):
        claim = Claim(name, format_, ("x y", 'q"'))
        wanted = Action(JWT_VALIDATION, jwt_validation=JwtValidation(ENDPOINT, ISSUER, (claim,)))
        rules.append(Rule(number, (Condition("path-pattern", (f"/{number}",)),), (wanted, forward("web"))))
    balancer = engine(listener(*rules), pools=[pool("web", ("a", "127.0.2.1", 8000))])
    with running(tmp_path, balancer, keys=keys) as lab:
        for number, (good, bad) in enumerate(formats.values(), 1):
            for status, values in (200, good), (401, bad):
                for value in values:
                    token = _token(_claims(a={"b": "x y"}, **{name: value}), kid="one")
                    assert _status(lab, f"/{number}", token) == status, (number, value)


@pytest.mark.namespace
@pytest.mark.contract("AL-15")
def test_additional_claims_in_three_formats(lab: Lab) -> None:
    good = {
        "as asked": {},
        "the other value": {"aud": "a 'b'"},
        "among others": {"other": {"roles": ["]"]}, "roles": [["]"], {"a": 1}, "reader", -1.5e3, 'wri"ter', None]},
        "no other": {"roles": ["reader", 'wri"ter'], "scope": "items:read a.b"},
    }
    bad: dict[str, dict[str, object]] = {
        "another aud": {"aud": "webb"},
        "no aud": {"aud": None},
        "one role is missing": {"roles": ["reader", "x"]},
        "no roles": {"roles": None},
        "roles are no array": {"roles": "reader"},
        "roles elsewhere": {"roles": ["x"], "other": {"roles": ["reader", 'wri"ter']}},
        "roles in a text": {"roles": ["x"], "other": '"roles":["reader", "wri\\"ter"]'},
        "part of a role": {"roles": ["readers", 'wri"ter']},
        "one scope is missing": {"scope": "items:read"},
        "a scope like it": {"scope": "items:read axb"},
        "part of a scope": {"scope": "items:reads a.b"},
    }
    for wanted, cases in (200, good), (401, bad):
        for name, claims in cases.items():
            assert _status(lab, "/claims", _token(_claims(**{**GOOD, **claims}), kid="one")) == wanted, name  # type: ignore[dict-item]


@pytest.mark.namespace
@pytest.mark.contract("AL-15")
def test_without_keys_no_token_is_accepted(tmp_path: Path) -> None:
    wants = Action(JWT_VALIDATION, jwt_validation=JwtValidation(ENDPOINT, ISSUER))
    balancer = engine(listener(default=(wants, forward("web"))), pools=[pool("web", ("a", "127.0.2.1", 8000))])
    with running(tmp_path, balancer) as lab:
        assert _status(lab, "/", _token(_claims(), kid="one")) == 401


def test_keys_for_rs256_become_files(tmp_path: Path) -> None:
    others = [
        {"kty": "EC", "kid": "ec"},
        _jwk("one", kid="enc", use="enc"),
        _jwk("one", kid="rs512", alg="RS512"),
    ]
    document = json.dumps({"keys": [*others, _jwk("one", kid="one"), {**_jwk("two"), "alg": "RS256"}]}).encode()
    keys = jwks.write(document, tmp_path)
    assert [key.kid for key in keys] == ["one", ""]
    assert jwks.write(document, tmp_path) == keys
    assert sorted(each.name for each in tmp_path.iterdir()) == sorted(key.file for key in keys)
    assert all((tmp_path / key.file).read_text().startswith("-----BEGIN PUBLIC KEY-----\n") for key in keys)


@pytest.mark.parametrize(
    "document",
    [
        b"",
        b"[]",
        b"[" * 100_000,
        b'{"keys": 1}',
        b'{"keys": [',
        b"\xff",
        b" " * 150_001,
        json.dumps({"keys": [{}] * 11}).encode(),
    ],
)
def test_what_is_no_set_of_keys_is_refused(document: bytes, tmp_path: Path) -> None:
    with pytest.raises(JwksError):
        jwks.write(document, tmp_path)


@pytest.mark.parametrize("change", [{"n": None}, {"n": "!!"}, {"n": "AQAB"}, {"e": ""}, {"e": 5}, {"e": "AA"}])
def test_a_key_that_is_none_is_refused(change: dict[str, object], tmp_path: Path) -> None:
    with pytest.raises(JwksError):
        jwks.write(json.dumps({"keys": [_jwk("one") | change]}).encode(), tmp_path)
