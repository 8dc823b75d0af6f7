"""How `inject` tells a packet's story: text of at most 98 columns, and JSON with the same."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from gwlbemu.cli.inject import _json, _lines
from gwlbemu.trials.packet_report import Answer, Expected, NodeVerdict, PacketReport
from gwlbemu.wire.mismatch import Mismatch


def hop(verdict: str, endpoint: str = "vpce-a", target: str = "fw-a1", **others: object) -> NodeVerdict:
    node = f"inspect-node-{endpoint[-1]}"
    returned = verdict == "to-endpoint"
    plain = NodeVerdict(1.0, node, endpoint, verdict, target, "0x00000001", "", returned)
    return replace(plain, **others)  # type: ignore[arg-type]


TUNNEL = "PacketsDroppedCount_InvalidGeneveTunnel"
REPLY = "IP / TCP 203.0.113.10:http > 198.51.100.10:4000 SA"
THERE = (hop("to-target"), hop("to-endpoint"))
WELL = PacketReport(
    1, "IP / TCP 198.51.100.10:4000 > 203.0.113.10:http S", THERE, "web-a", 0.002, (REPLY,), replied_after=0.004,
    answer=Answer(REPLY, "web-a", "client", THERE, 0.004), expected=Expected(True),
)  # fmt: skip
DROP = NodeVerdict(2.0, "inspect-node-b", "vpce-b", "drop", "", "", "MidstreamTcp")
LOST = PacketReport(
    2, "IP / TCP 10.0.2.10:4000 > 10.0.1.10:http S", THERE, "vm-a", 0.002,
    answer=Answer("IP / TCP 10.0.1.10:http > 10.0.2.10:4000 SA", "vm-a", "vm-b", (DROP,)),
    expected=Expected(
        True, ("inspect-node-b drops it at vpce-b: it is no SYN and belongs to no flow there [MidstreamTcp]",),
        ("at app-a the answer goes to vpce-b; the packet came by vpce-a", "back  app-a: 10.0.2.0/24 -> vpce-b"),
    ),
)  # fmt: skip
REFUSED = PacketReport(
    3, "IP / UDP 198.51.100.10:4000 > 203.0.113.10:echo",
    (hop("to-target"), hop("drop", returned=True, reason=TUNNEL, wrong=Mismatch("UDP port", "60000", "6081"))),
    expected=Expected(False, expected="by vpce-a (fw-a1), arrives at web-a", seen="by vpce-a (fw-a1), dropped"),
)  # fmt: skip


@pytest.mark.parametrize(
    ("report", "lines"),
    [
        (
            WELL,
            [
                "#1  IP / TCP 198.51.100.10:4000 > 203.0.113.10:http S",
                "    vpce-a       inspect-node-a -> fw-a1  cookie 0x00000001",
                "    vpce-a       returned by fw-a1",
                "  = delivered to web-a after 2.0 ms, answered after 4.0 ms",
                "    reply: IP / TCP 203.0.113.10:http > 198.51.100.10:4000 SA",
                "           by vpce-a (fw-a1)",
            ],
        ),
        (
            LOST,
            [
                "#2  IP / TCP 10.0.2.10:4000 > 10.0.1.10:http S",
                "    vpce-a       inspect-node-a -> fw-a1  cookie 0x00000001",
                "    vpce-a       returned by fw-a1",
                "    answer: IP / TCP 10.0.1.10:http > 10.0.2.10:4000 SA",
                "    vpce-b       inspect-node-b drops it: MidstreamTcp",
                "  = delivered to vm-a after 2.0 ms, no answer seen: vm-a's answer died at vpce-b (MidstreamTcp);",
                "    the packet came by vpce-a",
                "    explain: inspect-node-b drops it at vpce-b: it is no SYN and belongs to no flow there",
                "               [MidstreamTcp]",
                "             at app-a the answer goes to vpce-b; the packet came by vpce-a",
                "             back  app-a: 10.0.2.0/24 -> vpce-b",
            ],
        ),
        (
            REFUSED,
            [
                "#3  IP / UDP 198.51.100.10:4000 > 203.0.113.10:echo",
                "    vpce-a       inspect-node-a -> fw-a1  cookie 0x00000001",
                "    vpce-a       inspect-node-a refuses what fw-a1 returned",
                "  = fw-a1 returned it and inspect-node-a refused it: UDP port 60000, expected 6081",
                "    (InvalidGeneveTunnel)",
                "    ! explain expected otherwise: by vpce-a (fw-a1), arrives at web-a",
            ],
        ),
    ],
    ids=["well", "lost answer", "refused"],
)
def test_a_story_is_told_in_lines(report: PacketReport, lines: list[str]) -> None:
    assert list(_lines(report)) == lines
    assert max(map(len, lines)) <= 98


def test_a_packet_in_circles_has_one_line_for_each_thing_that_it_met() -> None:
    circle = PacketReport(1, "IP / UDP a > b", THERE * 20)
    assert [line.strip() for line in _lines(circle)] == [
        "#1  IP / UDP a > b",
        "vpce-a       inspect-node-a -> fw-a1  cookie 0x00000001 (20 times)",
        "vpce-a       returned by fw-a1 (20 times)",
        "= came to vpce-a 20 times and was not seen again",
    ]


def test_json_has_what_the_text_has() -> None:
    told = json.loads(json.dumps(_json(REFUSED)))
    assert told["hops"][1]["wrong"] == {"field": "UDP port", "got": "60000", "expected": "6081"}
    assert (told["outcome"], told["inspected"], told["why"]) == ("dropped", [False, False], REFUSED.why)
    assert told["expected"]["agrees"] is False
    lost = json.loads(json.dumps(_json(LOST)))
    assert lost["answer"]["hops"][0]["reason"] == "MidstreamTcp"
    assert lost["answer"]["after"] is None


@pytest.mark.parametrize("option", ["--tcp", "--udp", "--sport"])
def test_port_0_is_refused(gwlbemu: Any, option: str) -> None:
    said = gwlbemu("inject", "--icmp", option, "0")
    assert (said.code, f"Invalid value for '{option}': 0 is not in the range" in said.err) == (2, True)
