"""The comparison of synthetic rows with noisy statistics, against closed forms and simulation."""

from __future__ import annotations

import dataclasses

import numpy as np
import pandas as pd
import pytest

from fedloom.common.encoding import Encoding
from fedloom.common.marginals import NoisyMarginals, OneWayMarginals, TwoWayMarginals
from fedloom.common.schema import Schema
from fedloom.privacy.release.report.compare import compare_dependence, compare_marginals

SCHEMA = Schema.from_dict(
    {
        "column": [
            {"name": "a", "kind": "integer", "min": 0, "max": 31},
            {"name": "b", "kind": "category", "values": ["x", "y", "z"]},
            {"name": "label", "kind": "category", "values": ["no", "yes"]},
        ]
    }
)


def table(num_rows: int, *, insecure_seed: int, dependent: bool = True) -> pd.DataFrame:
    rng = np.random.default_rng(insecure_seed)
    a = rng.integers(0, 32, num_rows)
    b = np.array(["x", "y", "z"])[np.minimum(a // 11, 2) if dependent else rng.integers(0, 3)]
    label = np.where(a > 15, "yes", "no") if dependent else rng.choice(["no", "yes"], num_rows)
    return pd.DataFrame({"a": a, "b": b, "label": label})


def noisy(
    frame: pd.DataFrame, kind: str, std: float, *, target: str | None = "label", seed: int = 5
) -> NoisyMarginals:
    encoding = Encoding(SCHEMA, target)
    codes = encoding.encode(frame).codes
    counted = encoding.feature_codes(codes), encoding.classes(codes)
    rng = np.random.default_rng(seed)
    look = OneWayMarginals(encoding)
    noisy_look = look.sum(*counted) + rng.normal(0.0, std, look.length)
    statistics = NoisyMarginals(encoding=encoding, look=noisy_look, look_std=std)
    if kind == "one-way":
        return statistics
    # The wide column is counted on pairs of neighbouring cells, the others cell by cell.
    groups = [np.arange(block.size) // (2 if block.size > 20 else 1) for block in encoding.features]
    joined = np.concatenate(groups).astype(np.int32)
    pairs = TwoWayMarginals(encoding, joined)
    noisy_pairs = pairs.sum(*counted) + rng.normal(0.0, std, pairs.length)
    return dataclasses.replace(statistics, groups=joined, pairs=noisy_pairs, pair_std=std)


@pytest.mark.parametrize("kind", ["one-way", "pairwise"])
def test_without_noise_a_table_has_distance_zero_to_itself(kind):
    frame = table(500, insecure_seed=1)
    for marginal in compare_marginals(frame, noisy(frame, kind, 1e-9)):
        assert marginal.distance == pytest.approx(0.0, abs=1e-8)
        assert sum(marginal.synthetic) == pytest.approx(1.0)


@pytest.mark.parametrize("kind", ["one-way", "pairwise"])
@pytest.mark.parametrize("factor, believed", [(1.0, True), (2.0, False)])
def test_expected_distance_is_what_noise_gives(kind, factor, believed):
    """Mean over 30 draws, 32 cells each: within 15% of the truth except once in 1e4 seeds.

    The twin doubles the noise without saying so, and must be seen.
    """
    frame = table(4000, insecure_seed=1)
    ratios = []
    for seed in range(30):
        statistics = noisy(frame, kind, 20.0 * factor, seed=seed)
        told = dataclasses.replace(
            statistics, look_std=20.0, pair_std=None if kind == "one-way" else 20.0
        )
        found = {m.name: m for m in compare_marginals(frame, told)}["a"]
        rows_alone = np.sqrt(np.array(found.synthetic) * (1 - np.array(found.synthetic)) / 4000)
        errors = np.array(found.errors)
        noise_alone = errors / np.sqrt(errors**2 + rows_alone**2)
        ratios.append(found.distance / (found.expected * noise_alone.mean()))
    assert bool(abs(np.mean(ratios) - 1) < 0.15) is believed


def test_largest_distance_comes_first():
    frame = table(500, insecure_seed=1)
    moved = frame.assign(b="x")
    found = compare_marginals(moved, noisy(frame, "one-way", 1e-9))
    assert [m.distance for m in found] == sorted((m.distance for m in found), reverse=True)
    assert found[0].name == "b"


@pytest.mark.parametrize("kind, measured", [("one-way", "label"), ("pairwise", "pairs")])
def test_dependence_of_a_table_and_of_its_exact_counts_agree(kind, measured):
    frame = table(3000, insecure_seed=1)
    found = compare_dependence(frame, noisy(frame, kind, 1e-9))
    assert found.measured == measured
    for i in range(3):
        for j in range(3):
            if found.noisy[i][j] is not None:
                assert found.noisy[i][j] == pytest.approx(found.synthetic[i][j], abs=0.03)
    assert (found.noisy[0][1] is None) is (kind == "one-way")
    assert found.synthetic[0][2] > 0.9


def test_independent_columns_have_no_dependence_even_under_noise():
    """3 pairs at two standard deviations each, seed fixed: a false alarm in one seed of ten."""
    frame = table(3000, insecure_seed=2, dependent=False)
    found = compare_dependence(frame, noisy(frame, "pairwise", 15.0))
    assert max(found.synthetic[i][j] for i in range(3) for j in range(i)) < 0.1
    assert max(found.noisy[i][j] for i in range(3) for j in range(i)) < 0.1


def test_without_label_and_pairs_nothing_is_measured():
    frame = table(300, insecure_seed=1)
    assert compare_dependence(frame, noisy(frame, "one-way", 1.0, target=None)).measured == "none"
