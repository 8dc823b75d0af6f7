"""Asking the processes of a lab: each once, none that does not run, and what is said of one that is silent."""

from __future__ import annotations

import select
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from gwlbemu.errors import AwsError, LabError, SettingError
from gwlbemu.lab.control import LONGEST_ERROR, call
from gwlbemu.lab.running import Process
from gwlbemu.views.ask import NoAnswer, Reading, ask, ask_nodes, value_of
from gwlbemu.views.status import PortCount
from tests.views.fake_lab import NODES, FakeLab, answering, fake_lab

A, B = NODES


def test_every_verb_is_asked_of_every_process_that_runs(tmp_path: Path) -> None:
    lab = fake_lab(tmp_path)
    verbs = {"one": lambda request: {"got": request}, "two": lambda _: {"got": 2}}
    with answering(lab, A, verbs) as asked_a, answering(lab, B, verbs) as asked_b:
        answers, silent = ask(lab, NODES, {"one": {"limit": 7}, "two": {}})
    assert answers == {name: {"one": {"got": {"limit": 7}}, "two": {"got": 2}} for name in NODES}
    assert (silent, asked_a, asked_b) == ({}, ["one", "two"], ["one", "two"])


@pytest.mark.parametrize("state", ["frozen", "dead"])
def test_a_process_that_does_not_run_is_not_asked_and_its_log_is_named(tmp_path: Path, state: str) -> None:
    lab = fake_lab(tmp_path, inspect_node_a=state)
    with answering(lab, A, {}) as asked_a, answering(lab, B, {"one": lambda _: {"got": 1}}):
        answers, silent = ask(lab, NODES, {"one": {}})
    log = str(lab.state.log(A))
    assert (answers, asked_a) == ({B: {"one": {"got": 1}}}, [])
    assert silent == {A: NoAnswer(A, state, log)}
    assert silent[A].sentence == f"inspect-node-a is {state}; its log is {log}"


def test_a_process_that_was_never_started_and_one_that_nobody_answers_for_are_told_apart(tmp_path: Path) -> None:
    lab = fake_lab(tmp_path)
    answers, silent = ask(lab, [A, "fw-a"], {"one": {}})
    assert answers == {}
    assert silent["fw-a"].sentence == "fw-a does not answer: not started"
    assert silent[A].sentence == (
        "inspect-node-a does not answer: no answer at control socket inspect-node-a: No such file or directory"
    )


def test_of_a_process_that_stops_answering_in_between_nothing_is_kept(tmp_path: Path) -> None:
    lab = fake_lab(tmp_path)

    def die(_: object) -> dict[str, object]:
        raise OSError

    with answering(lab, A, {"one": lambda _: {"got": 1}, "two": die}):
        answers, silent = ask(lab, [A], {"one": {}, "two": {}})
    assert answers == {}
    assert silent[A].reason == "no answer at control socket inspect-node-a: it closed the connection"


def test_a_client_that_gives_up_is_told_that_the_process_goes_on(tmp_path: Path) -> None:
    lab = fake_lab(tmp_path)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as silent:  # it listens and never answers
        lab.state.control(A).parent.mkdir(parents=True, exist_ok=True)
        silent.bind(str(lab.state.control(A)))
        silent.listen()
        with pytest.raises(LabError, match=r"within 0\.05 s: if the process has read 'advance', it goes on with it$"):
            call(lab.state.control(A), "advance", within_seconds=0.05, seconds=1)


def trickle(connection: socket.socket) -> None:
    """Give a byte of an answer each hundredth of a second, for as long as somebody reads."""
    with suppress(OSError):
        while True:
            connection.sendall(b" ")
            select.select([connection], [], [], 0.01)


def flood(connection: socket.socket) -> None:
    with suppress(OSError):
        while True:
            connection.sendall(b" " * (1 << 16))


@contextmanager
def talking(path: Path, talk: Callable[[socket.socket], None]) -> Iterator[None]:
    """Take one connection at `path`, and let `talk` answer what is asked there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(str(path))
        listener.listen()

        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(1 << 16)
                talk(connection)

        server = threading.Thread(target=serve)
        server.start()
        try:
            yield
        finally:
            server.join()


@pytest.mark.timeout(30)
def test_an_answer_that_trickles_in_is_given_up_when_the_time_for_all_of_it_is_over(tmp_path: Path) -> None:
    with talking(tmp_path / "x", trickle), pytest.raises(LabError, match=r"within 0\.2 s"):
        call(tmp_path / "x", "status", within_seconds=0.2)


def test_an_answer_without_an_end_is_given_up_when_it_is_too_long(tmp_path: Path) -> None:
    with talking(tmp_path / "x", flood), pytest.raises(LabError, match=r"^control socket x gave an answer longer than"):
        call(tmp_path / "x", "status")


@pytest.mark.parametrize("line", [b"no json\n", b"[1]\n", b"null\n", b"[" * 100_000 + b"\n", b"\xff\xfe\n"])
def test_an_answer_that_is_no_object_is_said_to_be_that(tmp_path: Path, line: bytes) -> None:
    with (
        talking(tmp_path / "x", lambda connection: connection.sendall(line)),
        pytest.raises(LabError, match=r"^control socket x gave an answer that is not understood$"),
    ):
        call(tmp_path / "x", "status")


@pytest.mark.parametrize("error", ["no " * 100_000, ["no "] * 100_000])
def test_the_sentence_of_a_refusal_is_cut(tmp_path: Path, error: object) -> None:
    refusal = {"ok": False, "error": error, "code": "X" * 100_000}
    lab = fake_lab(tmp_path)
    with answering(lab, A, {"one": lambda _: refusal}), pytest.raises(SettingError, match=r"\.\.\.$") as caught:
        call(lab.state.control(A), "one")
    assert (len(str(caught.value)), len(caught.value.code)) == (LONGEST_ERROR, LONGEST_ERROR)


def test_one_that_was_frozen_after_it_was_looked_at_is_called_frozen(tmp_path: Path) -> None:
    class Freezing(FakeLab):
        def processes(self) -> list[Process]:
            found = super().processes()
            self.states[A] = "frozen"
            return found

    plain = fake_lab(tmp_path)
    silent = ask(Freezing(plain.plan, plain.state, plain.states), [A], {"one": {}})[1]
    assert silent[A].reason == "frozen"


def test_a_refusal_is_an_error_and_no_silence(tmp_path: Path) -> None:
    lab = fake_lab(tmp_path)
    refusal = {"ok": False, "error": "no such target", "code": "InvalidTarget"}
    with answering(lab, A, {"one": lambda _: refusal}):
        with pytest.raises(AwsError, match=r"^no such target$") as caught:
            ask(lab, [A], {"one": {}})
        with pytest.raises(SettingError, match=r"^no$") as other:
            ask(lab, [A], {"unknown": {}})
    assert (caught.value.code, other.value.code) == ("InvalidTarget", "X")


def test_nodes_are_asked_one_thing_in_sentences(tmp_path: Path) -> None:
    lab = fake_lab(tmp_path, inspect_node_b="dead")
    with answering(lab, A, {"one": lambda request: {"got": request}}):
        answers, silent = ask_nodes(lab, "one", match=[1])
    assert answers == {A: {"got": {"match": [1]}}}
    assert silent == {B: f"inspect-node-b is dead; its log is {lab.state.log(B)}"}


def test_a_reading_is_complete_or_says_which_nodes_are_missing() -> None:
    assert Reading((1, 2)).complete() == (1, 2)
    silent = (NoAnswer(A, "dead", "/a.log"), NoAnswer(B, "it closed the connection"))
    with pytest.raises(LabError) as missing:
        Reading((1,), silent).complete()
    assert str(missing.value) == (
        "inspect-node-a is dead; its log is /a.log; inspect-node-b does not answer: it closed the connection"
    )


def test_a_value_takes_its_own_fields_out_of_an_answer() -> None:
    counts = {"frames_in": 1, "verdicts": 2, "socket_drops": 3, "frames_out": 4, "unsent": 5}
    assert value_of(PortCount, {"name": "eni", "news": 1, **counts}) == PortCount("eni", 1, 2, 3, 4, 5)
    assert value_of(PortCount, {"name": "eni", **counts}, name="vpce-a").name == "vpce-a"
