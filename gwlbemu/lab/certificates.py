"""The certificates of TLS listeners: read from the user's files and looked at, or made by an authority of the lab's.

The authority lives as long as `up` does: its key is never written. Its certificate is in the lab's state folder, and
every instance sees it as /run/authority.pem, so that a client there can verify the listener.
"""

from __future__ import annotations

import datetime
import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from gwlbemu.errors import AwsError
from gwlbemu.topology.plan.dns_names import dns_name
from gwlbemu.topology.plan.listeners import LAB_CERTIFICATE, Listener
from gwlbemu.topology.plan.network_settings import certificate_file, trust_store_file
from gwlbemu.topology.plan.values import Plan

_DAYS = 365
_PEM = serialization.Encoding.PEM


@dataclass(frozen=True, slots=True)
class Certificates:
    """What the nodes of a lab need: PEM texts by load balancer and file name, and the authority's certificate."""

    files: Mapping[str, Mapping[str, str]]
    authority: str


def certificates(plan: Plan, folder: Path) -> Certificates:
    """Read and make all that the TLS listeners of a plan need; files are relative to `folder`.

    Raises AwsError, with AWS's code, for a file that is not there or will not do.
    """
    authority = _Authority(plan.lab)
    files: dict[str, dict[str, str]] = {}
    for balancer in plan.load_balancers:
        for listener in balancer.listeners:
            if listener.tls is not None:
                own = files.setdefault(balancer.name, {})
                own |= _files(plan, balancer.name, listener, folder, authority)
    return Certificates(files, authority.text)


def _files(plan: Plan, balancer: str, listener: Listener, folder: Path, authority: _Authority) -> dict[str, str]:
    assert listener.tls is not None
    port, found = listener.port or 0, {}
    who = f"load balancer {balancer}, listener {listener.protocol}:{port}"
    for number, named in enumerate(listener.tls.certificates):
        text = authority.issue(*_names(plan, balancer)) if named == LAB_CERTIFICATE else _checked(folder, named, who)
        found[certificate_file(port, number)] = text
    if listener.tls.trust_store:
        found[trust_store_file(port)] = _checked_store(folder, listener.tls.trust_store, who)
    return found


def _names(plan: Plan, balancer: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    nodes = [node for node in plan.addressed_nodes if node.load_balancer == balancer]
    addresses = (address for node in nodes for address in (node.address, node.public_address, node.ipv6_address))
    names = (balancer, *(dns_name(each) for each in plan.load_balancers if each.name == balancer))
    return tuple(filter(None, names)), tuple(filter(None, addresses))


class _Authority:
    """A certificate authority that is gone with this process."""

    def __init__(self, lab: str) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"gwlbemu lab {lab}")])
        builder = _builder(self._name, self._name, self._key.public_key())
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        self._certificate = builder.sign(self._key, hashes.SHA256())
        self.text = self._certificate.public_bytes(_PEM).decode()

    def issue(self, names: tuple[str, ...], addresses: tuple[str, ...]) -> str:
        """Return a certificate for names, every name below them, and addresses, with its key, as PEM."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names[0])])
        hosts = [x509.DNSName(each) for name in names for each in (name, f"*.{name}")]
        places = [x509.IPAddress(ipaddress.ip_address(each)) for each in addresses]
        builder = _builder(subject, self._name, key.public_key())
        builder = builder.add_extension(x509.SubjectAlternativeName([*hosts, *places]), critical=False)
        told = builder.sign(self._key, hashes.SHA256()).public_bytes(_PEM)
        pkcs8, open_ = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        return told.decode() + key.private_bytes(_PEM, pkcs8, open_).decode()


def _builder(subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=_DAYS))
    )


def _read(folder: Path, named: str, who: str) -> bytes:
    try:
        return (folder / named).read_bytes()
    except OSError as error:
        raise AwsError(f"{who}: certificate file {named}: {error.strerror}", "CertificateNotFound") from None


def _load(data: bytes, named: str, who: str) -> list[x509.Certificate]:
    try:
        return x509.load_pem_x509_certificates(data)
    except ValueError:
        raise _refused(who, named, "holds no certificate in PEM form") from None


def _checked(folder: Path, named: str, who: str) -> str:
    data = _read(folder, named, who)
    certificate = _load(data, named, who)[0]
    try:
        key = serialization.load_pem_private_key(data, password=None)
    except (ValueError, TypeError):
        raise _refused(who, named, "holds no private key in PEM form that is open") from None
    spki = serialization.PublicFormat.SubjectPublicKeyInfo
    if key.public_key().public_bytes(_PEM, spki) != certificate.public_key().public_bytes(_PEM, spki):
        raise _refused(who, named, "has a key that does not belong to its first certificate")
    now = datetime.datetime.now(datetime.UTC)
    if certificate.not_valid_after_utc < now:
        raise _refused(who, named, f"has expired on {certificate.not_valid_after_utc:%Y-%m-%d}")
    if certificate.not_valid_before_utc > now:
        raise _refused(who, named, f"is not valid before {certificate.not_valid_before_utc:%Y-%m-%d}")
    return data.decode(errors="replace")


def _checked_store(folder: Path, named: str, who: str) -> str:
    """A trust store's certificates alone: whatever else is in the file stays there."""
    try:
        data = (folder / named).read_bytes()
    except OSError as error:
        raise AwsError(f"{who}: trust store file {named}: {error.strerror}", "TrustStoreNotFound") from None
    return "".join(each.public_bytes(_PEM).decode() for each in _load(data, named, who))


def _refused(who: str, named: str, what: str) -> AwsError:
    return AwsError(f"{who}: {named} {what}", "InvalidConfigurationRequest")
