"""Sticky sessions in HAProxy's language: the cookies AWSALB, AWSALBAPP-n and AWSALBTG (ALB guide, Sticky sessions).

A cookie says who answered, when it was made, and something random; and what the load balancer's secret makes of that:
`base64url(WHO|SECONDS|RANDOM).HMAC`. Who is told by a name that says nothing. AWS's are encrypted, these are signed:
HAProxy 2.6 cannot do the other. A cookie is good in every node of the load balancer, and until its duration has gone by
since it was made; each answer makes a new one (both are our reading of the guide).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from gwlbemu.core.elb.rules import Action
from gwlbemu.programs.application import keyed
from gwlbemu.programs.application.words import argument, when, word

EXPIRES_SECONDS = 7 * 86400
BALANCER, GROUP, APPLICATION = "AWSALB", "AWSALBTG", "AWSALBAPP"
_SHARDS = 4  # of AWSALBAPP: what is in the first needs no other
# What the variables of each begin with: a request may have to do with both.
_OF_GROUP, _OF_TARGET = "txn.group", "txn.target"


def group(secret: bytes, action: Action, condition: str) -> Iterator[str]:
    """Yield the rules for requests: txn.pool is the group of a client that has been given one by this action."""
    yield from _read(_OF_GROUP, secret, (GROUP, f"{GROUP}CORS"), action.sticky_seconds, condition)
    for each in action.target_groups:
        known = f"{{ var({_OF_GROUP}_who) -m str {keyed.token(secret, f'group {each.target_group}')} }}"
        yield f"http-request set-var(txn.pool) str({each.target_group}){when(condition, known)}"


def group_answers(secret: bytes, groups: Sequence[str]) -> Iterator[str]:
    """Yield the rules for answers of actions that keep clients on a group."""
    for each in groups:
        chosen = f"{{ var(txn.pool) -m str {each} }}"
        yield f"http-response set-var(txn.group) str({keyed.token(secret, f'group {each}')}){when(chosen)}"
    has_one = "{ var(txn.group) -m found }"
    yield from _made(_OF_GROUP, secret, GROUP, "%[var(txn.group)]", has_one)
    yield from _cookie(_OF_GROUP, GROUP, has_one)
    yield from _cookie(_OF_GROUP, f"{GROUP}CORS", has_one, _ELSEWHERE)


def balancer(secret: bytes, seconds: int) -> Iterator[str]:
    """Yield the rules of a group with stickiness.type lb_cookie."""
    yield from _read(_OF_TARGET, secret, (BALANCER, f"{BALANCER}CORS"), seconds, "")
    yield _USED
    yield from _made(_OF_TARGET, secret, BALANCER, "%[srv_name]", "")
    yield from _cookie(_OF_TARGET, BALANCER, "")
    yield from _cookie(_OF_TARGET, f"{BALANCER}CORS", "", _ELSEWHERE)


def application(secret: bytes, name: str, seconds: int) -> Iterator[str]:
    """Yield the rules of a group with stickiness.type app_cookie.

    A session begins with an answer of the target's that sets the cookie `name`, and needs both cookies.
    """
    began = f"{{ {word(f'res.cook({argument(name)}),length')} gt 0 }}"
    goes_on = f"{{ var({_OF_TARGET}_who) -m found }}"
    has_its_own = f"{{ {word(f'req.cook({argument(name)})')} -m found }}"
    yield from _read(_OF_TARGET, secret, (f"{APPLICATION}-0",), seconds, has_its_own)
    yield _USED
    yield f"http-response set-var(txn.session) bool(true){when(began)}"
    yield f"http-response set-var(txn.session) bool(true){when(goes_on)}"
    has_one = "{ var(txn.session) -m found }"
    yield from _made(_OF_TARGET, secret, APPLICATION, "%[srv_name]", has_one)
    yield from _cookie(_OF_TARGET, f"{APPLICATION}-0", has_one)
    for number in range(1, _SHARDS):
        yield f'http-response add-header set-cookie "{APPLICATION}-{number}=_remove_; {_PATH}"{when(has_one)}'


_PATH = f"Expires=%[date,http_date({EXPIRES_SECONDS})]; Path=/"
_ELSEWHERE = "; SameSite=None%[ssl_fc,iif('; Secure',)]"
_USED = f"use-server %[var({_OF_TARGET}_who)] if {{ var({_OF_TARGET}_who) -m found }}"


def _read(scope: str, secret: bytes, names: Sequence[str], seconds: int, condition: str) -> Iterator[str]:
    """The variable _who is who is told by the first of these cookies, if it is good and not too old."""
    key = keyed.key(secret, names[0].partition("-")[0])
    given = f"{{ var({scope}_given) -m found }}"
    good = f"{{ var({scope}_mac),strcmp({scope}_told) eq 0 }}"
    fresh = f"{{ date,sub({scope}_made) lt {seconds} }}"
    for number, name in enumerate(names):
        yield f"http-request set-var({scope}_given) req.cook({name}){when(condition, f'!{given}' if number else '')}"
    for name, sample, conditions in (
        ("said", "given),field(1,.),ub64dec", ()),
        ("mac", f"said),hmac(sha256,{key}),hex", ()),
        ("told", "given),field(2,.)", ()),
        ("made", "said),field(2,|),add(0)", ()),
        ("who", "said),field(1,|)", (good, fresh)),
    ):
        yield f"http-request set-var({scope}_{name}) var({scope}_{sample}{when(condition, given, *conditions)}"


def _made(scope: str, secret: bytes, kind: str, who: str, condition: str) -> Iterator[str]:
    key = keyed.key(secret, kind)
    yield f'http-response set-var-fmt({scope}_said) "{who}|%[date]|%[uuid]"{when(condition)}'
    yield f"http-response set-var({scope}_mac) var({scope}_said),hmac(sha256,{key}),hex{when(condition)}"


def _cookie(scope: str, name: str, condition: str, more: str = "") -> Iterator[str]:
    value = f"%[var({scope}_said),ub64enc].%[var({scope}_mac)]"
    yield f'http-response add-header set-cookie "{name}={value}; {_PATH}{more}"{when(condition)}'
