"""Randomness that privacy rests on: noise and batches drawn from a cryptographic generator.

A `NoiseSource` is AES-256 in counter mode under a key from the operating system. Whoever does
not hold the key cannot tell its output from independent uniform bits, so no released number
helps to predict another's noise; two sources never share a key, and a forked process takes a
new one. A copy would repeat noise, so sources can be neither copied nor pickled. Use one source
in one thread.

Not covered: floating point. Gaussian noise made of doubles does not reach every double, so the
lowest bits of `total + noise` can tell more than the theorem allows (Mironov 2012, "On
significance of the least significant bits for differential privacy"). Mechanisms here round
their answers to a public grid a thousand times coarser than that (`round_to_grid`), which removes
the known attack and is no proof. Uniforms have 51 bits, so tails end near 12 standard deviations
(probability below 2^-100). Timing is not covered either.
"""

from __future__ import annotations

import hashlib
import math
import os
from typing import NoReturn

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from numpy.typing import NDArray

__all__ = ["NoiseSource", "round_to_grid"]

_BLOCK = 8192
_ONE_TO_TWO = np.uint64(0x3FF0000000000001)
_GRID_BITS = 10


class NoiseSource:
    """A stream of secret random numbers.

    >>> NoiseSource().normal((2, 3), std=1.0).shape
    (2, 3)
    >>> NoiseSource().insecure
    False
    """

    _spare: NDArray[np.float64]

    def __init__(self) -> None:
        """Keys the generator with fresh entropy of the operating system."""
        self._seed: int | None = None
        self._rekey()

    @classmethod
    def from_insecure_seed(cls, seed: int) -> NoiseSource:
        """Returns a source that anybody who knows `seed` can replay: for tests and rehearsals.

        >>> a, b = NoiseSource.from_insecure_seed(1), NoiseSource.from_insecure_seed(1)
        >>> bool((a.uniform(5) == b.uniform(5)).all()), a.insecure
        (True, True)
        """
        source = cls.__new__(cls)
        source._seed = int(seed)
        source._rekey()
        return source

    @property
    def insecure(self) -> bool:
        """Whether a seed replays this source, so that its noise protects nobody."""
        return self._seed is not None

    def normal(self, shape: int | tuple[int, ...], std: float) -> NDArray[np.float64]:
        """Returns independent draws from N(0, std^2).

        Args:
          shape: Shape of the result.
          std: Standard deviation, finite, at least 0; 0 gives zeros.

        Source: Marsaglia's polar method (Marsaglia & Bray 1964): exact up to rounding.
        """
        if not (math.isfinite(std) and std >= 0.0):
            raise ValueError(f"std must be a finite number >= 0, got {std!r}")
        values = np.empty(shape, dtype=np.float64)
        flat = values.reshape(-1)
        self._follow_fork()
        done = 0
        while done < flat.size:
            if not self._spare.size:
                self._spare = self._normal_block()
            part = self._spare[: flat.size - done]
            self._spare = self._spare[part.size :]
            np.multiply(part, std, out=flat[done : done + part.size])
            done += part.size
        return values

    def uniform(self, count: int) -> NDArray[np.float64]:
        """Returns `count` independent uniform draws from the open interval (0, 1)."""
        return _fractions(np.frombuffer(self._bytes(8 * count), dtype="<u8")) - 1.0

    def poisson_sample(self, num_records: int, sample_rate: float) -> NDArray[np.int64]:
        """Returns which records a batch holds: each one independently with `sample_rate`.

        The size of the result is private: it may be 0, and must never be told or divided by.

        Args:
          num_records: Number of records (private), at least 0.
          sample_rate: Probability in [0, 1], public.

        Returns:
          Sorted indices, possibly none.
        """
        if not 0.0 <= sample_rate <= 1.0:
            raise ValueError(f"sample_rate must lie in [0, 1], got {sample_rate!r}")
        return np.flatnonzero(self.uniform(num_records) < sample_rate).astype(np.int64)

    def permutation(self, count: int) -> NDArray[np.int64]:
        """Returns a random order of `count` things, all orders alike.

        They are sorted by 102 random bits each; two are equal with probability below
        count^2 / 2^103, and then keep their order.
        """
        order: NDArray[np.int64] = np.lexsort((self.uniform(count), self.uniform(count)))
        return order

    def __reduce__(self) -> NoReturn:
        """Refuses copies and pickles: a copy would repeat the noise."""
        raise TypeError("a NoiseSource cannot be copied or pickled: a copy would repeat its noise")

    def _rekey(self) -> None:
        if self._seed is None:
            key, start = os.urandom(32), os.urandom(16)
        else:
            # A child of fork must not repeat its parent, seeded or not.
            child = os.getpid() if hasattr(self, "_pid") else 0
            key = hashlib.sha256(f"fedloom insecure seed {self._seed} {child}".encode()).digest()
            start = bytes(16)
        self._stream = Cipher(algorithms.AES(key), modes.CTR(start)).encryptor()
        self._pid = os.getpid()
        self._spare = np.empty(0)

    def _follow_fork(self) -> None:
        if os.getpid() != self._pid:
            self._rekey()

    def _bytes(self, count: int) -> bytes:
        self._follow_fork()
        return self._stream.update(bytes(count))

    def _normal_block(self) -> NDArray[np.float64]:
        # A block of fixed length stays in the cache: three times faster than all at once.
        points = _fractions(np.frombuffer(self._bytes(16 * _BLOCK), dtype="<u8"))
        points *= 2.0
        points -= 3.0
        points = points.reshape(2, _BLOCK)
        squared = np.einsum("ij,ij->j", points, points)
        inside = np.flatnonzero(squared < 1.0)
        squared = squared.take(inside)
        factor = np.log(squared)
        factor *= -2.0
        factor /= squared
        np.sqrt(factor, out=factor)
        accepted = points.take(inside, axis=1)
        accepted *= factor
        return accepted.reshape(-1)


def _fractions(words: NDArray[np.uint64]) -> NDArray[np.float64]:
    # 51 bits of each word and a final 1 become the fraction of a double: uniform in the open
    # interval (1, 2), symmetric about its middle and never on it.
    bits = words >> np.uint64(12)
    bits |= _ONE_TO_TWO
    return bits.view(np.float64)


def round_to_grid(values: NDArray[np.float64], std: float) -> NDArray[np.float64]:
    """Rounds noised values to a public grid, in place: about `std` / 1000, a power of two.

    Post-processing, so free of charge; it takes away the low-order bits that floating-point noise
    does not cover. The grid depends on `std` alone. A `std` of 0 leaves `values` as they are.

    >>> round_to_grid(np.array([1.0003]), std=1.0)
    array([1.])
    """
    if std == 0.0:
        return values
    grid = 2.0 ** (math.floor(math.log2(std)) - _GRID_BITS)
    values /= grid
    np.rint(values, out=values)
    values *= grid
    return values
