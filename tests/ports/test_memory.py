from __future__ import annotations

from gwlbemu.ports.memory import pair


def test_what_a_full_queue_cannot_hold_is_dropped_and_counted() -> None:
    a, b = pair(capacity=10)
    assert a.send([b"f" * 60] * 25) == 25
    received = len(b.recv())
    assert (received, b.drops()) == (10, 15)
    a.close()
    b.close()


def test_sending_to_a_closed_end_is_counted_as_unsent() -> None:
    a, b = pair()
    b.close()
    assert a.send([b"f" * 60]) == 0
    assert a.unsent == 1
    a.close()
    a.close()
