"""Thousands of connections against a schedule of failures, in each failover mode; the tables are checked in."""

from functools import cache
from pathlib import Path

import pytest

from tests.sim.fleet import CONNECTIONS, MODES, Connection, run, table

pytestmark = pytest.mark.slow
TABLES = Path(__file__).parent / "tables"


@cache
def outcome(mode: str) -> list[Connection]:
    """Return what became of the connections in a mode; each mode is run by the test that first asks."""
    return run(mode)


@pytest.mark.parametrize("mode", MODES)
def test_the_fleet_fares_as_the_table_says(mode: str) -> None:
    assert table(outcome(mode)) == (TABLES / f"{mode}.txt").read_text()


def fate(connections: list[Connection], first: str) -> list[Connection]:
    return [connection for connection in connections if connection.first == first]


@pytest.mark.contract("TG-07")
def test_no_rebalance_moves_nobody_and_loses_the_flows_of_the_one_that_left_for_good() -> None:
    connections = outcome("no_rebalance")
    assert all(len(connection.targets) == 1 for connection in connections)
    assert all(connection.silent == (connection.first == "fw-2") for connection in connections)
    # fw-1 was dead from 95 to 205: five or six packets of each flow, and then the same flow goes on.
    assert {connection.unanswered for connection in fate(connections, "fw-1")} <= {5, 6}


@pytest.mark.contract("TG-08")
def test_rebalance_moves_every_flow_of_the_failed_and_none_of_the_others() -> None:
    for connection in outcome("rebalance"):
        assert not connection.silent
        assert connection.resets == 0
        if connection.first in ("fw-3", "fw-4"):
            assert connection.targets == [connection.first]
        else:
            assert len(connection.targets) >= 2
    # From death to the second failed probe, 15 seconds: one packet at the most.
    assert all(connection.unanswered <= 1 for connection in fate(outcome("rebalance"), "fw-1"))
    assert all(connection.unanswered == 0 for connection in fate(outcome("rebalance"), "fw-3"))


@pytest.mark.contract("FL-14")
def test_resets_bring_every_flow_of_the_failed_to_a_healthy_target_through_a_new_connection() -> None:
    for connection in outcome("reset"):
        assert not connection.silent
        assert connection.resets == len(connection.targets) - 1
        assert (connection.resets > 0) is (connection.first in ("fw-1", "fw-2"))


def test_every_connection_is_in_every_table() -> None:
    for connections in map(outcome, MODES):
        assert len(connections) == CONNECTIONS
        assert sum(len(fate(connections, f"fw-{number}")) for number in range(1, 5)) == CONNECTIONS
