"""The keys that tokens are signed with: from the JSON of a JWKS endpoint to files that HAProxy reads.

RFC 7517 (JWK Set), RFC 7518, 6.3 (RSA). ALB guide, Verify JWTs: at most 150 KB and ten keys, RS256 alone. Whoever
fetches writes what came, and makes a new text with the keys: a file is named after what is in it, so that the text
is another one as soon as a key is.
"""

from __future__ import annotations

import binascii
import json
from base64 import urlsafe_b64decode
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path

from gwlbemu.errors import GwlbemuError

MOST_BYTES, MOST_KEYS = 150_000, 10
_ALGORITHM = "RS256"
_FEWEST_BITS = 1024  # of a modulus that OpenSSL takes; RFC 7518, 3.3 asks for 2048


class JwksError(GwlbemuError):
    """What an endpoint answers is no set of keys."""


@dataclass(frozen=True, slots=True)
class Key:
    """A public key: its id, "" where it has none, and the PEM file, from the engine's folder."""

    kid: str
    file: str


def write(document: bytes, folder: Path) -> tuple[Key, ...]:
    """Write each key for RS256 of a JWK Set as a PEM file into `folder`, and return them; what is there stays.

    Raises JwksError with a sentence about a document that is none, or too large.
    """
    keys = []
    for kid, pem in _keys(document):
        file = f"jwk-{blake2b(pem, digest_size=8).hexdigest()}.pem"
        if not (folder / file).exists():
            fresh = folder / f"{file}.new"
            fresh.write_bytes(pem)
            fresh.rename(folder / file)
        keys.append(Key(kid, file))
    return tuple(keys)


def _keys(document: bytes) -> Iterator[tuple[str, bytes]]:
    if len(document) > MOST_BYTES:
        raise JwksError(f"the JWKS has {len(document)} bytes, expected at most {MOST_BYTES}")
    try:
        told = json.loads(document)
        keys = [each for each in told["keys"] if isinstance(each, Mapping)]
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise JwksError("the JWKS is no JSON object with a list 'keys'") from error
    if len(keys) > MOST_KEYS:
        raise JwksError(f"the JWKS has {len(keys)} keys, expected at most {MOST_KEYS}")
    for each in keys:
        if each.get("kty") == "RSA" and each.get("alg", _ALGORITHM) == _ALGORITHM and each.get("use", "sig") == "sig":
            yield str(each.get("kid", "")), _pem(each)


def _pem(key: Mapping[str, object]) -> bytes:
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicNumbers  # late: who has no such rule needs none
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    modulus, exponent = _number(key, "n"), _number(key, "e")
    try:
        if modulus.bit_length() < _FEWEST_BITS:
            raise ValueError(f"its modulus has {modulus.bit_length()} bits")
        public = RSAPublicNumbers(exponent, modulus).public_key()
    except ValueError as error:
        raise JwksError(f"the JWKS has a key that is none: {error}") from error
    return public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def _number(key: Mapping[str, object], name: str) -> int:
    text = key.get(name)
    try:
        if not isinstance(text, str) or not text:
            raise ValueError
        return int.from_bytes(urlsafe_b64decode(text + "=" * (-len(text) % 4)))
    except (ValueError, binascii.Error) as error:
        raise JwksError(f"the JWKS has a key whose '{name}' is no number in base64url") from error
