"""Keys: Ed25519 says who signed, X25519 lets two sites agree on a secret.

A signing key stands behind requests, answers, ledger entries, plans and releases. An exchange key
serves the masks of a secure sum alone (`fedloom.privacy.secure_sum`).

A private key lies in a PEM file that only its owner can read. A public key travels as 64
hexadecimal digits; people compare it by its fingerprint. What is signed for one purpose must not
verify for another, so each caller puts its own prefix before the bytes that it signs.
"""

from __future__ import annotations

import stat
from pathlib import Path

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import (
    Ed25519PrivateKey,
    Ed25519PublicKey,
)
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey

from fedloom.common.digest import sha256_hex
from fedloom.common.errors import ConfigError
from fedloom.common.files import disk_is_full, write_new

__all__ = [
    "ExchangeKey",
    "PrivateKey",
    "fingerprint",
    "generate_exchange_key",
    "generate_key",
    "load_exchange_key",
    "load_private_key",
    "public_key_hex",
    "save_key",
    "shared_secret",
    "sign",
    "verify",
    "write_key_file",
]

PrivateKey = Ed25519PrivateKey
ExchangeKey = X25519PrivateKey


def generate_key(path: Path) -> PrivateKey:
    """Makes a signing key and writes it to a new file with mode 0600.

    Raises:
      ConfigError: the file exists (a key is never overwritten) or cannot be written.
    """
    key = Ed25519PrivateKey.generate()
    save_key(path, key)
    return key


def save_key(path: Path, key: PrivateKey) -> None:
    """Writes a signing key to a new file with mode 0600; raises as `generate_key` does."""
    write_key_file(path, _pem(key))


def generate_exchange_key(path: Path) -> ExchangeKey:
    """Makes an exchange key and writes it to a new file with mode 0600.

    Raises:
      ConfigError: the file exists (a key is never overwritten) or cannot be written.
    """
    key = X25519PrivateKey.generate()
    write_key_file(path, _pem(key))
    return key


def load_private_key(path: Path) -> PrivateKey:
    """Reads a key that `generate_key` wrote.

    Raises:
      ConfigError: the file is missing, readable by others, or holds no Ed25519 key.
    """
    key = _read(path)
    if not isinstance(key, Ed25519PrivateKey):
        raise ConfigError(f"{path} holds a {type(key).__name__}; fedloom signs with Ed25519 keys")
    return key


def load_exchange_key(path: Path) -> ExchangeKey:
    """Reads a key that `generate_exchange_key` wrote.

    Raises:
      ConfigError: the file is missing, readable by others, or holds no X25519 key.
    """
    key = _read(path)
    if not isinstance(key, X25519PrivateKey):
        raise ConfigError(f"{path} holds a {type(key).__name__}; a secure sum needs X25519 keys")
    return key


def public_key_hex(key: PrivateKey | ExchangeKey) -> str:
    """Returns the public half of `key` as 64 hexadecimal digits."""
    return key.public_key().public_bytes_raw().hex()


def shared_secret(key: ExchangeKey, public_hex: str) -> bytes:
    """Returns the 32 bytes that only the holders of the two private keys can compute.

    They are no uniform key yet: derive one from them for each purpose (RFC 7748, section 6.1).

    Raises:
      ConfigError: `public_hex` is not an X25519 public key of 64 hexadecimal digits, or one of
        the few with which everybody shares the secret 0.
    """
    try:
        return key.exchange(X25519PublicKey.from_public_bytes(bytes.fromhex(public_hex)))
    except (ValueError, TypeError) as error:
        raise ConfigError(
            f"{str(public_hex)[:80]!r} is no usable exchange key; the site's own is printed by "
            "`fedloom site keygen`"
        ) from error


def sign(key: PrivateKey, data: bytes) -> str:
    """Signs `data`; the signature is 128 hexadecimal digits."""
    return key.sign(data).hex()


def verify(public_hex: str, data: bytes, signature_hex: str) -> bool:
    """Tells whether `signature_hex` is the signature of `data` by the holder of `public_hex`.

    Malformed keys and signatures are simply not valid.
    """
    try:
        public_key = Ed25519PublicKey.from_public_bytes(bytes.fromhex(public_hex))
        public_key.verify(bytes.fromhex(signature_hex), data)
    except (InvalidSignature, ValueError, TypeError):
        return False
    return True


def fingerprint(public_hex: str) -> str:
    """Returns a short name of a public key that people can compare.

    Raises:
      ConfigError: `public_hex` is not a public key of 64 hexadecimal digits.

    >>> fingerprint("00" * 32)
    '6668 7aad f862 bd77'
    """
    try:
        raw = bytes.fromhex(public_hex)
    except ValueError:
        raw = b""
    if len(raw) != 32:
        raise ConfigError("expected a public key of 64 hexadecimal digits")
    short = sha256_hex(raw)[:16]
    return " ".join(short[i : i + 4] for i in range(0, 16, 4))


def write_key_file(path: Path, pem: bytes) -> None:
    """Writes a private key to a new file with mode 0600.

    Raises:
      ConfigError: the file exists (a key is never overwritten) or cannot be written.
    """
    try:
        write_new(path, pem)
    except FileExistsError:
        raise ConfigError(f"{path} exists already; a key is never overwritten") from None
    except OSError as error:
        if disk_is_full(error):
            raise
        raise ConfigError(f"cannot write the key {path}: {error.strerror}") from error


def _pem(key: PrivateKey | ExchangeKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


def _read(path: Path) -> object:
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
        data = path.read_bytes()
    except OSError as error:
        raise ConfigError(
            f"cannot read the key {path}: {error.strerror}; `fedloom site keygen` makes a site's, "
            "`fedloom coordinator keygen` a coordinator's"
        ) from error
    if mode & 0o077:
        raise ConfigError(
            f"the key {path} can be read by others (mode {mode:04o}); "
            f"if nobody has seen it, run: chmod 600 {path}"
        )
    try:
        return serialization.load_pem_private_key(data, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise ConfigError(f"{path} does not hold an unencrypted private key in PEM form") from error
