"""Loading and reading nftables rulesets through libnftables: 1-3 ms each, where starting `nft` costs 8."""

from __future__ import annotations

import ctypes
import hashlib
import json

from gwlbemu.errors import NetError
from gwlbemu.net.nfnetlink import ACK, DUMP, NFTABLES, NfNetlink, attribute, attributes, request

_LIBRARY = "libnftables.so.1"  # comes with the nft command
_JSON = 1 << 4  # NFT_CTX_OUTPUT_JSON
_GET_RULE, _GET_GENERATION = 7, 16  # linux/netfilter/nf_tables.h: NFT_MSG_...
_RULE_TABLE, _GENERATION_ID = 1, 1  # NFTA_...


def load(ruleset: str) -> None:
    """Load a ruleset, as `nft -f` would, into the network namespace of the calling thread; all of it or nothing.

    Raises NetError with nft's own message, or when libnftables is missing.
    """
    _run(ruleset)


def counters(family: str, table: str) -> dict[str, int]:
    """Return the packets of each named counter of a table in the network namespace of the calling thread, by name.

    Raises NetError when there is no such table.
    """
    return {name: packets for name, (packets, _) in traffic(family, table).items()}


def traffic(family: str, table: str) -> dict[str, tuple[int, int]]:
    """Return packets and bytes of each named counter of a table (see `counters`)."""
    said = json.loads(_run(f"list counters table {family} {table}", _JSON))["nftables"]
    found = [each["counter"] for each in said if "counter" in each]
    return {each["name"]: (int(each["packets"]), int(each["bytes"])) for each in found}


def generation() -> int:
    """Return a number that is another one after each change of the namespace's rulesets, by whomever."""
    with NfNetlink() as kernel:
        (found,) = kernel.ask(request(NFTABLES, _GET_GENERATION, ACK))
    return int.from_bytes(attributes(found)[_GENERATION_ID], "big")


def fingerprint(family: int, table: str) -> str:
    """Return a hash of the rules of a table (of AF_INET, AF_INET6), "" without any.

    Rules that were loaded anew have another one; what counts inside a rule changes it, a named counter does not.
    """
    asked = request(NFTABLES, _GET_RULE, DUMP, attribute(_RULE_TABLE, table.encode() + b"\0"), family)
    with NfNetlink() as kernel:
        rules = [rule for found in kernel.dump(asked) for rule in found]
    return hashlib.blake2b(b"".join(rules), digest_size=16).hexdigest() if rules else ""


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
