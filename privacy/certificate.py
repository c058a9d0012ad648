"""When certificates end, and whose they are: both sides warn 30 days before the end."""

from __future__ import annotations

import datetime

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization

from fedloom.common.errors import ConfigError

__all__ = ["WARN_DAYS", "authority_key", "days_left", "end_of"]

WARN_DAYS = 30


def end_of(pem: bytes) -> datetime.datetime:
    """Returns the moment at which a certificate ends, UTC.

    Raises:
      ConfigError: `pem` is no certificate.
    """
    try:
        return x509.load_pem_x509_certificate(pem).not_valid_after_utc
    except ValueError as error:
        raise ConfigError("expected a certificate in PEM form") from error


def authority_key(pem: bytes) -> bytes:
    """Returns the public key of an authority's own certificate, which it has signed itself.

    Raises:
      ConfigError: `pem` is no such certificate.
    """
    try:
        certificate = x509.load_pem_x509_certificate(pem)
        certificate.verify_directly_issued_by(certificate)
    except (ValueError, TypeError, InvalidSignature) as error:
        raise ConfigError("expected an authority's certificate, signed by itself") from error
    return certificate.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )


def days_left(end: datetime.datetime) -> int:
    """Returns how many whole days are left to a moment; below 0 once it has passed."""
    return (end - datetime.datetime.now(datetime.UTC)).days
