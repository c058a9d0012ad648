"""Sites with exchange keys and one masked sum over them; homes that approved a study."""

from __future__ import annotations

import hashlib
import hmac
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from fedloom.privacy.keys import public_key_hex
from fedloom.privacy.plan import Plan
from fedloom.privacy.secure_sum import RequestMask, masked_share
from tests.federation import approve_at, make_home
from tests.secure_sum.consortium import SITES, Consortium, frame, resolve

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
                RequestMask(
                    site=name,
                    roster={other: self.roster[other] for other in shares},
                    private_key=self.keys[name],
                    request_digest=digest,
                    colluding=1,
                ),
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


@pytest.fixture(scope="session")
def approved(tmp_path_factory) -> tuple[Path, Plan]:
    """Homes that have approved the plan and were asked nothing yet; not to be changed."""
    folder = tmp_path_factory.mktemp("approved")
    homes = {name: make_home(folder / name, name) for name in SITES}
    plan = resolve(folder / "study", homes)
    for name, home in homes.items():
        approve_at(home, plan, frame(name))
    return folder, plan


@pytest.fixture
def consortium(approved, tmp_path) -> Iterator[Consortium]:
    """The vaults of copies of those homes."""
    folder, plan = approved
    shutil.copytree(folder, tmp_path / "sites")
    made = Consortium(tmp_path / "sites", plan)
    yield made
    made.close()
