"""The order of flows: pages stay right while the table changes, and cost what they look at."""

from __future__ import annotations

import random

import pytest

from gwlbemu.core.gateway.order import CHUNK, LOOKED, Order, Ordered


class Item(Ordered):
    def __init__(self, name: int) -> None:
        self.name = name


def filled(count: int) -> tuple[Order[Item], list[Item]]:
    order: Order[Item] = Order()
    items = [Item(number) for number in range(count)]
    for item in items:
        order.add(item)
    return order, items


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("backwards", [False, True])
def test_whoever_lives_throughout_is_met_once_whatever_comes_and_goes(seed: int, backwards: bool) -> None:
    rng = random.Random(seed)
    order, living = filled(rng.randrange(1, 3000))
    steady = set(rng.sample(living, len(living) // 3))
    start, end = (order.next_number - 1, 0) if backwards else (0, order.next_number - 1)
    met: list[Item] = []
    cursor: int | None = start
    pages = 0
    while cursor is not None:
        page, cursor = order.page(cursor, end, rng.randrange(1, 200))
        met += page
        pages += 1
        for item in rng.sample(living, min(len(living), 50)):
            if item not in steady:
                order.remove(item)
                living.remove(item)
        for _ in range(rng.randrange(60)):
            living.append(Item(-1))
            order.add(living[-1])
        assert pages < 10_000
    assert len(met) == len(set(met))
    assert steady <= set(met)
    assert all(item.name >= 0 for item in met), "what came later is on no page"
    names = [item.name for item in met]
    assert names == sorted(names, reverse=backwards)


def test_a_page_of_a_thin_order_is_short_and_says_where_to_go_on() -> None:
    order, items = filled(40 * LOOKED)
    for item in items:
        if item.name % 1000:
            order.remove(item)
    names: list[int] = []
    cursor: int | None = 0
    while cursor is not None:
        page, cursor = order.page(cursor, order.next_number - 1, 100)
        assert len(page) <= LOOKED // 1000 * CHUNK
        names += [item.name for item in page]
    assert names == list(range(0, 40 * LOOKED, 1000))


def test_a_late_page_looks_at_no_more_than_a_first_one(monkeypatch: pytest.MonkeyPatch) -> None:
    order, _ = filled(50_000)
    looked: list[int] = []

    class Counting(dict[int, object]):
        def get(self, key: int, default: object = None) -> object:
            looked.append(key)
            return super().get(key, default)

    monkeypatch.setattr(order, "_chunks", Counting(order._chunks))
    for start in (0, 49_000):
        looked.clear()
        page, _ = order.page(start, order.next_number - 1, 100)
        assert [item.name for item in page] == list(range(start, start + 100))
        assert len(looked) == 100


def test_an_order_keeps_no_chunk_without_items() -> None:
    order, items = filled(10 * CHUNK)
    for item in items:
        order.remove(item)
    assert (order._chunks, order._numbers) == ({}, [])
    assert order.page(0, order.next_number - 1, 10) == ([], None)
    assert order.page(order.next_number - 1, 0, 10) == ([], None)
