"""How a lab's processes are started: nothing in a user's current directory takes the place of a module."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from gwlbemu.lab.commands import START, filled_in, is_own, own_module
from gwlbemu.lab.state import LAB_USER
from gwlbemu.public import Lab
from tests.paths import ROOT

HOSTILE = ("json", "logging", "asyncio", "signal", "runpy", "gwlbemu", "appliances", "yaml")
POISON = "raise SystemExit('a module of the current directory was imported')\n"
BESIDE = """
import json, sys, socket
import appliances, gwlbemu
print(json.dumps([json.__file__, gwlbemu.__file__, appliances.__file__, sys.argv[1:]]), flush=True)
with socket.create_server(("", 80)) as server:
    while True:
        server.accept()[0].close()
"""
TOPOLOGY = """
lab: hostile
internet: {cidr: 198.51.100.0/24, instances: [{name: client, address: 198.51.100.10}]}
vpcs:
  - name: app
    cidr: 10.0.0.0/16
    internet_gateway: {name: igw, route_table: edge}
    subnets:
      - {name: servers, zone: a, cidr: 10.0.1.0/24, route_table: servers}
      - {name: ends, zone: a, cidr: 10.0.11.0/28, route_table: ends}
    endpoints: [{name: vpce, subnet: ends, service: inspect}]
    route_tables:
      - {name: servers, routes: [{destination: 0.0.0.0/0, target: vpce}]}
      - {name: ends, routes: [{destination: 0.0.0.0/0, target: igw}]}
      - {name: edge, routes: [{destination: 10.0.1.0/24, target: vpce}]}
    instances:
      - {name: web, subnet: servers, address: 10.0.1.10, public_address: 203.0.113.10, program: web}
      - {name: mine, subnet: servers, address: 10.0.1.11, program: {command: ["{python}", "-m", "beside", "word"]}}
  - name: security
    cidr: 10.254.0.0/16
    subnets: [{name: sec, zone: a, cidr: 10.254.1.0/24}]
    instances:
      - {name: fw, subnet: sec, address: 10.254.1.11, program: {firewall: {default: allow}}}
      - name: other
        subnet: sec
        address: 10.254.1.12
        program: {command: ["{python}", "-m", "appliances.passthrough", "--control", "{control}"]}
target_groups:
  - name: firewalls
    vpc: security
    protocol: GENEVE
    port: 6081
    target_type: instance
    health_check: {protocol: TCP, port: 80, interval_seconds: 5, timeout_seconds: 2, healthy_threshold_count: 2}
    targets: [fw, other]
load_balancers:
  - {name: inspect, type: gateway, subnets: [sec], listener: {target_group: firewalls}}
"""


@pytest.fixture
def hostile(tmp_path: Path) -> Path:
    """A folder with modules and packages that must not be imported, and a user's own module."""
    for name in HOSTILE:
        (tmp_path / f"{name}.py").write_text(POISON)
    for name in ("gwlbemu", "appliances", "concurrent"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text(POISON)
    (tmp_path / "beside.py").write_text(BESIDE)
    return tmp_path


def test_our_own_modules_come_from_where_we_are_whatever_the_current_directory_and_pythonpath_hold(
    hostile: Path,
) -> None:
    environment = {**os.environ, "PYTHONPATH": str(hostile)}
    for module in ("gwlbemu.programs.web", "appliances.firewall", "gwlbemu.programs.traffic"):
        done = subprocess.run(
            own_module(module, "--help"), cwd=hostile, env=environment, capture_output=True, text=True, timeout=60
        )
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout.startswith(f"usage: python -m {module}")


def test_python_in_a_command_is_the_interpreter_that_runs_us(tmp_path: Path) -> None:
    known = {"{log}": "/run/x.log"}
    assert filled_in(["curl", "{log}"], known, tmp_path) == ["curl", "/run/x.log"]
    assert filled_in(["{python}", "fw.py", "{log}"], known, tmp_path) == [sys.executable, "fw.py", "/run/x.log"]
    assert filled_in(["{python}", "-c", "pass"], known, tmp_path) == [sys.executable, "-P", "-E", "-c", "pass"]
    assert filled_in(["nice", "{python}", "-m", "fw", "-m"], known, tmp_path) == [
        "nice", sys.executable, "-P", "-E", str(START), str(tmp_path), "fw", "-m",
    ]  # fmt: skip
    assert is_own(["{python}", "-m", "appliances.ids"])
    assert not is_own(["{python}", "-m", "appliances_of_mine"])
    assert filled_in(["{python}", "-m", "appliances.ids", "{log}"], known, tmp_path) == own_module(
        "appliances.ids", "/run/x.log", user=LAB_USER
    )


def test_a_module_beside_the_topology_is_found_and_hides_nothing(hostile: Path) -> None:
    (hostile / "beside.py").write_text(
        "import json, appliances, sys\nprint(json.dumps([appliances.__file__, sys.argv[1:]]))"
    )
    command = filled_in(["{python}", "-m", "beside", "word"], {}, hostile)
    done = subprocess.run(command, cwd="/", capture_output=True, text=True, timeout=60)
    assert done.stderr == ""
    assert done.stdout.strip() == f'["{ROOT / "appliances" / "__init__.py"}", ["word"]]'


@pytest.mark.namespace
def test_a_lab_comes_up_and_injects_from_a_folder_full_of_hostile_modules(
    hostile: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (hostile / "topology.yaml").write_text(TOPOLOGY)
    monkeypatch.chdir(hostile)
    monkeypatch.setenv("PYTHONPATH", str(hostile))
    with Lab("topology.yaml") as lab:
        assert lab.inject(tcp=80, source="client", destination="web")[0].outcome == "delivered"
        folders = {each.name: os.readlink(f"/proc/{each.pid}/cwd") for each in lab.status().processes}
        assert folders.pop("mine") == str(hostile)
        assert set(folders.values()) == {"/"}
        lab.fail("instance", "mine")
        monkeypatch.chdir("/")
        lab.heal("instance", "mine")
        pid = next(each.pid for each in lab.status().processes if each.name == "mine")
        assert os.readlink(f"/proc/{pid}/cwd") == str(hostile)
