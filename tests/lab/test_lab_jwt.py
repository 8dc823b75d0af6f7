"""Tokens at an application load balancer in a lab: its nodes fetch the keys from an endpoint inside the lab."""

from __future__ import annotations

import json
import sys
import time
from base64 import urlsafe_b64encode
from collections.abc import Mapping
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from gwlbemu import Lab
from gwlbemu.lab.engines import missing
from tests.lab.webs import GROUP, NAME, as_text, web_tier
from tests.waiting import PATIENCE, wait_until

pytestmark = [pytest.mark.namespace, pytest.mark.skipif(missing() is not None, reason="needs HAProxy")]
ISSUER, IDP_PORT = "https://idp.example", 8443
_SERVE = """
import http.server, sys
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = sys.argv[1].encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
http.server.ThreadingHTTPServer(("", 80), Handler).serve_forever()
"""


def base64url(data: bytes) -> str:
    return urlsafe_b64encode(data).rstrip(b"=").decode()


def jwks(key: rsa.RSAPrivateKey) -> str:
    numbers = key.public_key().public_numbers()
    modulus, exponent = (each.to_bytes((each.bit_length() + 7) // 8) for each in (numbers.n, numbers.e))
    one = {"kty": "RSA", "kid": "one", "alg": "RS256", "n": base64url(modulus), "e": base64url(exponent)}
    return json.dumps({"keys": [one]})


def token(key: rsa.RSAPrivateKey, claims: Mapping[str, object]) -> str:
    head = {"alg": "RS256", "typ": "JWT", "kid": "one"}
    told = ".".join(base64url(json.dumps(each).encode()) for each in (head, dict(claims)))
    return f"{told}.{base64url(key.sign(told.encode(), padding.PKCS1v15(), hashes.SHA256()))}"


def with_tokens(key: rsa.RSAPrivateKey) -> dict[str, Any]:
    """`front`, internal, asks for tokens at port 443; at 8443 it leads to the server that has the keys."""
    config = {"jwks_endpoint": f"https://{NAME}:{IDP_PORT}/keys", "issuer": ISSUER}
    verified = [
        {"type": "jwt-validation", "jwt_validation_config": config},
        {"type": "forward", "target_group": GROUP},
    ]
    document = web_tier(
        lab="tokens",
        scheme="internal",
        security_groups=[],
        listeners=[
            {"protocol": "HTTPS", "port": 443, "default_actions": verified},
            {"protocol": "HTTPS", "port": IDP_PORT, "default_actions": [{"type": "forward", "target_group": "idp"}]},
        ],
    )
    app = document["vpcs"][0]
    app["security_groups"] = []
    for one in app["instances"]:
        one.pop("security_groups", None)
    serve = {"command": [sys.executable, "-c", _SERVE, jwks(key)]}
    app["instances"].append({"name": "idp", "subnet": "app-b", "address": "10.0.2.30", "program": serve})
    document["target_groups"].append(document["target_groups"][0] | {"name": "idp", "targets": ["idp"]})
    return document


def status(lab: Lab, *words: str) -> str:
    asked = ["curl", "-s", "-m", "10", "--cacert", "/run/authority.pem", "-o", "/dev/null", "-w", "%{http_code}"]
    return lab.exec("near", [*asked, *words, f"https://{NAME}/"]).stdout


@pytest.mark.contract("AL-15")
def test_a_token_is_taken_by_the_keys_that_the_nodes_fetch_inside_the_lab() -> None:
    key, stranger = (rsa.generate_private_key(public_exponent=65537, key_size=2048) for _ in range(2))
    good = {"iss": ISSUER, "exp": int(time.time()) + 3600}
    with Lab(as_text(with_tokens(key)), wait=PATIENCE) as lab:

        def with_token(made: str) -> str:
            return status(lab, "-H", f"Authorization: Bearer {made}")

        assert status(lab) == "401"
        for _ in range(2):  # both nodes, in turn or by chance
            wait_until(lambda: with_token(token(key, good)) == "200", "the keys")
        assert with_token(token(stranger, good)) == "401"
        assert with_token(token(key, good | {"exp": int(time.time()) - 60})) == "401"
        assert with_token(token(key, good | {"iss": "https://other.example"})) == "401"
