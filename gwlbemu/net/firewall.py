"""Loading and reading nftables rulesets through libnftables: 1-3 ms each, where starting `nft` costs 8."""

from __future__ import annotations

import ctypes
import json

from gwlbemu.errors import NetError

_LIBRARY = "libnftables.so.1"  # comes with the nft command
_JSON = 1 << 4  # NFT_CTX_OUTPUT_JSON


def load(ruleset: str) -> None:
    """Load a ruleset, as `nft -f` would, into the network namespace of the calling thread; all of it or nothing.

    Raises NetError with nft's own message, or when libnftables is missing.
    """
    _run(ruleset)


def counters(family: str, table: str) -> dict[str, int]:
    """Return the packets of each named counter of a table in the network namespace of the calling thread, by name.

    Raises NetError when there is no such table.
    """
    said = json.loads(_run(f"list counters table {family} {table}", _JSON))["nftables"]
    return {each["counter"]["name"]: int(each["counter"]["packets"]) for each in said if "counter" in each}


def _run(commands: str, output_flags: int = 0) -> bytes:
    """Run commands of nft in a context of their own; what it printed."""
    try:
        library = ctypes.CDLL(_LIBRARY)
    except OSError as error:
        raise NetError(f"cannot load {_LIBRARY} (install nftables): {error}") from error
    library.nft_ctx_new.restype = ctypes.c_void_p
    library.nft_ctx_get_error_buffer.restype = library.nft_ctx_get_output_buffer.restype = ctypes.c_char_p
    context = ctypes.c_void_p(library.nft_ctx_new(ctypes.c_uint32(0)))
    try:
        library.nft_ctx_buffer_error(context)
        library.nft_ctx_buffer_output(context)
        library.nft_ctx_output_set_flags(context, ctypes.c_uint32(output_flags))
        if library.nft_run_cmd_from_buffer(context, ctypes.c_char_p(commands.encode())) != 0:
            message = library.nft_ctx_get_error_buffer(context).decode(errors="replace")
            raise NetError(f"nftables refused the ruleset: {message.strip()}")
        return bytes(library.nft_ctx_get_output_buffer(context))
    finally:
        library.nft_ctx_free(context)
