"""The federation's own certificate authority, and the certificate of its server.

Institutions trust one authority, the federation's, and no public one: a certificate that some
other authority issues for the same host name is refused. Keys are on the curve P-256, signatures
ECDSA with SHA-256 (RFC 5280, RFC 5480).
"""

from __future__ import annotations

import datetime
import ipaddress
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from fedloom.common.errors import ConfigError
from fedloom.common.files import write_new, write_whole

__all__ = [
    "Authority",
    "certificate_fingerprint",
    "issue_server_certificate",
    "make_authority",
    "renew_authority",
]

AUTHORITY_DAYS = 3650
SERVER_DAYS = 397
_LOOPBACK = ("localhost", "127.0.0.1")
_BACKDATED = datetime.timedelta(hours=1)  # clocks of institutions may be behind


@dataclass(frozen=True, slots=True, kw_only=True)
class Authority:
    """Files of the certificate authority: the key stays with the coordinator."""

    key: Path
    certificate: Path


def make_authority(authority: Authority, *, host: str) -> None:
    """Makes the authority's key (mode 0600) and its certificate.

    Args:
      authority: files to write; neither may exist.
      host: names the federation in the certificate.

    Raises:
      ConfigError: a file exists.
    """
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"fedloom authority of {host}"[:64])])
    certificate = _self_signed(key, name)
    _write(authority.key, _pem(key), 0o600)
    _write(authority.certificate, certificate.public_bytes(serialization.Encoding.PEM), 0o644)


def renew_authority(authority: Authority) -> None:
    """Gives the authority a certificate that begins now, for the same name and key.

    Whoever has the old one goes on with it until it ends, as the key that signs is the same.

    Raises:
      ConfigError: the authority's files cannot be read.
    """
    key, before = _read(authority)
    certificate = _self_signed(key, before.subject)
    write_whole(authority.certificate, certificate.public_bytes(serialization.Encoding.PEM))


def _self_signed(key: ec.EllipticCurvePrivateKey, name: x509.Name) -> x509.Certificate:
    return (
        _begun(name, name, key.public_key(), AUTHORITY_DAYS)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(signs_certificates=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )


def issue_server_certificate(authority: Authority, *, host: str, key: Path, chain: Path) -> None:
    """Makes a server's key (mode 0600) and certificate, in place of those that are there.

    It holds for `host`, a name or an address, and for the loopback, where the coordinator's own
    programs meet, and no longer than the authority's. The file `chain` is what the server sends.

    Raises:
      ConfigError: the authority's files cannot be read.
    """
    issuer_key, issuer = _read(authority)
    own = ec.generate_private_key(ec.SECP256R1())
    names = [_general_name(text) for text in dict.fromkeys((host, *_LOOPBACK))]
    certificate = (
        _begun(
            x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, host[:64])]),
            issuer.subject,
            own.public_key(),
            SERVER_DAYS,
            latest=issuer.not_valid_after_utc,
        )
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()),
            critical=False,
        )
        .sign(issuer_key, hashes.SHA256())
    )
    write_whole(key, _pem(own), private=True)
    write_whole(chain, certificate.public_bytes(serialization.Encoding.PEM))


def certificate_fingerprint(pem: bytes) -> str:
    """Returns the SHA-256 of a certificate, in groups of four digits that people can compare.

    Raises:
      ConfigError: `pem` is no certificate.
    """
    try:
        digest = x509.load_pem_x509_certificate(pem).fingerprint(hashes.SHA256()).hex()
    except ValueError as error:
        raise ConfigError("expected a certificate in PEM form") from error
    return " ".join(digest[i : i + 4] for i in range(0, len(digest), 4))


def _begun(
    subject: x509.Name,
    issuer: x509.Name,
    public: ec.EllipticCurvePublicKey,
    days: int,
    latest: datetime.datetime | None = None,
) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    end = now + datetime.timedelta(days=days)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _BACKDATED)
        .not_valid_after(end if latest is None else min(end, latest))
    )


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _general_name(text: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(text))
    except ValueError:
        return x509.DNSName(text)


def _pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


def _read(authority: Authority) -> tuple[ec.EllipticCurvePrivateKey, x509.Certificate]:
    try:
        key = serialization.load_pem_private_key(authority.key.read_bytes(), password=None)
        certificate = x509.load_pem_x509_certificate(authority.certificate.read_bytes())
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"the certificate authority in {authority.key.parent} cannot be read: {error}; restore "
            f"{authority.key.name} and {authority.certificate.name} from a backup"
        ) from error
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise ConfigError(f"{authority.key} must hold a key on an elliptic curve")
    return key, certificate


def _write(path: Path, data: bytes, mode: int) -> None:
    try:
        write_new(path, data, mode=mode)
    except FileExistsError:
        raise ConfigError(f"{path} exists already; it is never overwritten") from None
