"""Loading nftables rulesets through libnftables: 1-3 ms each, where starting `nft` costs 8."""

from __future__ import annotations

import ctypes

from gwlbemu.errors import NetError

_LIBRARY = "libnftables.so.1"  # comes with the nft command


def load(ruleset: str) -> None:
    """Load a ruleset, as `nft -f` would, into the network namespace of the calling thread; all of it or nothing.

    Raises NetError with nft's own message, or when libnftables is missing.
    """
    try:
        library = ctypes.CDLL(_LIBRARY)
    except OSError as error:
        raise NetError(f"cannot load {_LIBRARY} (install nftables): {error}") from error
    library.nft_ctx_new.restype = ctypes.c_void_p
    library.nft_ctx_get_error_buffer.restype = ctypes.c_char_p
    context = ctypes.c_void_p(library.nft_ctx_new(ctypes.c_uint32(0)))
    try:
        library.nft_ctx_buffer_error(context)
        if library.nft_run_cmd_from_buffer(context, ctypes.c_char_p(ruleset.encode())) != 0:
            message = library.nft_ctx_get_error_buffer(context).decode(errors="replace")
            raise NetError(f"nftables refused the ruleset: {message.strip()}")
    finally:
        library.nft_ctx_free(context)
