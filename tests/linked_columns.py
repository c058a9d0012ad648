"""Noisy counts of columns that depend on each other, and how far drawn rows are from them."""

from __future__ import annotations

import numpy as np

from fedloom.common.marginals import NoisyMarginals, OneWayMarginals, TwoWayMarginals, groups_of_one
from fedloom.common.sampling import sample_codes

__all__ = ["ROWS", "counts_of", "pair_distance"]

ROWS = 20_000


def counts_of(encoding, *, std, rows=ROWS, labels=(0.7, 0.3, 0.0)):
    """Columns that share a hidden number, so that they depend on each other within a class."""
    rng = np.random.default_rng(20260101)
    classes = rng.choice(3, size=rows, p=labels)
    hidden = rng.integers(0, 8, rows)
    codes = np.stack([(hidden + rng.integers(0, 3, rows)) % 10 for _ in encoding.features], axis=1)
    codes[:, 1] = np.where(classes == 1, 9 - codes[:, 1], codes[:, 1])
    measured = TwoWayMarginals(encoding)
    exact = measured.sum(codes.astype(np.int32), classes)
    look = OneWayMarginals(encoding).sum(codes.astype(np.int32), classes)
    statistics = NoisyMarginals(
        encoding=encoding,
        look=look + std * rng.standard_normal(len(look)),
        look_std=std,
        groups=groups_of_one(encoding),
        pairs=exact + std * rng.standard_normal(len(exact)),
        pair_std=std,
    )
    return statistics, exact


def pair_distance(artifact, encoding, exact):
    """Mean total variation of all tables of the classes 0 and 1."""
    codes, classes = sample_codes(artifact, encoding, 50_000, seed=1)
    measured = TwoWayMarginals(encoding)
    drawn = measured.sum(codes, classes)
    distances = []
    for label in (0, 1):
        pairs = zip(measured.tables(drawn, label), measured.tables(exact, label), strict=True)
        for (_, made), (_, real) in pairs:
            distances.append(np.abs(made / made.sum() - real / real.sum()).sum() / 2)
    return float(np.mean(distances))
