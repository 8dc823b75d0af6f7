"""The rules of a listener in HAProxy's language: which rule is a request's, and what becomes of the request then.

`core.application.requests` says what is to come out. The variable txn.rule is the priority of the rule that matched.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from gwlbemu.core.application.engine import Engine
from gwlbemu.core.application.patterns import query_pattern
from gwlbemu.core.application.settings import Listener
from gwlbemu.core.elb.application_attributes import ApplicationAttributes
from gwlbemu.core.elb.rules import HOST_HEADER_REWRITE, Action, Condition, FixedResponse, Redirect, Rule, Transform
from gwlbemu.programs.application import cookies, pages
from gwlbemu.programs.application.jwks import Key
from gwlbemu.programs.application.text_jwt import validation
from gwlbemu.programs.application.words import argument, matches, substitution, when, word

LONGEST_LOCATION = 8192  # ALB guide, Troubleshoot: HTTP 507
_PLAIN = "text/plain; charset=utf-8"
_PLACEHOLDER = re.compile(r"#\{(protocol|host|port|path|query)\}")
_HOST, _QUERY, _RULE = "var(txn.host)", "var(txn.query)", "var(txn.rule)"


@dataclass(frozen=True, slots=True)
class Outcomes:
    """What the text says about a listener's rules and default actions. `mark`: see `pages.answer`."""

    engine: Engine
    listener: Listener
    attributes: ApplicationAttributes
    mark: str
    keys: Mapping[str, Sequence[Key]]

    def requests(self) -> Iterator[str]:
        """Yield the rules for requests: all but where they go."""
        yield from self._texts()
        for each in self.listener.rules:
            yield from _matching(each)
        for condition, rule, actions in self._cases():
            for action in actions:
                yield from self._done(action, condition)
            if rule and any(action.target_groups for action in actions):
                yield from (line for each in rule.transforms for line in _transformed(each, condition))

    def destinations(self) -> Iterator[str]:
        """Yield the rules for where requests go."""
        if self.sticky_groups:
            yield "use_backend %[var(txn.pool)] if { var(txn.pool) -m found }"
        for condition, _, actions in self._cases():
            for group, chosen in ((group, each) for action in actions for group, each in self._shares(action)):
                yield f"use_backend {group}{when(condition, chosen)}"

    @property
    def forwards(self) -> bool:
        """Whether there are requests that go on to a target."""
        return any(group.weight for _, _, actions in self._cases() for each in actions for group in each.target_groups)

    @property
    def sticky_groups(self) -> tuple[str, ...]:
        """The target groups among which an action keeps its clients on one."""
        sticky = [action for _, _, actions in self._cases() for action in actions if action.sticky]
        return tuple(dict.fromkeys(each.target_group for action in sticky for each in action.target_groups))

    def _cases(self) -> Iterator[tuple[str, Rule | None, Sequence[Action]]]:
        """Yield, for each rule and for no rule, the condition of its requests, the rule and its actions."""
        for rule in self.listener.rules:
            yield f"{{ {_RULE} -m int {rule.priority} }}", rule, rule.actions
        yield f"!{{ {_RULE} -m found }}" if self.listener.rules else "", None, self.listener.default_actions

    # ---- which rule ----
    def _texts(self) -> Iterator[str]:
        """The texts that several conditions or actions need."""
        fields = {condition.field for rule in self.listener.rules for condition in rule.conditions}
        actions = [action for _, _, given in self._cases() for action in given]
        transforms = [each.type for rule in self.listener.rules for each in rule.transforms]
        is_redirecting = any(action.redirect for action in actions)
        if "host-header" in fields or is_redirecting or HOST_HEADER_REWRITE in transforms:
            yield "http-request set-var(txn.host) req.hdr(host),lower,host_only"
        if "query-string" in fields or is_redirecting:
            yield f"http-request set-var(txn.query) {word('pathq,' + substitution('^[^?]*[?]?', ''))}"

    # ---- what becomes of it ----
    def _done(self, action: Action, condition: str) -> Iterator[str]:
        if action.jwt_validation is not None:
            keys = self.keys.get(action.jwt_validation.jwks_endpoint, ())
            yield from validation(action.jwt_validation, keys, condition, self.mark, self._http2_idle_seconds)
        elif action.redirect is not None:
            yield from self._whole(condition)
            yield from self._redirected(action.redirect, condition)
        elif action.fixed_response is not None:
            yield from self._whole(condition)
            yield from _fixed(action.fixed_response, condition)
        else:
            yield from self._forwarded(action, condition)

    def _whole(self, condition: str) -> Iterator[str]:
        if self._http2_idle_seconds:
            yield pages.whole(self._http2_idle_seconds, condition)

    @property
    def _http2_idle_seconds(self) -> int:
        return self.attributes.idle_seconds if self.listener.tls and self.attributes.http2 else 0

    def _forwarded(self, action: Action, condition: str) -> Iterator[str]:
        total = sum(group.weight for group in action.target_groups)
        if not total:
            yield f"http-request return {pages.answer(503, self.mark)}{when(condition)}"
        elif action.sticky or len(action.target_groups) > 1:
            yield f"http-request set-var(txn.share) rand({total}){when(condition)}"
        if total and action.sticky:
            yield from cookies.group(self.engine.cookie_secret, action, condition)
            for group, chosen in self._shares(action):
                yield f"http-request set-var(txn.pool) str({group}){when(condition, _UNDECIDED, chosen)}"

    def _shares(self, action: Action) -> Iterator[tuple[str, str]]:
        """Yield the groups of an action that have a weight, each with the condition of its share."""
        weighted = [group for group in action.target_groups if group.weight]
        end = 0
        for group in weighted:
            end += group.weight
            is_last = group is weighted[-1]
            yield group.target_group, "" if is_last else f"{{ var(txn.share) -m int lt {end} }}"

    def _redirected(self, redirect: Redirect, condition: str) -> Iterator[str]:
        parts = {
            "protocol": self.listener.protocol.lower(),
            "host": f"%[{_HOST}]",
            "port": str(self.listener.port),
            "path": f"%[path,regsub({argument('^/')},)]",
            "query": f"%[{_QUERY}]",
        }

        def filled(template: str) -> str:
            texts = _PLACEHOLDER.split(template)  # text, name, text, name, ... text
            return "".join(parts[each] if odd % 2 else each.replace("%", "%%") for odd, each in enumerate(texts))

        protocol = redirect.protocol.lower() if redirect.protocol in ("HTTP", "HTTPS") else parts["protocol"]
        asked = filled(redirect.query)
        varies = bool(_PLACEHOLDER.search(redirect.query))
        query = f"%[var(txn.asked),{substitution('^(.)', '?$1')}]" if varies else f"?{asked}" if asked else ""
        place = f"{protocol}://{filled(redirect.host)}:{filled(redirect.port)}{filled(redirect.path)}{query}"
        too_long = f"{{ var(txn.location),length gt {LONGEST_LOCATION} }}"
        page = word(pages.page(f"{redirect.status} {pages.REASONS[redirect.status]}"))
        if varies:
            yield f"http-request set-var-fmt(txn.asked) {word(asked)}{when(condition)}"
        yield f"http-request set-var-fmt(txn.location) {word(place)}{when(condition)}"
        yield f"http-request {pages.counted(pages.TOO_LONG)}{when(condition, too_long)}"
        yield f"http-request return {pages.answer(507, self.mark)}{when(condition, too_long)}"
        yield f"http-request {pages.counted(pages.REDIRECTED)}{when(condition)}"
        yield (
            f"http-request return status {redirect.status} content-type text/html string {page} {pages.headers()} "
            f"hdr Location %[var(txn.location)]{when(condition)}"
        )


_UNDECIDED = "!{ var(txn.pool) -m found }"


def _matching(rule: Rule) -> Iterator[str]:
    """The rules that find out whether a request is this rule's: those before it have been asked."""
    names = []
    for number, condition in enumerate(rule.conditions):
        names.append(f"r{rule.priority}-{number}")
        for sample in _samples(condition):
            yield f"acl {names[-1]} {sample}"
    yield (f"http-request set-var(txn.rule) int({rule.priority}){when(f'!{{ {_RULE} -m found }}', *names)}")


def _samples(condition: Condition) -> Iterator[str]:
    """What is asked of a request, one of which has to be so."""
    match condition.field:
        case "source-ip":
            yield from (f"src -- {each}" for each in condition.values)
        case "http-request-method":
            yield from (f"method -m str -- {word(each)}" for each in condition.values)
        case "query-string":
            yield from (f"{_QUERY} -m reg -i -- {word(query_pattern(*each))}" for each in condition.query)
        case "path-pattern":
            yield from (f"path {each}" for each in matches(condition))
        case "host-header":
            yield from (f"{_HOST} {each}" for each in matches(condition, any_case=True))
        case _:
            sample = word(f"req.fhdr({argument(condition.header)})")
            yield from (f"{sample} {each}" for each in matches(condition, any_case=True))


def _fixed(response: FixedResponse, condition: str) -> Iterator[str]:
    body = (
        f"content-type {word(response.content_type or _PLAIN)} string {word(response.body)} " if response.body else ""
    )
    yield f"http-request {pages.counted(pages.FIXED)}{when(condition)}"
    yield f"http-request return status {response.status} {body}{pages.headers()}{when(condition)}"


def _transformed(transform: Transform, condition: str) -> Iterator[str]:
    rewrite = substitution(transform.regex, transform.replace)
    if transform.type != HOST_HEADER_REWRITE:
        yield f"http-request set-var(txn.url) {word(f'pathq,{rewrite}')}{when(condition)}"
        yield f"http-request set-pathq %[var(txn.url)]{when(condition)}"
        return
    is_other = "!{ var(txn.host),strcmp(txn.rewritten) eq 0 }"
    port = f"%[req.hdr(host),{substitution('^.*?(:[0-9]*)?$', '$1')}]"
    yield f"http-request set-var(txn.rewritten) {word(f'{_HOST},{rewrite}')}{when(condition)}"
    yield f"http-request set-header host {word(f'%[var(txn.rewritten)]{port}')}{when(condition, is_other)}"
