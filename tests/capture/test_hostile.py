"""Whatever is captured, it can be annotated, told in a line, in JSON and as a journey."""

from __future__ import annotations

import json
from io import BytesIO

import pytest

from gwlbemu.capture.annotate import Annotator, Names
from gwlbemu.capture.dissect import dissect, dissect_frame
from gwlbemu.capture.journey import TapFrame, journey_lines, journeys
from gwlbemu.capture.packet import CapturedPacket
from gwlbemu.capture.pcapng import enhanced_packet, interface_description, section_header
from gwlbemu.capture.reader import CaptureReader
from gwlbemu.capture.render import dictionary, line
from gwlbemu.errors import WireError
from gwlbemu.programs import discards
from tests.appliances.appliance_helpers import GOLDEN_FRAME
from tests.appliances.test_hostile import GOOD
from tests.hostile import SHORT_FRAGMENT, Hostile


@pytest.mark.parametrize("seed", range(5))
def test_no_frame_makes_the_capture_raise(seed: int) -> None:
    frames = [GOLDEN_FRAME, SHORT_FRAGMENT, *Hostile(seed, GOOD).frames(500)]
    annotator = Annotator(Names())
    blocks = [section_header(), interface_description("eth0")]
    for frame in frames:
        dissect_frame(frame)
        blocks.append(enhanced_packet(0, 1, frame, comments=annotator.comments(frame)))
    seen: list[CapturedPacket] = list(CaptureReader(BytesIO(b"".join(blocks))))
    assert [captured.data for captured in seen] == frames
    records = []
    for captured in seen:
        dissection = dissect(captured)
        assert line(captured, dissection).isprintable()
        json.dumps(dictionary(captured, dissection))
        if dissection.flow_layer:
            records.append(TapFrame("eth0", captured.at_ns, captured.data, ""))
    for journey in journeys(records):
        journey_lines(journey)


@pytest.mark.parametrize("seed", range(5))
def test_a_discard_record_is_read_or_refused(seed: int) -> None:
    good = discards.encode(discards.DroppedFrame(1, "node", "dropped", GOLDEN_FRAME))
    for data in Hostile(seed, [good]).frames(500):
        try:
            record = discards.decode(data)
        except WireError:
            continue
        assert isinstance(record.interface, str)
