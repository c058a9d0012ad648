"""The key with which a site's Flower node proves itself to the coordinator's SuperLink.

Flower takes keys on NIST's curves alone, so this is a third key beside those of
`fedloom.privacy.keys`: ECDSA on P-384. It opens the door and nothing else: answers are signed
with the site's Ed25519 key, which Flower never sees. A public key travels as the compressed point
(SEC 1, section 2.3.3), 98 hexadecimal digits.
"""

from __future__ import annotations

import stat
from pathlib import Path
from typing import Annotated

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from msgspec import Meta

from fedloom.common.errors import ConfigError
from fedloom.privacy.keys import write_key_file

__all__ = ["NodePublicKey", "generate_node_key", "load_node_key", "node_key_hex", "node_key_pem"]

NodePublicKey = Annotated[
    str,
    Meta(
        pattern=r"^0[23][0-9a-f]{96}\Z",
        extra={"what": "a node's public key of 98 hexadecimal digits, as `site card` writes it"},
    ),
]


def generate_node_key(path: Path) -> ec.EllipticCurvePrivateKey:
    """Makes a node's key and writes it to a new file with mode 0600, as Flower reads it.

    Raises:
      ConfigError: the file exists (a key is never overwritten) or cannot be written.
    """
    key = ec.generate_private_key(ec.SECP384R1())
    pem = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.OpenSSH,
        serialization.NoEncryption(),
    )
    write_key_file(path, pem)
    return key


def load_node_key(path: Path) -> ec.EllipticCurvePrivateKey:
    """Reads a key that `generate_node_key` wrote.

    Raises:
      ConfigError: the file is missing, readable by others, or holds no such key.
    """
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
        data = path.read_bytes()
    except OSError as error:
        raise ConfigError(
            f"cannot read the node's key {path}: {error.strerror}; `fedloom site keygen` makes it"
        ) from error
    if mode & 0o077:
        raise ConfigError(
            f"the key {path} can be read by others (mode {mode:04o}); "
            f"if nobody has seen it, run: chmod 600 {path}"
        )
    try:
        key = serialization.load_ssh_private_key(data, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise ConfigError(
            f"{path} must hold an unencrypted node's key; `fedloom site keygen` makes one"
        ) from error
    if not isinstance(key, ec.EllipticCurvePrivateKey) or key.curve.name != "secp384r1":
        raise ConfigError(
            f"{path} must hold a key on the curve P-384; `fedloom site keygen` makes one"
        )
    return key


def node_key_hex(key: ec.EllipticCurvePrivateKey) -> str:
    """Returns the public half as 98 hexadecimal digits."""
    point = key.public_key().public_bytes(
        serialization.Encoding.X962, serialization.PublicFormat.CompressedPoint
    )
    return point.hex()


def node_key_pem(public_hex: str) -> bytes:
    """Returns a public key as Flower's SuperLink registers it.

    Raises:
      ConfigError: it is no point of the curve.
    """
    try:
        public = ec.EllipticCurvePublicKey.from_encoded_point(
            ec.SECP384R1(), bytes.fromhex(public_hex)
        )
    except ValueError as error:
        raise ConfigError(
            f"{public_hex[:20]!r} is no node's public key; have the site send what `fedloom site "
            "card` writes"
        ) from error
    return public.public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
