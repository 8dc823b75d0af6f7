"""Questions for names and their answers, as the keeper that fetches keys needs them."""

from __future__ import annotations

import pytest

from gwlbemu.core.application.engine import Engine
from gwlbemu.core.application.settings import Listener
from gwlbemu.core.elb.rules import FORWARD, JWT_VALIDATION, Action, Condition, JwtValidation, Rule
from gwlbemu.errors import WireError
from gwlbemu.programs.application.key_sets import endpoints
from gwlbemu.wire import dns


def verified(endpoint: str) -> tuple[Action, ...]:
    return Action(JWT_VALIDATION, jwt_validation=JwtValidation(endpoint, "x")), Action(FORWARD)


def test_the_endpoints_of_rules_and_default_actions_are_found_once() -> None:
    rule = Rule(1, (Condition("path-pattern", ("/a",)),), verified("https://a/"))
    listeners = tuple(Listener("HTTPS", port, (rule,), verified("https://b/"), {}) for port in (443, 444))
    assert endpoints(Engine((), "", b"", {}, listeners)) == {"https://a/", "https://b/"}


@pytest.mark.parametrize("addresses", [(), (b"\x0a\x00\x00\x01",), (b"\x0a\x00\x00\x01", b"\x0a\x00\x00\x02")])
def test_what_the_resolver_answers_is_read_by_who_asked(addresses: tuple[bytes, ...]) -> None:
    asked = dns.decode_question(dns.encode_question(7, "Idp.example.", dns.A))
    assert (asked.identity, asked.name, asked.kind, asked.code) == (7, "idp.example", dns.A, dns.NOERROR)
    code = dns.NOERROR if addresses else dns.NXDOMAIN
    assert dns.decode_addresses(dns.encode_answer(asked, code, addresses, 60), 7) == addresses


@pytest.mark.parametrize("name", ["", "a..b", "é.example", 64 * "a" + ".example", ".".join(["a" * 60] * 5)])
def test_what_is_no_name_is_not_asked(name: str) -> None:
    with pytest.raises(WireError, match="is no name"):
        dns.encode_question(1, name, dns.A)


def test_another_answer_a_refusal_and_what_is_cut_off_are_told() -> None:
    asked = dns.decode_question(dns.encode_question(7, "idp.example", dns.A))
    whole = dns.encode_answer(asked, dns.NOERROR, (b"\x0a\x00\x00\x01",), 60)
    for data, told in (
        (whole, "no answer to the question"),
        (dns.encode_question(8, "idp.example", dns.A), "no answer to the question"),
        (dns.encode_answer(asked._replace(identity=8), dns.REFUSED), "the resolver refuses, code 5"),
        (whole[:5], "cut off"),
    ):
        with pytest.raises(WireError, match=told):
            dns.decode_addresses(data, 8)
    for length in range(12, len(whole) - 4):
        with pytest.raises(WireError):
            dns.decode_addresses(whole[:length], 7)
