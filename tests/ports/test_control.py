"""The control socket under people who do not mean well: everything is answered or closed, and the process goes on."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from gwlbemu.errors import SettingError
from gwlbemu.ports import control as control_module
from gwlbemu.ports.arguments import Arguments, flag, number, one_of, text, texts, whole
from gwlbemu.ports.control import FAULT, LONGEST_REQUEST, MOST_CONNECTIONS, ControlServer, parse_request
from gwlbemu.ports.faults import Faults

GOOD = b'{"verb": "echo", "number": 5}\n'


def echo(arguments: Arguments) -> Mapping[str, Any]:
    return {"number": whole(arguments, "number", 0, 10)}


def fail(_: Arguments) -> Mapping[str, Any]:
    raise ZeroDivisionError


def unsayable(_: Arguments) -> Mapping[str, Any]:
    return {"value": b"bytes are no JSON"}


class Talk:
    """A server, and clients of it."""

    def __init__(self, path: Path) -> None:
        self.path, self.faults = path, Faults()
        verbs = {"echo": echo, "fail": fail, "unsayable": unsayable}
        self.server = ControlServer(path, verbs, faults=self.faults)

    async def ask(self, *requests: bytes, end: bool = False) -> list[dict[str, Any]]:
        """Send the requests on one connection; return the answers, until it is closed if `end`."""
        reader, writer = await asyncio.open_unix_connection(self.path, limit=1 << 22)
        try:
            writer.write(b"".join(requests))
            if end:
                writer.write_eof()
                return [json.loads(line) for line in (await reader.read()).splitlines()]
            return [json.loads(await reader.readline()) for _ in requests]
        finally:
            writer.close()


def run(tmp_path: Path, work: Any) -> Talk:
    talk = Talk(tmp_path / "c.sock")

    async def main() -> None:
        await talk.server.open()
        try:
            async with asyncio.timeout(60):
                await work(talk)
                assert (await talk.ask(GOOD)) == [{"ok": True, "number": 5}]
        finally:
            talk.server.close()

    asyncio.run(main())
    return talk


@pytest.mark.parametrize(
    ("request_", "says"),
    [
        (b"", "not JSON"), (b"\xff\xfe\x00binary", "not JSON"), (b"[" * 1000, "deeper"), (b"[" * 100_000, "deeper"),
        (b'{"a":' * 1000 + b"1" + b"}" * 1000, "deeper"),
        (b'{"verb":"echo","number":' + b"[" * 11 + b"]" * 11 + b"}", "deeper"),
        (b'{"verb":"echo","number":Infinity}', "Infinity is no number"), (b'{"verb":"echo","number":NaN}', "NaN"),
        (b'{"verb":"echo","number":1e999}', "number: expected a whole number from 0 to 10, got inf"),
        (b'{"verb":"echo","number":' + b"9" * 4000 + b"}", "number: expected"),
        (b'{"verb":"echo","number":' + b"9" * 5000 + b"}", "not JSON"),
        (b'{"verb":"echo","number":true}', "number: expected"), (b'{"verb":"echo","number":"5"}', "number: expected"),
        (b'{"verb":"echo","number":[[]]}', "number: expected a whole number from 0 to 10, got a list of 1"),
        (b'{"verb":"echo"}', "argument 'number' is missing"),
        (b'{"verb":"echo","verb":"fail"}', "'verb' is there twice"),
        (b'{"verb":["echo"]}', "verb: expected one of echo"),
        (b"5", "expected an object"), (b"[]", "expected an object"),
        (b'{"verb":"\\ud800"}', "verb: expected one of"), (b'{"verb":"nothing"}', "verb: expected one of"),
    ],
)  # fmt: skip
def test_a_request_that_is_wrong_is_answered_in_a_sentence(tmp_path: Path, request_: bytes, says: str) -> None:
    async def work(talk: Talk) -> None:
        (answer,) = await talk.ask(request_ + b" x\n" if not request_ else request_ + b"\n")
        assert (answer["ok"], answer["code"]) == (False, "InvalidInput")
        assert says in answer["error"]
        assert len(answer["error"]) < 300

    assert run(tmp_path, work).faults.counts == {}


@pytest.mark.parametrize("verb", ["fail", "unsayable"])
def test_a_verb_that_raises_is_answered_and_noted(tmp_path: Path, verb: str) -> None:
    async def work(talk: Talk) -> None:
        request = json.dumps({"verb": verb}).encode() + b"\n"
        first, second = await talk.ask(request, GOOD)
        assert (first["ok"], first["code"]) == (False, FAULT)
        assert second["ok"]

    assert run(tmp_path, work).faults.total == 1


def test_a_request_that_is_too_long_is_answered_and_the_connection_closed(tmp_path: Path) -> None:
    async def work(talk: Talk) -> None:
        (answer,) = await talk.ask(b"x" * (LONGEST_REQUEST + 70_000), end=True)
        assert "longer than" in answer["error"]

    run(tmp_path, work)


def test_a_request_of_almost_a_megabyte_is_answered(tmp_path: Path) -> None:
    async def work(talk: Talk) -> None:
        (answer,) = await talk.ask(b'{"verb":"echo","number":5,"padding":"%s"}\n' % (b"x" * (LONGEST_REQUEST - 100)))
        assert answer["ok"]

    run(tmp_path, work)


def test_a_queue_of_requests_keeps_nothing_else_waiting(tmp_path: Path) -> None:
    async def work(talk: Talk) -> None:
        turns = 0

        async def others() -> None:
            nonlocal turns
            while True:
                turns += 1
                await asyncio.sleep(0)

        going = asyncio.create_task(others())
        try:
            before = turns
            assert len(await talk.ask(*[GOOD] * 500)) == 500
            assert turns - before >= 500
        finally:
            going.cancel()

    run(tmp_path, work)


def test_half_a_request_is_given_up_and_one_without_a_newline_at_the_end_is_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def half(talk: Talk) -> None:
        reader, writer = await asyncio.open_unix_connection(talk.path)
        writer.write(GOOD[:10])
        assert "half a request" in json.loads(await reader.readline())["error"]
        assert await reader.read() == b""
        writer.close()

    async def whole_one(talk: Talk) -> None:
        assert await talk.ask(GOOD.strip(), end=True) == [{"ok": True, "number": 5}]

    run(tmp_path, whole_one)
    monkeypatch.setattr(control_module, "PATIENCE", 0.1)
    run(tmp_path, half)


def test_of_a_thousand_idle_connections_the_longest_idle_ones_are_closed(tmp_path: Path) -> None:
    async def work(talk: Talk) -> None:
        clients = []
        try:
            for _ in range(400):
                clients.append(await asyncio.open_unix_connection(talk.path))
                assert (await talk.ask(GOOD)) == [{"ok": True, "number": 5}]
            assert len(talk.server._connections) <= MOST_CONNECTIONS
            assert await clients[0][0].read() == b""
        finally:
            for _, writer in clients:
                writer.close()

    assert run(tmp_path, work).faults.total > 0


@pytest.mark.parametrize("value", [None, True, "1", [1], {}, -1, 11, float("inf"), float("nan"), 10**400, 1.5])
def test_what_is_no_whole_number_in_range_is_refused(value: object) -> None:
    with pytest.raises(SettingError, match=r"^n: expected a whole number from 0 to 10, got "):
        whole({"n": value}, "n", 0, 10)


def test_arguments_have_types_ranges_and_defaults() -> None:
    assert (whole({}, "n", 0, 10, 7), whole({"n": 3.0}, "n", 0, 10), number({"n": 2}, "n", 0, 10)) == (7, 3, 2.0)
    assert (text({"t": "x"}, "t"), flag({}, "f"), flag({"f": True}, "f")) == ("x", False, True)
    assert (one_of({}, "c", ("a", "b"), "a"), texts({"o": {"a": "b"}}, "o")) == ("a", {"a": "b"})
    for refuse in (
        lambda: number({"n": float("nan")}, "n", 0, 10), lambda: number({"n": 10**400}, "n", 0, 10),
        lambda: text({"n": 5}, "n"), lambda: text({"n": "x" * 5000}, "n"), lambda: flag({"n": 1}, "n"),
        lambda: one_of({"n": ["a"]}, "n", ("a",)), lambda: texts({"n": {"a": 5}}, "n"), lambda: texts({"n": []}, "n"),
    ):  # fmt: skip
        with pytest.raises(SettingError, match=r"^n: expected"):
            refuse()


def test_a_request_is_parsed_to_an_object() -> None:
    assert parse_request(b'{"verb": "x", "match": [[6, "a", "b", 1, 2]]}')["match"] == [[6, "a", "b", 1, 2]]
