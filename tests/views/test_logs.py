"""Logs as they grow, and access logs of several nodes as one."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from gwlbemu.errors import LabError, SettingError, UnknownNameError
from gwlbemu.lab.running import RunningLab
from gwlbemu.lab.state import State
from gwlbemu.ports.logfile import LogFile, trim
from gwlbemu.views.logs import Logs, Tail, access_log, access_logs_off, process_log
from tests.views.application_plan import application_plan
from tests.views.fake_lab import FakeLab

A, B = "web-node-a", "web-node-b"


def lab_of(root: Path, *, on: bool) -> FakeLab:
    state = State("web", root)
    state.make_folders()
    plan = application_plan()
    (balancer,) = plan.load_balancers
    attributes = {**balancer.attributes, "access_logs.s3.enabled": json.dumps(on)}
    plan = replace(plan, load_balancers=(replace(balancer, attributes=attributes),))
    return FakeLab(plan, state, {A: "running", f"{A}.proxy": "running", "web-a": "dead"})


def line(instant: str, word: str) -> str:
    return f"http 2026-11-28T{instant}Z app/web/0123456789abcdef {word}"


def write(lab: RunningLab, node: str, *lines: str) -> None:
    path = lab.state.access_log(node)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        file.write("".join(f"{each}\n" for each in lines))


def test_a_line_is_told_when_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "log"
    tail = Tail(path)
    assert tail.lines() == []
    path.write_text("one\ntw")
    assert tail.lines() == ["one"]
    with path.open("a") as file:
        file.write("o\nthree")
    assert tail.lines() == ["two"]
    assert tail.last() == ["three"]
    assert tail.last() == []


def test_no_line_is_lost_or_told_twice_where_a_log_is_begun_anew(tmp_path: Path) -> None:
    """A log of ours is renamed, that of another program is cut from outside."""
    path = tmp_path / "log"
    tail, told = Tail(path), []
    log = LogFile(path, largest=40, burst=1000, per_second=1000, now=lambda: 0.0)
    for number in range(25):
        log.write(f"line {number:02}")
        if number % 3 == 2:  # at most one part is begun between two looks
            told += tail.lines()
    log.close()
    told += tail.lines()
    assert told == [f"line {number:02}" for number in range(25)]


def test_a_log_that_was_cut_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_text("old\n" * 100)
    tail = Tail(path)
    assert len(tail.lines()) == 100
    trim([path], largest=10)
    with path.open("a") as file:
        file.write("new\n")
    assert tail.lines() == ["new"]


def test_what_stands_in_the_part_before_comes_first(tmp_path: Path) -> None:
    (tmp_path / "log.1").write_text("older\n")
    (tmp_path / "log").write_text("newer\n")
    assert Logs([tmp_path / "log"]).lines() == ["older", "newer"]


def test_every_process_has_a_log_by_its_name(tmp_path: Path) -> None:
    lab = lab_of(tmp_path, on=False)
    lab.state.log(f"{A}.proxy").write_text("ready\n")
    assert process_log(lab, f"{A}.proxy").lines() == ["ready"]
    assert process_log(lab, "web-a").lines() == []
    with pytest.raises(UnknownNameError, match=f"no process nobody in lab web; there are: web-a, {A}, {A}.proxy"):
        process_log(lab, "nobody")


@pytest.mark.contract("AL-21")
def test_the_access_log_of_a_load_balancer_is_its_nodes_by_time(tmp_path: Path) -> None:
    lab = lab_of(tmp_path, on=True)
    write(lab, A, line("17:00:00.000001", "first"), line("17:00:02.000000", "third"))
    write(lab, B, line("17:00:01.500000", "second"))
    log = access_log(lab, "web")
    assert [each.split()[-1] for each in log.lines()] == ["first", "second", "third"]
    write(lab, B, line("17:00:03.000000", "fourth"))
    assert [each.split()[-1] for each in log.lines()] == ["fourth"]
    assert [each.split()[-1] for each in access_log(lab, B).lines()] == ["second", "fourth"]
    assert access_logs_off(lab, "web") == ""


def test_where_access_logs_are_off_it_is_said_how_they_are_turned_on(tmp_path: Path) -> None:
    lab = lab_of(tmp_path, on=False)
    for name in ("web", A):
        with pytest.raises(
            LabError, match=r"access logs of web are off .* set --lab web web access_logs.s3.enabled=true"
        ):
            access_log(lab, name)
    write(lab, A, line("17:00:00.000001", "first"))  # of a time when they were on
    assert len(access_log(lab, "web").lines()) == 1
    assert access_logs_off(lab, "web").startswith("access logs of web are off")


def test_only_an_application_load_balancer_has_access_logs(tmp_path: Path) -> None:
    lab = lab_of(tmp_path, on=False)
    with pytest.raises(UnknownNameError, match=f"there are: web, {A}, {B}"):
        access_log(lab, "web-a")
    plan = replace(lab.plan, load_balancers=(replace(lab.plan.load_balancers[0], name="wall", type="gateway"),))
    with pytest.raises(SettingError, match="wall is of a gateway load balancer"):
        access_log(replace(lab, plan=plan), "wall")
