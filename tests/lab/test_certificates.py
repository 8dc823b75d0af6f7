"""Certificates of TLS listeners: those that are made, judged by openssl, and files that will not do."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from gwlbemu.cli.main import main
from gwlbemu.errors import AwsError
from gwlbemu.lab.certificates import Certificates, certificates
from tests.paths import TOPOLOGIES
from tests.topology.builder import plan_of
from tests.topology.file.test_network import listener, network

NEW = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")


def openssl(folder: Path, *words: str) -> str:
    return subprocess.run(["openssl", *words], cwd=folder, check=True, capture_output=True, text=True).stdout


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("certificates")
    for name in ("a", "b"):
        openssl(
            folder,
            "req",
            "-x509",
            *NEW,
            "-keyout",
            f"{name}.key",
            "-out",
            f"{name}.crt",
            "-days",
            "2",
            "-subj",
            "/CN=x",
        )
    openssl(folder, "req", *NEW, "-keyout", "old.key", "-out", "old.csr", "-subj", "/CN=old")
    when = ("-startdate", "20200101000000Z", "-enddate", "20200102000000Z")
    (folder / "ca").mkdir()
    (folder / "ca" / "index.txt").touch()
    (folder / "ca.cnf").write_text(
        "[ca]\ndefault_ca=d\n[d]\ndatabase=ca/index.txt\nnew_certs_dir=ca\ndefault_md=sha256\nrand_serial=yes\n"
        "policy=p\n[p]\ncommonName=supplied\n"
    )
    words = ("-config", "ca.cnf", "-batch", "-in", "old.csr", "-out", "old.crt", "-cert", "a.crt", "-keyfile", "a.key")
    openssl(folder, "ca", *words, "-notext", *when)
    for name, parts in {
        "good.pem": ("a.crt", "a.key"), "foreign.pem": ("a.crt", "b.key"), "expired.pem": ("old.crt", "old.key"),
        "bare.pem": ("a.crt",),
    }.items():  # fmt: skip
        (folder / name).write_text("".join((folder / part).read_text() for part in parts))
    (folder / "text.pem").write_text("no certificate\n")
    return folder


def made(folder: Path, *named: str, trust_store: str = "") -> Certificates:
    mutual = {"mode": "verify", "trust_store": trust_store} if trust_store else {"mode": "off"}
    given = listener("TLS", 443, certificates=list(named), mutual_authentication=mutual)
    return certificates(plan_of(network(listeners=[given])), folder)


@pytest.mark.contract("NL-09")
def test_the_labs_authority_makes_one_for_the_load_balancers_names_and_addresses(tmp_path: Path) -> None:
    found = made(tmp_path, "lab")
    (tmp_path / "ca.pem").write_text(found.authority)
    (tmp_path / "leaf.pem").write_text(found.files["front"]["tls-443-0.pem"])
    assert openssl(tmp_path, "verify", "-CAfile", "ca.pem", "leaf.pem") == "leaf.pem: OK\n"
    (node,) = plan_of(network()).network_nodes
    names = openssl(tmp_path, "x509", "-in", "leaf.pem", "-noout", "-ext", "subjectAltName")
    assert f"IP Address:{node.address}" in names
    assert "DNS:front," in names


def test_a_users_certificate_is_taken_as_it_is_and_a_trust_store_without_its_keys(folder: Path) -> None:
    found = made(folder, "good.pem", "lab", trust_store="good.pem").files["front"]
    assert sorted(found) == ["tls-443-0.pem", "tls-443-1.pem", "tls-443-trust.pem"]
    assert found["tls-443-0.pem"] == (folder / "good.pem").read_text()
    assert found["tls-443-trust.pem"] == (folder / "a.crt").read_text()


@pytest.mark.parametrize(
    ("named", "store", "code", "words"),
    [
        ("missing.pem", "", "CertificateNotFound", "certificate file missing.pem: No such file or directory"),
        ("text.pem", "", "InvalidConfigurationRequest", "text.pem holds no certificate in PEM form"),
        ("bare.pem", "", "InvalidConfigurationRequest", "bare.pem holds no private key in PEM form that is open"),
        ("foreign.pem", "", "InvalidConfigurationRequest", "foreign.pem has a key that does not belong"),
        ("expired.pem", "", "InvalidConfigurationRequest", "expired.pem has expired on 2020-01-02"),
        ("lab", "missing.pem", "TrustStoreNotFound", "trust store file missing.pem: No such file or directory"),
        ("lab", "text.pem", "InvalidConfigurationRequest", "text.pem holds no certificate in PEM form"),
    ],
)
def test_a_file_that_will_not_do_is_refused_by_name(
    folder: Path, named: str, store: str, code: str, words: str
) -> None:
    with pytest.raises(AwsError) as caught:
        made(folder, named, trust_store=store)
    assert caught.value.code == code
    assert str(caught.value).startswith("load balancer front, listener TLS:443: ")
    assert words in str(caught.value)


@pytest.mark.parametrize("verb", ["plan", "doctor"])
def test_a_certificate_that_is_missing_is_told_without_a_lab(
    verb: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "mine.yaml"
    text = (TOPOLOGIES / "static-ip.yaml").read_text()
    file.write_text(
        text.replace("{protocol: TCP, port: 80, default", "{protocol: TLS, port: 443, certificates: [no.pem], default")
    )
    assert main([verb, str(file)]) == 3
    said = capsys.readouterr().err
    assert "CertificateNotFound: load balancer web, listener TLS:443: certificate file no.pem: No such file" in said
