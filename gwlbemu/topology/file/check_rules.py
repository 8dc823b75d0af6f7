"""What AWS refuses about the rules and actions of an application load balancer's listener; AWS's code in brackets.

Sources: ELBv2 API, CreateRule, RuleCondition, Action, RuleTransform (botocore's service model elbv2 2015-12-01); ALB
guide, Listener rules, Condition types, Action types, Transforms, Quotas. What a regular expression may be AWS leaves
open: here what both Python and the engine (PCRE2) take, in printable ASCII.
"""

from __future__ import annotations

import re
import warnings
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from ipaddress import ip_network

from gwlbemu.core.elb import rules as core
from gwlbemu.topology.file.balancing import Listener, TargetGroup
from gwlbemu.topology.file.document import Path, Problem
from gwlbemu.topology.file.rules import Action, Condition, RedirectConfig, Rule, Transform

# ALB guide, Quotas (condition values, wildcards, target groups per action).
MOST_VALUES, MOST_WILDCARDS, MOST_GROUPS = 5, 6, 5
_ONCE = ("host-header", "http-request-method", "path-pattern", "source-ip")  # each at most once in a rule
_LONGEST_VALUE, _LONGEST_METHOD = 128, 40
_HOST = re.compile(r"[A-Za-z0-9*?.-]+")
_PATH = re.compile(r"[A-Za-z0-9_\-.$/~\"'@:+&*?\\%,;=!()]+")
_METHOD = re.compile(r"[A-Z_-]+")
_PLACEHOLDER = re.compile(r"#\{([^}]*)\}?")
_KEYWORDS = {
    "host": ("host",),
    "path": ("host", "path", "port"),
    "query": ("protocol", "host", "path", "port", "query"),
}
# Inline flags but (?i), POSIX classes, and escapes that only one of the two knows.
_ODD = re.compile(r"\(\?(?![:=!>]|<[=!]|P[<=]|i\))|\[\[?:|\\[NuUZz]")
_REFERENCE = re.compile(r"\$([0-9]+)")


def listener_rule_problems(listener: Listener, groups: Mapping[str, TargetGroup], path: Path) -> Iterator[Problem]:
    """Yield what is wrong with the default actions and the rules of a listener that stands at `path`; `groups` are all
    target groups by name.
    """
    yield from _actions(listener, listener.default_actions, groups, (*path, "default_actions"))
    priorities: set[int] = set()
    for number, rule in enumerate(listener.rules):
        here = (*path, "rules", number)
        if rule.priority in priorities:
            yield Problem(
                (*here, "priority"), f"priority {rule.priority} is in use: expected another one (PriorityInUse)"
            )
        priorities.add(rule.priority)
        yield from _conditions(rule, here)
        yield from _actions(listener, rule.actions, groups, (*here, "actions"))
        yield from _transforms(rule.transforms, (*here, "transforms"))


# ---- conditions ------------------------------------------------------------------------------------------------------
def _conditions(rule: Rule, path: Path) -> Iterator[Problem]:
    seen: Counter[str] = Counter()
    values: list[str] = []
    for number, condition in enumerate(rule.conditions):
        here: Path = (*path, "conditions", number)
        seen[condition.field] += 1
        if condition.field in _ONCE and seen[condition.field] == 2:
            yield Problem(
                here, f"a rule has at most one condition with field {condition.field}: expected its values there"
            )
        yield from _condition(condition, here)
        values += (text for _, text in _texts(condition))
    if len(values) > MOST_VALUES:
        yield Problem(
            (*path, "conditions"),
            f"{len(values)} condition values: expected at most {MOST_VALUES} in a rule (ValidationError)",
        )
    wildcards = sum(len(re.findall(r"(?<!\\)[*?]", text)) for text in values)
    if wildcards > MOST_WILDCARDS:
        yield Problem(
            (*path, "conditions"),
            f"{wildcards} wildcards: expected at most {MOST_WILDCARDS} in a rule (ValidationError)",
        )


def _config(condition: Condition) -> str:
    return f"{condition.field.replace('-', '_')}_config"


def _texts(condition: Condition) -> list[tuple[Path, str]]:
    """The values of a condition with wildcards, networks or methods, and where each stands, from the condition on."""
    found: list[tuple[Path, str]] = [(("values", number), text) for number, text in enumerate(condition.values or ())]
    found += ((("regex_values", number), text) for number, text in enumerate(condition.regex_values or ()))
    if condition.query_string_config:
        for number, pair in enumerate(condition.query_string_config.values):
            found.append(((_config(condition), "values", number), f"{pair.key or ''}{pair.value}"))
        return found
    for config in (
        condition.host_header_config,
        condition.path_pattern_config,
        condition.http_header_config,
        condition.http_request_method_config,
        condition.source_ip_config,
    ):
        if config is not None:
            for key in ("values", "regex_values"):
                texts: Sequence[str] = getattr(config, key, None) or ()
                found += (((_config(condition), key, number), text) for number, text in enumerate(texts))
    return found


def _condition(condition: Condition, path: Path) -> Iterator[Problem]:
    if condition.source_ip_config and condition.source_ip_config.ip_address_type:
        yield Problem(
            (*path, "source_ip_config", "ip_address_type"),
            "ip_address_type is for Network Load Balancers: expected values with networks (ValidationError)",
        )
    header = condition.http_header_config
    if header and header.http_header_name.lower() == "host":
        yield Problem(
            (*path, "http_header_config", "http_header_name"),
            "the Host header has a condition of its own: expected field host-header (ValidationError)",
        )
    if header and not re.fullmatch(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+", header.http_header_name):
        yield Problem(
            (*path, "http_header_config", "http_header_name"),
            f"{header.http_header_name!r} is no name of a header (ValidationError)",
        )
    for rest, text in _texts(condition):
        refusal = _regex_refusal(text) if "regex_values" in rest else _value_refusal(condition.field, text)
        if refusal:
            yield Problem((*path, *rest), f"{refusal} (ValidationError)")


def _value_refusal(field: str, text: str) -> str:
    most = _LONGEST_METHOD if field == "http-request-method" else _LONGEST_VALUE
    if field == "query-string":
        most *= 2
    if len(text) > most:
        return f"{len(text)} characters: expected at most {most}"
    if not text.isprintable() or not text.isascii():
        return f"{text!r}: expected printable ASCII characters"
    if field == "source-ip":
        try:
            ip_network(text)
        except ValueError:
            return f"{text!r} is no network: expected one such as 192.0.2.0/24 or 192.0.2.1/32, without host bits"
        return "" if "/" in text else f"{text!r} has no prefix length: expected a network such as {text}/32"
    if field == "host-header":
        if not _HOST.fullmatch(text):
            return f"{text!r}: expected letters, digits, hyphens, dots and the wildcards * and ?"
        if "." not in text and not set(text) & set("*?"):
            return f"{text!r} has no dot: expected a name such as example.com, or one with wildcards"
    if field == "path-pattern" and not _PATH.fullmatch(text):
        return f"{text!r} has characters that no path pattern may have"
    if field == "http-request-method" and not _METHOD.fullmatch(text):
        return f"{text!r}: expected capital letters, hyphens and underscores, without wildcards"
    return ""


def _regex_refusal(text: str, most: int = _LONGEST_VALUE) -> str:
    if len(text) > most:
        return f"{len(text)} characters: expected at most {most}"
    if not text.isprintable() or not text.isascii():
        return f"{text!r}: expected printable ASCII characters"
    if odd := _ODD.search(text):
        return f"{text!r}: {odd[0]!r} does not mean the same to Python and PCRE2"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            re.compile(text)
        except (re.error, Warning) as error:
            return f"{text!r} is no regular expression: {error}"
    return ""


# ---- actions ---------------------------------------------------------------------------------------------------------
def _actions(
    listener: Listener, actions: tuple[Action, ...], groups: Mapping[str, TargetGroup], path: Path
) -> Iterator[Problem]:
    ends = [number for number, action in enumerate(actions) if action.type != core.JWT_VALIDATION]
    for number in ends[1:]:
        yield Problem(
            (*path, number),
            "a rule ends with one action forward, redirect or fixed-response: expected no second one (TooManyActions)",
        )
    if not ends:
        yield Problem(
            path,
            "nothing after jwt-validation: expected an action forward, redirect or fixed-response (ValidationError)",
        )
    checks = [number for number, action in enumerate(actions) if action.type == core.JWT_VALIDATION]
    for number in checks[1:]:
        yield Problem((*path, number), "expected no second action jwt-validation (TooManyActions)")
    for number, action in enumerate(actions):
        here = (*path, number)
        if action.type == core.JWT_VALIDATION:
            if ends and number > ends[0]:
                yield Problem(
                    here, "jwt-validation stands before the other action: expected it there (ValidationError)"
                )
            yield from _jwt(listener, action, here)
        elif action.type == core.FORWARD:
            yield from _forward(listener, action, groups, here)
        elif action.redirect_config is not None:
            yield from _redirect(listener, action.redirect_config, (*here, "redirect_config"))


def _jwt(listener: Listener, action: Action, path: Path) -> Iterator[Problem]:
    if listener.protocol == "HTTP":
        yield Problem(
            (*path, "type"),
            "jwt-validation needs an HTTPS listener: expected protocol HTTPS (InvalidLoadBalancerAction)",
        )
    config = action.jwt_validation_config
    if config is not None and not re.fullmatch(
        r"https://[A-Za-z0-9.-]+(:[0-9]{1,5})?(/[!\"$-~]*)?", config.jwks_endpoint
    ):
        yield Problem(
            (*path, "jwt_validation_config", "jwks_endpoint"),
            f"{config.jwks_endpoint!r}: expected an address that begins with https:// and a name (ValidationError)",
        )


def _forward(listener: Listener, action: Action, groups: Mapping[str, TargetGroup], path: Path) -> Iterator[Problem]:
    told = action.weighted_target_groups()
    names = [one.target_group for _, one in told]
    config: Path = (*path, "forward_config")
    if len(told) > MOST_GROUPS:
        yield Problem(
            (*config, "target_groups"),
            f"{len(told)} target groups: expected at most {MOST_GROUPS} in an action (TooManyTargetGroups)",
        )
    if not any(one.weight for _, one in told):  # a choice of ours: AWS's documents do not say
        yield Problem(
            (*config, "target_groups"),
            "with weight 0 for all nothing would be forwarded: expected 1 or more for one of them",
        )
    stickiness = action.forward_config.target_group_stickiness_config if action.forward_config else None
    if stickiness and stickiness.enabled and stickiness.duration_seconds is None:
        yield Problem(
            (*config, "target_group_stickiness_config", "duration_seconds"),
            "this key is missing: stickiness among target groups needs it (ValidationError)",
        )
    for number, (rest, one) in enumerate(told):
        here = (*path, *rest)
        if one.target_group in names[:number]:
            yield Problem(here, f"target group {one.target_group} is in the action already (ValidationError)")
        group = groups.get(one.target_group)
        if group is None:
            continue
        if group.protocol_version == "GRPC" and listener.protocol == "HTTP":
            yield Problem(
                here,
                f"target group {group.name} has protocol_version GRPC, which an HTTP listener can't forward to: "
                "expected an HTTPS listener (InvalidLoadBalancerAction)",
            )
        refusal = core.sticky_refusal(len(told), bool(stickiness and stickiness.enabled), group.name, group.attributes)
        if refusal:
            yield Problem(here, f"{refusal} (InvalidConfigurationRequest)")


def _redirect(listener: Listener, told: RedirectConfig, path: Path) -> Iterator[Problem]:
    if listener.protocol == "HTTPS" and told.protocol == "HTTP":
        yield Problem(
            (*path, "protocol"), "HTTPS can't be redirected to HTTP: expected HTTPS or #{protocol} (ValidationError)"
        )
    number = int(told.port) if re.fullmatch(r"[0-9]{1,5}", told.port) else 0
    if told.port != "#{port}" and not 1 <= number <= 65535:
        yield Problem(
            (*path, "port"), f"expected a port from 1 to 65535 or #{{port}}, got {told.port!r} (ValidationError)"
        )
    for key, allowed in _KEYWORDS.items():
        text: str = getattr(told, key)
        for found in _PLACEHOLDER.finditer(text):
            if found[1] not in allowed or not found[0].endswith("}"):
                known = ", ".join(f"#{{{each}}}" for each in allowed)
                yield Problem((*path, key), f"{found[0]!r} can't stand here: expected {known} (ValidationError)")
        if not text.isprintable() or not text.isascii():
            yield Problem((*path, key), "expected printable ASCII characters (ValidationError)")
    same = told.protocol in ("#{protocol}", listener.protocol) and told.port in ("#{port}", str(listener.port))
    if same and (told.host, told.path) == ("#{host}", "/#{path}"):  # ELBv2 API, RedirectActionConfig
        yield Problem(
            path,
            "a redirect changes at least one of protocol, host, port and path: expected another "
            "one of these than the request has (InvalidLoadBalancerAction)",
        )


# ---- transforms ------------------------------------------------------------------------------------------------------
def _transforms(transforms: tuple[Transform, ...], path: Path) -> Iterator[Problem]:
    seen: set[str] = set()
    for number, transform in enumerate(transforms):
        here: Path = (*path, number)
        if transform.type in seen:
            yield Problem((*here, "type"), f"a rule has one transform {transform.type}: expected no second one")
        seen.add(transform.type)
        config = (*here, f"{transform.type.replace('-', '_')}_config", "rewrites", 0)
        rewrite = transform.rewrite
        if refusal := _regex_refusal(rewrite.regex, 1024):
            yield Problem((*config, "regex"), f"{refusal} (ValidationError)")
            continue
        if not rewrite.replace.isprintable() or not rewrite.replace.isascii():
            yield Problem((*config, "replace"), "expected printable ASCII characters (ValidationError)")
        there = re.compile(rewrite.regex).groups
        for reference in _REFERENCE.findall(rewrite.replace):
            if not 1 <= int(reference[:1]) <= there:
                yield Problem(
                    (*config, "replace"),
                    f"${reference[:1]} is no group of the regular expression, which has {there or 'none'} "
                    "(ValidationError)",
                )
