"""Find a rule's contents in bytes. Knows nothing of packets or flows."""

from __future__ import annotations

from appliances.ids.rules import Content
from appliances.ids.stream import Chunk


def contents_match(contents: tuple[Content, ...], chunk: Chunk) -> bool:
    """Tell whether every content is in the chunk and at least one of them ends in its fresh part.

    The second half keeps a match from being reported again with every later segment of the same stream.
    """
    lowered: bytes | None = None
    ends_fresh = False
    for content in contents:
        data = chunk.data
        if content.nocase:
            lowered = data.lower() if lowered is None else lowered
            data = lowered
        if data.find(content.data, max(0, chunk.fresh - len(content.data) + 1)) >= 0:
            ends_fresh = True
        elif content.data not in data:
            return False
    return ends_fresh
