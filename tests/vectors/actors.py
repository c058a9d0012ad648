"""Who acts in the vectors, and what all of them share: fixed keys, which everybody knows."""

from __future__ import annotations

import base64
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

Vector = dict[str, Any]
COORDINATOR = Ed25519PrivateKey.from_private_bytes(b"vectors: the coordinator, public")
STRANGER = Ed25519PrivateKey.from_private_bytes(b"vectors: a stranger's key public")
SITES = {
    name: Ed25519PrivateKey.from_private_bytes(f"vectors: a site's key {name:>10}".encode())
    for name in ("east", "north", "south")
}
NONCE = "0123456789abcdef" * 2
RUN = "00ff00ff00ff00ff"


def bad(vector: Vector, name: str, code: str, fedloom: str, **changes: Any) -> Vector:
    """A vector with something wrong: its code here, and fedloom's class of error or status."""
    return {**vector, "name": name, "code": code, "fedloom": fedloom, **changes}


def encoded(data: bytes) -> str:
    return base64.b64encode(data).decode()
