from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from fedloom.common.encoding import Encoding
from fedloom.common.errors import ConfigError
from fedloom.common.schema import Schema
from fedloom.common.scores import BINS, EvaluationQueries
from fedloom.privacy.held_back import (
    accuracy,
    area,
    evaluation_record,
    figures_of,
)

Array = np.ndarray[Any, np.dtype[Any]]
SCHEMA = Schema.from_dict(
    {
        "column": [
            {"name": "age", "kind": "integer", "min": 0, "max": 9},
            {"name": "sex", "kind": "category", "values": ["female", "male"]},
            {"name": "visited", "kind": "category", "values": ["no", "yes"]},
        ]
    }
)


def binned(rng: np.random.Generator, yes: int, no: int, gap: float) -> Array:
    """Counts of Gaussian scores in bins of equal width, the answer no first."""
    edges = np.linspace(-2.0, 2.0 + gap, BINS - 1)
    draws = (rng.normal(0.0, 1.0, no), rng.normal(gap, 1.0, yes))
    return np.array([np.bincount(np.searchsorted(edges, d), minlength=BINS) for d in draws], float)


def test_area_of_exact_counts_is_the_area_of_the_binned_scores() -> None:
    counts = binned(np.random.default_rng(1), 300, 900, 1.2)
    truth = np.repeat([0, 1], counts.sum(axis=1).astype(int))
    scores = np.concatenate([np.repeat(np.arange(BINS), row.astype(int)) for row in counts])
    assert area(counts, 0.0)["auc"] == pytest.approx(roc_auc_score(truth, scores), abs=1e-12)


def coverage(noise_std: float, stated: float, *, times: int = 400) -> float:
    """How often the true area lies within two stated standard deviations of the estimate."""
    rng = np.random.default_rng(20_260_101)
    true = area(binned(rng, 2_000_000, 2_000_000, 1.2), 0.0)["auc"]
    hits = 0
    for _ in range(times):
        noisy = binned(rng, 1500, 3500, 1.2) + rng.normal(0.0, noise_std, (2, BINS))
        found = area(noisy, stated)
        hits += abs(found["auc"] - true) <= 2 * found["std"]
    return hits / times


@pytest.mark.parametrize("noise_std", [0.0, 15.0, 60.0])
def test_two_standard_deviations_cover_the_truth(noise_std: float) -> None:
    """At 95.4% coverage, fewer than 92% of 400 happens once in 800 seeds; this seed is fixed."""
    assert coverage(noise_std, noise_std) >= 0.92


def test_error_bars_that_forget_the_noise_are_caught() -> None:
    assert coverage(60.0, 0.0) < 0.7


@pytest.mark.parametrize("stated, believed", [(60.0, True), (0.0, False)])
def test_error_bars_of_the_accuracy(stated: float, believed: bool) -> None:
    """As for the area: at least 92% of 400 within two standard deviations; the twin forgets."""
    rng = np.random.default_rng(20_260_102)
    edges = np.linspace(-2.6, 2.6, BINS - 1)
    edges[5] = 0.0
    exact = binned(rng, 2_000_000, 2_000_000, 1.2)
    weights = np.array([[3500.0], [1500.0]]) / exact.sum(axis=1, keepdims=True)
    true = accuracy(exact * weights, edges, 0.0)["share"]
    hits = 0
    for _ in range(400):
        noisy = binned(rng, 1500, 3500, 1.2) + rng.normal(0.0, 60.0, (2, BINS))
        found = accuracy(noisy, edges, stated)
        hits += abs(found["share"] - true) <= 2 * found["std"]
    assert (hits / 400 >= 0.92) is believed


def test_noise_that_swamps_the_records_is_said_to_hide_them() -> None:
    rng = np.random.default_rng(3)
    for _ in range(100):
        found = area(binned(rng, 20, 20, 1.2) + rng.normal(0.0, 200.0, (2, BINS)), 200.0)
        assert found["hidden"]
        assert 0.0 <= found["auc"] <= 1.0 and 0.0 < found["std"] <= 0.5
    assert not area(binned(rng, 2000, 2000, 1.2), 5.0)["hidden"]


def toy_record(*, noise_std: float, shift: int = 0, seed: int = 5) -> dict[str, Any]:
    """An evaluation of synthetic rows of the same law as the records, or moved by `shift`."""
    encoding = Encoding(SCHEMA, "visited")
    measured = EvaluationQueries(encoding)
    rng = np.random.default_rng(seed)

    def rows(count: int, move: int) -> Array:
        age = rng.integers(0, 9, count)
        classes = (age + rng.normal(0, 2, count) > 4).astype(np.int64)
        codes = np.stack([age + move, rng.integers(0, 2, count)], axis=1)
        return measured.join(measured.sums(codes, classes, arrays))

    weights = np.zeros((1, encoding.width + 1), dtype=np.float32)
    weights[0, :10] = np.arange(10)
    arrays = {
        "groups": np.concatenate([np.arange(b.size) for b in encoding.features]).astype(np.int32),
        "questions": np.array([[0, 1, -1]], dtype=np.int32),
        "weights": weights,
        "edges": np.linspace(0.5, 9.5, BINS - 1)[None].astype(np.float32),
    }
    noisy = rows(3000, shift) + rng.normal(0.0, noise_std, measured.length)
    stds = [noise_std] * len(measured.histograms)
    return evaluation_record(encoding, arrays, noisy, stds, rows(20_000, 0), hold_back=0.1)


def test_equal_tables_differ_by_noise_and_others_by_more() -> None:
    """Four standard deviations in three columns: false alarm once in 10,000 seeds, this is one."""
    for column in toy_record(noise_std=8.0)["figures"]["columns"]:
        assert abs(column["distance"] - column["expected"]) < 4 * column["std"] + 0.005
    moved = {c["name"]: c for c in toy_record(noise_std=8.0, shift=1)["figures"]["columns"]}
    assert moved["age"]["distance"] > moved["age"]["expected"] + 4 * moved["age"]["std"]


def test_figures_count_the_records_and_compare_the_scorer() -> None:
    figures = toy_record(noise_std=8.0)["figures"]
    assert abs(figures["records"]["estimate"] - 3000) < 4 * figures["records"]["std"]
    (question,) = figures["questions"]
    assert (question["asks_for"], question["against"]) == (["yes"], ["no"])
    both = [question[name] for name in ("held_back", "synthetic")]
    assert abs(both[0]["auc"] - both[1]["auc"]) < 4 * math.hypot(both[0]["std"], both[1]["std"])
    assert len(question["calibration"]) == 4


def test_figures_follow_from_the_record_alone() -> None:
    record = json.loads(json.dumps(toy_record(noise_std=30.0)))
    assert figures_of(record, Encoding(SCHEMA, "visited")) == record["figures"]


@pytest.mark.parametrize(
    "key, value",
    [
        ("format", "other"),
        ("bins", 3),
        ("held_back", {}),
        ("held_back", {"scores": [float("nan")] * 24, "marginals": [0.0] * 17}),
        ("noise_std", {"scores": 0.0, "marginals": 1.0}),
        ("noise_std", {"scores": 1.0}),
        ("groups", [0]),
        ("groups", [-1] * 14),
        ("questions", []),
        ("edges", [[0.0]]),
        ("questions", [[0, 1]]),
        ("questions", None),
    ],
)
def test_records_that_do_not_fit_are_refused(key: str, value: Any) -> None:
    record = {**toy_record(noise_std=8.0), key: value}
    with pytest.raises(ConfigError, match="an evaluation"):
        figures_of(record, Encoding(SCHEMA, "visited"))
