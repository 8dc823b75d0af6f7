"""A name that nothing has is exit code 3 for every verb and every option, with what there is instead."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gwlbemu import Lab
from gwlbemu.cli.main import VERBS
from tests.paths import TOPOLOGIES

pytestmark = pytest.mark.namespace
MINIMAL = str(TOPOLOGIES / "minimal.yaml")
NOBODY = "nobody"

# What is asked of the running lab, and one of the names that the refusal holds out.
ROWS: list[tuple[tuple[str, ...], str]] = [
    (("exec", NOBODY, "--", "true"), "web"),
    (("register", NOBODY, "fw"), "firewalls"),
    (("register", "firewalls", NOBODY), "fw"),
    (("deregister", NOBODY, "fw"), "firewalls"),
    (("set", NOBODY, "stickiness.enabled=true"), "firewalls"),
    (("register", "addresses", "10.9.9.9", "--zone", NOBODY), "all"),
    (("attributes", NOBODY), "inspect"),
    (("attributes", NOBODY, MINIMAL), "inspect"),
    *(
        ((verb, kind, NOBODY), known)
        for verb in ("fail", "heal")
        for kind, known in {"instance": "fw", "process": "fw", "link": "fw", "health": "fw", "zone": "a"}.items()
    ),
    (("inject", "--from", NOBODY, "--icmp"), "client"),
    (("inject", "--to", NOBODY, "--icmp"), "client"),
    (("inject", "--from", NOBODY, "--demo"), "client"),
    (("explain", NOBODY, "web:80"), "client"),
    (("explain", "client", f"{NOBODY}:80"), "client"),
    (("explain", NOBODY, "web:80", MINIMAL), "client"),
    (("explain", "client", f"{NOBODY}:80", MINIMAL), "client"),
    *(
        (("explain", "client", "web:80", *file, "--after", change), known)
        for file in ((), (MINIMAL,))
        for change, known in {
            f"fail instance {NOBODY}": "fw",
            f"fail zone {NOBODY}": "a",
            f"deregister {NOBODY} fw": "firewalls",
            f"register firewalls {NOBODY}": "fw",
            f"set {NOBODY} stickiness.enabled=true": "firewalls",
        }.items()
    ),
    (("logs", NOBODY), "web"),
    (("logs", NOBODY, "--access"), "none"),
    (("http", NOBODY, "http://web/"), "client"),
    (("drill", "--from", NOBODY), "client"),
    (("drill", "--to", NOBODY), "web"),
    (("drill", MINIMAL, "--from", NOBODY), "client"),
]


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """minimal.yaml with a group of addresses beside."""
    group = "{name: addresses, vpc: security, protocol: GENEVE, port: 6081, target_type: ip}"
    file = tmp_path_factory.mktemp("lab") / "lab.yaml"
    file.write_text(Path(MINIMAL).read_text().replace("target_groups:\n", f"target_groups:\n  - {group}\n"))
    with Lab(file, capture=False) as lab:
        yield lab


@pytest.mark.parametrize(("words", "known"), ROWS, ids=lambda each: " ".join(each) if isinstance(each, tuple) else "")
def test_a_name_that_nothing_has_is_3(lab: Lab, gwlbemu: Any, words: tuple[str, ...], known: str) -> None:
    said = gwlbemu(*words)
    assert (said.code, said.out) == (3, ""), said.err
    assert f"{NOBODY}" in said.err
    assert known in said.err.replace(NOBODY, "").partition(": ")[2]


def test_what_aws_takes_is_taken(lab: Lab, gwlbemu: Any) -> None:
    """DeregisterTargets: "If the specified target does not exist, the action returns successfully" (API reference)."""
    said = gwlbemu("deregister", "firewalls", NOBODY)
    assert (said.code, said.err) == (0, "")
    assert said.out == f"{NOBODY} was not registered with firewalls (AWS accepts that too)\n"


def test_every_verb_that_takes_a_name_of_something_in_a_lab_is_in_the_table() -> None:
    """The others: of a lab (see the test of labs that are not up), of a file, or of nothing."""
    without = {"up", "down", "labs", "status", "targets", "flows", "metrics", "watch", "inspect", "advance", "bench"}
    without |= {"plan", "schema", "doctor", "reach", "test"}
    assert {words[0] for words, _ in ROWS} | without >= set(VERBS)
