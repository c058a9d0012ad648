"""Sites with exchange keys, and one masked sum over them."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Callable

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from fedloom.privacy.keys import public_key_hex
from fedloom.privacy.secure_sum import masked_share

DIGEST = "ab" * 32
Shares = dict[str, np.ndarray]


class Sites:
    """Some sites, each with its exchange key."""

    def __init__(self, count: int) -> None:
        names = [f"site-{number:02d}" for number in range(count)]
        self.keys = {name: X25519PrivateKey.generate() for name in names}
        self.roster = {name: public_key_hex(key) for name, key in self.keys.items()}

    def mask(self, shares: Shares, digest: str = DIGEST) -> Shares:
        """Masks a copy of every site's share under one request."""
        return {
            name: masked_share(
                share.copy(),
                site=name,
                roster={other: self.roster[other] for other in shares},
                private_key=self.keys[name],
                request_digest=digest,
            )
            for name, share in shares.items()
        }

    def pair(self, holder: str, other: str, digest: str, size: int) -> np.ndarray:
        """The words that `holder` adds for `other`, from the document alone.

        HKDF (RFC 5869) is written out with HMAC, counter mode with single AES blocks.
        """
        first, second = sorted((holder, other))
        about = {
            "request": digest,
            "sites": [[first, self.roster[first]], [second, self.roster[second]]],
        }
        info = b"fedloom secure sum mask 1\n"
        info += json.dumps(about, sort_keys=True, separators=(",", ":")).encode()
        secret = self.keys[holder].exchange(self.keys[other].public_key())
        extracted = hmac.new(bytes(32), secret, hashlib.sha256).digest()
        key = hmac.new(extracted, info + b"\x01", hashlib.sha256).digest()
        counters = np.zeros(((size + 1) // 2, 2), dtype=">u8")
        counters[:, 1] = np.arange(len(counters))
        stream = Cipher(algorithms.AES(key), modes.ECB()).encryptor().update(counters.tobytes())
        words = np.frombuffer(stream, dtype="<u8")[:size].astype(np.uint64)
        return words if holder == first else -words


@pytest.fixture(scope="session")
def sites() -> Callable[[int], Sites]:
    """The first so many of ten sites."""
    made = [Sites(count) for count in range(11)]
    return lambda count: made[count]
