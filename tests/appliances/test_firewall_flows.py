"""The bounded table of flows."""

from __future__ import annotations

from appliances.flows import IdleTable


def test_an_entry_is_there_until_its_timeout_and_every_put_restarts_it() -> None:
    table: IdleTable[str, int] = IdleTable()
    table.put("a", 1, timeout=10, now=0)
    assert table.find("a", now=9.9) == 1
    table.put("a", 1, timeout=10, now=9.9)
    assert table.find("a", now=19.8) == 1
    assert table.find("a", now=19.9) is None
    assert len(table) == 0


def test_a_full_table_forgets_the_longest_unused_entry() -> None:
    table: IdleTable[str, int] = IdleTable(capacity=2)
    table.put("a", 1, timeout=100, now=0)
    table.put("b", 2, timeout=100, now=1)
    table.put("a", 1, timeout=100, now=2)
    table.put("c", 3, timeout=100, now=3)
    assert (table.find("a", now=4), table.find("b", now=4), table.find("c", now=4)) == (1, None, 3)
    assert len(table) == 2


def test_adding_sweeps_out_what_has_expired() -> None:
    table: IdleTable[int, int] = IdleTable()
    for number in range(20):
        table.put(number, number, timeout=5, now=0)
    for number in range(20, 24):
        table.put(number, number, timeout=5, now=6)
    assert len(table) == 4


def test_removing_twice_is_harmless() -> None:
    table: IdleTable[str, int] = IdleTable()
    table.put("a", 1, timeout=100, now=0)
    table.remove("a")
    table.remove("a")
    assert table.find("a", now=0) is None


def test_a_full_table_counts_who_made_way_and_tells_of_each_that_leaves() -> None:
    gone: list[str] = []
    table: IdleTable[int, str] = IdleTable(capacity=3, forgotten=gone.append)
    values = [f"v{number}" for number in range(5)]
    for number, value in enumerate(values):
        table.put(number, value, timeout=10.0, now=0.0)
    assert (len(table), table.displaced, gone) == (3, 2, ["v0", "v1"])
    table.put(2, values[2], timeout=10.0, now=0.0)
    table.put(9, "v9", timeout=10.0, now=100.0)  # the others are idle for too long: nobody makes way for it
    assert (len(table), table.displaced, gone) == (1, 2, ["v0", "v1", "v3", "v4", "v2"])
