"""What the verbs share."""

from __future__ import annotations

import pytest

from gwlbemu.cli import common
from gwlbemu.cli.common import hint, table
from gwlbemu.command import command


def test_a_hint_names_the_lab_only_where_another_one_could_be_meant(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(common, "list_labs", lambda: ["mine"])
    assert hint("mine", "heal", "link", "fw") == command("heal", "link", "fw")
    monkeypatch.setattr(common, "list_labs", lambda: ["mine", "other"])
    assert hint("mine", "heal", "link", "fw") == command("heal", "--lab", "mine", "link", "fw")


def test_a_table_is_plain_columns_two_spaces_apart() -> None:
    assert table([["a", "1"], ["long", ""]], ["NAME", "N"]) == "NAME  N\na     1\nlong"
