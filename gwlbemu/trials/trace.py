"""A trace on the nodes of a lab, as its owner sees it: it begins and ends with a `with` block and renews itself.

Each node keeps the trace only as long as its lease is renewed (see `gwlbemu.programs.gateway.traces`), which a thread
of this process does while the block runs. A process that is killed takes the thread along, and the nodes go on alone.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence
from contextlib import suppress
from types import TracebackType
from typing import Self

from gwlbemu.errors import LabError, SettingError
from gwlbemu.lab.running import RunningLab
from gwlbemu.views.ask import ask_nodes
from gwlbemu.views.traces import TracedPacket, traced_packet

RENEW_SECONDS = 1.0  # well below the lease that a node gives
ANSWER_SECONDS = 2.0  # that a renewal, or the end, waits for one node

Match = tuple[int, str, str, int, int]  # protocol, address, address, port, port; the ports in the addresses' order


class TraceSession:
    """A trace of the flows in `match` (none: of all) on every node of `lab` that answers.

    `silent` has, by node, a sentence for each that does not answer at the start; it has no part in the trace.
    """

    def __init__(self, lab: RunningLab, match: Iterable[Match] = ()) -> None:
        self._lab = lab
        self._match: list[Sequence[object]] = [list(each) for each in match]
        self._traces: dict[str, str] = {}
        self._read: dict[str, int] = {}
        self._ended = threading.Event()
        self._renewing = threading.Thread(target=self._renew, name="renew traces", daemon=True)
        self.silent: dict[str, str] = {}

    def __enter__(self) -> Self:
        try:
            answers, self.silent = ask_nodes(self._lab, "trace_start", match=self._match)
            self._traces = {node: str(answer["trace"]) for node, answer in answers.items()}
        except BaseException:  # a node that has begun ends by itself when its lease is over
            self._ended.set()
            raise
        self._read = dict.fromkeys(self._traces, 0)
        self._renewing.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._renewing.join()
        for node, identity in self._traces.items():
            with suppress(LabError, SettingError):  # dead, frozen, or ended already: it traces nothing for us
                self._lab.call(node, "trace_stop", within_seconds=ANSWER_SECONDS, trace=identity)

    @property
    def nodes(self) -> tuple[str, ...]:
        """The names of the nodes that take part."""
        return tuple(self._traces)

    def read_node(self, node: str) -> list[TracedPacket]:
        """Return a node's verdicts since the last reading, oldest first.

        Raises LabError when the node does not answer, TraceGoneError when its trace is over.
        """
        events: list[TracedPacket] = []
        more = True
        while more:
            answer = self._lab.call(node, "trace_read", trace=self._traces[node], after=self._read[node])
            events += [traced_packet(node, event) for event in answer["events"]]
            more = answer.get("more", False)
            if answer["events"]:
                self._read[node] = int(answer["events"][-1]["number"])
        return events

    def read(self) -> list[TracedPacket]:
        """Return every node's verdicts since the last reading, node by node, oldest first.

        Raises LabError when a node does not answer, TraceGoneError when its trace is over.
        """
        return [packet for node in self._traces for packet in self.read_node(node)]

    def _renew(self) -> None:
        while not self._ended.wait(RENEW_SECONDS):
            for node, identity in self._traces.items():
                if self._ended.is_set():
                    return
                with suppress(LabError, SettingError):  # whoever reads next is told
                    self._lab.call(node, "trace_renew", within_seconds=ANSWER_SECONDS, trace=identity)
