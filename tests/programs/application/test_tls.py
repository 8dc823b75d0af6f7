"""HTTPS listeners, HTTP/2 and what targets and clients are told in headers, by HAProxy itself."""

from __future__ import annotations

import re
import subprocess
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from urllib.parse import unquote

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from gwlbemu.core.application.engine import Engine
from gwlbemu.core.elb.application_attributes import REQUEST_HEADERS, RESPONSE_HEADERS
from gwlbemu.core.elb.tls import Tls
from gwlbemu.lab import engines
from tests.programs.application.http_lab import NODE, Answer, Http, engine, listener, made, pool, running
from tests.waiting import wait_until

pytestmark = [
    pytest.mark.namespace,
    pytest.mark.skipif(engines.missing() is not None, reason="needs HAProxy"),
]
WEB = pool("web", ("a", "127.0.2.1", 8000))
TLS = Tls(("one.pem", "two.pem"))


class Authority:
    """An authority of the test's own."""

    def __init__(self, name: str) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self.name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        self.pem = self._signed(self.name, self._key, "", days=30).public_bytes(serialization.Encoding.PEM)

    def certificate(self, folder: Path, file: str, name: str, *, days: int = 20) -> x509.Certificate:
        """Write a certificate with its key; one with negative `days` has expired."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name(
            [
                x509.NameAttribute(NameOID.COUNTRY_NAME, "US"),
                x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Lab, Inc."),
                x509.NameAttribute(NameOID.COMMON_NAME, name),
            ]
        )
        made = self._signed(subject, key, name, days=days)
        pkcs8 = serialization.PrivateFormat.PKCS8
        secret = key.private_bytes(serialization.Encoding.PEM, pkcs8, serialization.NoEncryption())
        (folder / file).write_bytes(made.public_bytes(serialization.Encoding.PEM) + secret)
        return made

    def _signed(self, subject: x509.Name, key: ec.EllipticCurvePrivateKey, name: str, days: int) -> x509.Certificate:
        now = datetime.now(UTC)
        names = [x509.DNSName(name)] if re.fullmatch("[a-z.]+", name) else []
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self.name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(days=40))
            .not_valid_after(now + timedelta(days=days))
            .add_extension(x509.BasicConstraints(ca=not name, path_length=None), critical=True)
            .add_extension(x509.SubjectAlternativeName([*names, x509.IPAddress(ip_address(NODE))]), critical=False)
            .sign(self._key, hashes.SHA256())
        )


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    """An authority with two certificates of the listener's in the folder: one.example, two.example."""
    made = Authority("Lab")
    (tmp_path / "ca.pem").write_bytes(made.pem)
    for name in "one", "two":
        made.certificate(tmp_path, f"{name}.pem", f"{name}.example")
    return made


def _balancer(
    tls: Tls = TLS, attributes: dict[str, str] | None = None, of_balancer: dict[str, str] | None = None
) -> Engine:
    https = listener(protocol="HTTPS", port=443, tls=tls, attributes=attributes or {})
    return replace(engine(https, pools=[WEB]), attributes=of_balancer or {})


def curl(folder: Path, *words: str, name: str = "one.example", path: str = "/") -> Answer:
    """Return the answer that curl gets over TLS. Raises CalledProcessError where it gets none."""
    argv = ["curl", "-sS", "-i", "--max-time", "20", "--cacert", "ca.pem", "--resolve", f"{name}:443:{NODE}", *words]
    done = subprocess.run([*argv, f"https://{name}{path}"], cwd=folder, check=True, capture_output=True)
    head, _, body = done.stdout.partition(b"\r\n\r\n")
    status, *lines = head.decode().split("\r\n")
    headers = tuple((line.split(": ", 1)[0], line.split(": ", 1)[1]) for line in lines)
    return Answer(int(status.split()[1]), status.split()[0], headers, body)


@pytest.mark.contract("AL-12")
def test_a_tls_listener_with_a_certificate_for_each_name(authority: Authority, tmp_path: Path) -> None:
    with running(tmp_path, _balancer()):
        for name in "one.example", "two.example":
            seen = curl(tmp_path, name=name).seen
            assert (seen.value("X-Forwarded-Proto"), seen.value("X-Forwarded-Port")) == ("https", "443")
            assert (seen.value("Host"), seen.value("X-Amzn-Tls-Version")) == (name, None)


@pytest.mark.contract("AL-12")
@pytest.mark.parametrize("enabled", [True, False])
def test_http2_to_clients_while_it_is_enabled(enabled: bool, authority: Authority, tmp_path: Path) -> None:
    with running(tmp_path, _balancer(of_balancer={"routing.http2.enabled": str(enabled).lower()})):
        answer = curl(tmp_path, "--http2")
        assert answer.reason == ("HTTP/2" if enabled else "HTTP/1.1")  # where curl puts the version
        assert answer.seen.version == "HTTP/1.1"


@pytest.mark.contract("AL-12")
def test_h2load_has_many_streams_at_once(authority: Authority, tmp_path: Path) -> None:
    with running(tmp_path, _balancer()):
        argv = ["h2load", "-n", "200", "-c", "2", "-m", "50", f"https://{NODE}/"]
        said = subprocess.run(argv, check=True, capture_output=True, text=True, timeout=60).stdout
        assert "200 succeeded, 0 failed, 0 errored" in said


@pytest.mark.contract("AL-12")
def test_the_versions_of_tls_are_those_of_the_policy(authority: Authority, tmp_path: Path) -> None:
    with running(tmp_path, _balancer(replace(TLS, oldest_version="1.2", newest_version="1.2"))):
        assert curl(tmp_path).status == 200
        with pytest.raises(subprocess.CalledProcessError):
            curl(tmp_path, "--tlsv1.3")


@pytest.mark.contract("AL-12")
def test_the_version_and_the_cipher_are_told_by_attribute(authority: Authority, tmp_path: Path) -> None:
    attributes = {"routing.http.x_amzn_tls_version_and_cipher_suite.enabled": "true"}
    with running(tmp_path, _balancer(of_balancer=attributes)):
        seen = curl(tmp_path, "-H", "X-Amzn-Tls-Version: none").seen
        assert (seen.value("X-Amzn-Tls-Version"), seen.value("X-Amzn-Tls-Cipher-Suite")) == (
            "TLSv1.3",
            "TLS_AES_256_GCM_SHA384",
        )


# ---- mutual TLS ----
@pytest.mark.contract("AL-16")
def test_mutual_tls_verifies_and_tells(authority: Authority, tmp_path: Path) -> None:
    client = authority.certificate(tmp_path, "client.pem", "client.example")
    Authority("Stranger").certificate(tmp_path, "stranger.pem", "client.example")
    authority.certificate(tmp_path, "old.pem", "client.example", days=-1)
    with running(tmp_path, _balancer(replace(TLS, trust_store="ca.pem", advertise_authorities=True))):
        for words in ((), ("--cert", "stranger.pem"), ("--cert", "old.pem")):
            with pytest.raises(subprocess.CalledProcessError):
                curl(tmp_path, *words)
        seen = curl(tmp_path, "--cert", "client.pem", "-H", "X-Amzn-Mtls-Clientcert-Subject: forged").seen
    told = {name.removeprefix("x-amzn-mtls-clientcert-"): value for name, value in _lower(seen.headers).items()}
    assert int(told["serial-number"], 16) == client.serial_number
    assert told["issuer"] == "CN=Lab"
    assert told["subject"] == r"CN=client.example,O=Lab\, Inc.,C=US"
    assert told["validity"] == (
        f"NotBefore={client.not_valid_before_utc:%Y-%m-%dT%H:%M:%SZ};"
        f"NotAfter={client.not_valid_after_utc:%Y-%m-%dT%H:%M:%SZ}"
    )
    assert unquote(told["leaf"]).encode() == client.public_bytes(serialization.Encoding.PEM)
    assert not set(told["leaf"]) & set(" \n")


@pytest.mark.contract("AL-16")
def test_an_expired_certificate_may_be_allowed(authority: Authority, tmp_path: Path) -> None:
    authority.certificate(tmp_path, "old.pem", "client.example", days=-1)
    with running(tmp_path, _balancer(replace(TLS, trust_store="ca.pem", ignore_expiry=True))):
        assert curl(tmp_path, "--cert", "old.pem").status == 200


@pytest.mark.contract("AL-16")
def test_passthrough_judges_no_certificate_and_hands_it_on(authority: Authority, tmp_path: Path) -> None:
    stranger = Authority("Stranger").certificate(tmp_path, "stranger.pem", "client.example", days=-1)
    with running(tmp_path, _balancer(replace(TLS, passthrough=True))):
        seen = curl(tmp_path, "--cert", "stranger.pem", "--http2").seen
        assert unquote(seen.values("X-Amzn-Mtls-Clientcert")[0]).encode() == stranger.public_bytes(
            serialization.Encoding.PEM
        )
        assert curl(tmp_path, "-H", "X-Amzn-Mtls-Clientcert: forged").seen.value("X-Amzn-Mtls-Clientcert") is None


# ---- header modification ----
@pytest.mark.contract("AL-17")
def test_headers_of_requests_have_other_names(authority: Authority, tmp_path: Path) -> None:
    authority.certificate(tmp_path, "client.pem", "client.example")
    renamed = {
        f"routing.http.request.{key}.header_name": f"My'#-{key.replace('_', '-')}"
        for key, _ in REQUEST_HEADERS.values()
    }
    attributes = {"routing.http.x_amzn_tls_version_and_cipher_suite.enabled": "true"}
    verified = {f"x-amzn-mtls-clientcert-{each}" for each in ("serial-number", "issuer", "subject", "validity", "leaf")}
    for tls, absent in (
        (replace(TLS, trust_store="ca.pem"), {"x-amzn-mtls-clientcert"}),
        (replace(TLS, passthrough=True), verified),
    ):
        with running(tmp_path, _balancer(tls, renamed, attributes)):
            names = set(_lower(curl(tmp_path, "--cert", "client.pem").seen.headers))
        usual = {name.lower() for _, name in REQUEST_HEADERS.values()}
        assert not names & usual
        assert {name for name in usual if f"my'#-{name}" in names} == usual - absent


@pytest.mark.contract("AL-17")
def test_headers_of_answers_are_added_and_the_server_is_not_told(authority: Authority, tmp_path: Path) -> None:
    values = {key: f"value of {key}; 100% \"x\" 'y' $z" for key, _ in RESPONSE_HEADERS.values()}
    attributes = {f"routing.http.response.{key}.header_value": value for key, value in values.items()}
    attributes["routing.http.response.server.enabled"] = "false"
    balancer = engine(listener(attributes=attributes), listener(port=81), pools=[WEB])
    with running(tmp_path, balancer, {"a": lambda _: made(200, b"", "Server: x", "X-Frame-Options: DENY")}) as lab:
        for answer in lab.ask(), lab.ask(method="TRACE"):
            assert answer.value("Server") is None
            for key, name in RESPONSE_HEADERS.values():
                assert answer.values(name) == [values[key]]
        answer = lab.ask(port=81)
        assert (answer.value("Server"), answer.value("X-Frame-Options")) == ("x", "DENY")
        assert answer.value("Strict-Transport-Security") is None


def _lower(headers: tuple[tuple[str, str], ...]) -> dict[str, str]:
    return {name.lower(): value for name, value in headers}


# ---- how long a client's connection lives ----
@pytest.mark.contract("AL-20")
def test_a_connection_ends_after_an_answer_when_its_time_is_over(tmp_path: Path) -> None:
    with running(tmp_path, engine(pools=[WEB]), keep_alive_seconds=2) as lab, Http() as client:
        assert client.ask().value("Connection") is None

        def closes() -> bool:
            return client.ask().value("Connection") == "close"

        wait_until(closes, "an answer that ends the connection", seconds=20)
        assert client.is_closed()
        assert lab.ask().value("Connection") is None
