"""What kind a program is and where it listens."""

from __future__ import annotations

import pytest

from gwlbemu.topology.plan.ends import web_port
from tests.topology.builder import Data, plan_of, put

KINDS = [
    ("web", "web", 80, False),
    ({"web": {"port": 8080}}, "web", 8080, False),
    ("firewall", "firewall", 8081, True),
    ("ids", "ids", 8081, True),
    ("passthrough", "passthrough", 8081, True),
    ({"broken": {"mode": "slow"}}, "broken", 8081, True),
    ({"command": ["sleep", "9"]}, "command", None, False),
]


@pytest.mark.parametrize(("program", "kind", "port", "appliance"), KINDS, ids=[str(case[0]) for case in KINDS])
def test_a_program_says_its_kind_and_where_it_listens(
    program: object, kind: str, port: int | None, appliance: bool
) -> None:
    def change(data: Data) -> None:
        put("vpcs.1.instances.0.program", program)(data)
        put("target_groups.0.health_check", {"port": 8081})(data)

    (found,) = plan_of(change).programs
    assert (found.kind, found.listens, found.is_python_appliance) == (kind, port, appliance)


def test_the_web_port_is_that_of_a_web_server_and_of_nothing_that_looks_like_one() -> None:
    argv = ["python3", "-m", "gwlbemu.programs.web", "--name", "web", "--port", "81"]

    def change(data: Data) -> None:
        put("vpcs.0.instances.0.program", {"command": argv})(data)
        put("vpcs.1.instances.0.program", {"web": {"port": 8080}})(data)

    plan = plan_of(change)
    ports = {instance.name: web_port(plan, instance) for instance in plan.instances}
    assert ports == {"client": None, "web": None, "fw-a": 8080, "fw-b": None}


def test_an_appliance_that_is_no_target_listens_on_port_80() -> None:
    (found,) = plan_of(put("vpcs.1.instances.1.program", "ids")).programs
    assert (found.instance, found.listens) == ("fw-b", 80)
    assert found.argv[found.argv.index("--health-port") + 1] == "80"
