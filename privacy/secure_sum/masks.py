"""Masks that hide each share of a sum and cancel in the sum of all.

Every two sites of the roster agree on a secret (X25519; their public keys are in the approved
plan). Nobody can put himself between two sites that have each other's keys from each other: the
coordinator writes the plan, so a steward's home compares its keys with those that the other
stewards told (`[peers]` of site.toml). HKDF-SHA256 makes a key of it for one request alone: its
`info` holds the purpose, the request's digest (which covers study, plan, run, round,
attempt, query, parameters, arrays and roster) and both sites' names and public keys. AES-256 in
counter mode under that key is a stream of 64-bit words; of the two sites the one that sorts first
adds it, the other subtracts it, modulo 2^64. In a large roster a site does so with some fellow
sites only (`fellows`).

Guarantee: to whoever lacks the private keys of two or more honest sites of the roster that hang
together by shared masks, their masked shares are indistinguishable from uniform words with the
right sum, as long as no site masks two different shares for one request digest. The ledger keeps
that (design, section 5, rule 3).
Not covered: keys in the plan that are not the other sites'; a site that keeps its mask but not to
its share.

Source: Bonawitz et al. 2017, "Practical secure aggregation for privacy-preserving machine
learning", section 4, without its recovery of dropouts; RFC 7748; RFC 5869.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from numpy.typing import NDArray

from fedloom.common.digest import canonical_json
from fedloom.common.errors import ConfigError
from fedloom.privacy.keys import ExchangeKey, public_key_hex, shared_secret
from fedloom.privacy.secure_sum.fellows import fellows

__all__ = ["MIN_SITES", "RequestMask"]

MIN_SITES = 3
_PURPOSE = b"fedloom secure sum mask 1\n"
_PART = 1 << 15
_ZEROS = bytes(8 * _PART)


class RequestMask:
    """One site's mask for one request; the masks of the whole roster sum to 0.

    The keys of its pairs are derived once, when it is made: one X25519 exchange a fellow site
    (`fellows`), which are all other sites in rosters of up to 65.

    Args:
      site: The site that masks.
      roster: By name of every site that is asked, its public exchange key, as the plan has it.
      private_key: The site's exchange key.
      request_digest: SHA-256 of the whole request, 64 hexadecimal digits.
      colluding: How many sites may side with the coordinator: the plan's.

    Raises:
      ConfigError: fewer than 3 sites, the site is not among them or under another key, two sites
        share a key, a key is no public key, or the digest is none.
    """

    def __init__(
        self,
        *,
        site: str,
        roster: Mapping[str, str],
        private_key: ExchangeKey,
        request_digest: str,
        colluding: int,
    ) -> None:
        if len(roster) < MIN_SITES:
            raise ConfigError(
                f"a secure sum needs {MIN_SITES} sites or more, got {len(roster)}; of two, each "
                "knows the other's share from the sum"
            )
        if roster.get(site) != public_key_hex(private_key):
            raise ConfigError(
                f"the roster does not hold site {site!r} with the exchange key of its home; the "
                "plan must name the key that `fedloom site keygen` prints"
            )
        if len(set(roster.values())) != len(roster):
            raise ConfigError("two sites of the roster have one exchange key; each needs its own")
        if not re.fullmatch("[0-9a-f]{64}", request_digest):
            raise ConfigError("a mask belongs to a request's digest of 64 hexadecimal digits")
        self._streams: list[tuple[bytes, bool]] = []
        shared_with = fellows(site, roster, request_digest=request_digest, colluding=colluding)
        for other in shared_with:
            first, second = sorted((site, other))
            about = {
                "request": request_digest,
                "sites": [[first, roster[first]], [second, roster[second]]],
            }
            key = HKDF(
                algorithm=SHA256(), length=32, salt=None, info=_PURPOSE + canonical_json(about)
            ).derive(shared_secret(private_key, roster[other]))
            self._streams.append((key, site == second))

    def words(self, size: int) -> NDArray[np.uint64]:
        """Returns the mask's first words, (size,), modulo 2^64."""
        words = np.zeros(size, dtype=np.uint64)
        for key, subtract in self._streams:
            _add_stream(words, key, subtract=subtract)
        return words


def _add_stream(words: NDArray[np.uint64], key: bytes, *, subtract: bool) -> None:
    # The counter starts at 0: every key serves one stream. Part by part, to stay in the cache.
    stream = Cipher(algorithms.AES(key), modes.CTR(bytes(16))).encryptor()
    combine = np.subtract if subtract else np.add
    for start in range(0, words.size, _PART):
        part = words[start : start + _PART]
        drawn = np.frombuffer(stream.update(_ZEROS[: 8 * part.size]), dtype="<u8")
        combine(part, drawn, out=part)
