from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedloom.common.encoding import Encoding
from fedloom.common.errors import ConfigError
from fedloom.common.schema import Schema
from fedloom.common.scores import BINS, EvaluationQueries

Arrays = dict[str, np.ndarray[Any, np.dtype[Any]]]
COLUMNS: list[dict[str, Any]] = [
    {"name": "age", "kind": "integer", "min": 0, "max": 90, "bins": 10, "nullable": True},
    {"name": "town", "kind": "category", "values": ["east", "west", "north"]},
    {"name": "visited", "kind": "category", "values": ["no", "yes"]},
]
TARGETS = (None, "age", "town", "visited")


def evaluation(target: str | None) -> EvaluationQueries:
    return EvaluationQueries(Encoding(Schema.from_dict({"column": COLUMNS}), target))


def random_arrays(measured: EvaluationQueries, rng: np.random.Generator) -> Arrays:
    """Arrays as no honest coordinator would choose them, but within what is allowed."""
    encoding = measured.encoding
    groups = [rng.integers(0, block.size, block.size) for block in encoding.features]
    arrays: Arrays = {"groups": np.concatenate(groups).astype(np.int32)}
    if measured.num_questions:
        shapes = measured.request_arrays()
        arrays["questions"] = rng.integers(-1, 2, shapes["questions"][0]).astype(np.int32)
        arrays["weights"] = rng.normal(0, 100, shapes["weights"][0]).astype(np.float32)
        arrays["edges"] = np.sort(rng.normal(0, 100, shapes["edges"][0]), axis=1).astype(np.float32)
    return arrays


def random_records(
    encoding: Encoding, rows: int, rng: np.random.Generator
) -> tuple[np.ndarray[Any, np.dtype[Any]], np.ndarray[Any, np.dtype[Any]]]:
    codes = np.stack([rng.integers(0, block.size, rows) for block in encoding.features], axis=1)
    return codes.astype(np.int32), rng.integers(0, encoding.num_classes, rows)


def test_questions_follow_the_label() -> None:
    assert [evaluation(target).num_questions for target in TARGETS] == [0, 1, 3, 1]
    assert [histogram.name for histogram in evaluation(None).histograms] == ["marginals"]


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32), target=st.sampled_from(TARGETS), rows=st.integers(0, 40))
def test_one_record_moves_each_histogram_by_its_norm_at_most(
    seed: int, target: str | None, rows: int
) -> None:
    rng = np.random.default_rng(seed)
    measured = evaluation(target)
    arrays = random_arrays(measured, rng)
    measured.check(arrays)
    codes, classes = random_records(measured.encoding, rows + 1, rng)
    where = int(rng.integers(0, rows + 1))
    without = np.delete(codes, where, axis=0), np.delete(classes, where)
    more = measured.sums(codes, classes, arrays)
    less = measured.sums(*without, arrays)
    for histogram in measured.histograms:
        moved = (more[histogram.name] - less[histogram.name]).astype(float)
        assert moved.shape == (histogram.length,)
        assert moved.min() >= 0
        assert np.linalg.norm(moved) <= histogram.l2_norm * (1 + 1e-12)
    # A column's counts say the number of records: every record has one cell in it.
    for counts in measured.columns(more["marginals"]).values():
        assert counts.sum() == rows + 1


def test_a_record_of_many_kinds_reaches_the_norm() -> None:
    measured = evaluation("town")
    arrays = random_arrays(measured, np.random.default_rng(1))
    arrays["questions"][:] = 1
    one = measured.sums(np.array([[3, 1]], dtype=np.int32), np.array([2]), arrays)
    for histogram in measured.histograms:
        assert np.linalg.norm(one[histogram.name]) == pytest.approx(histogram.l2_norm)


def test_scores_and_bins_are_those_of_the_definition() -> None:
    rng = np.random.default_rng(3)
    measured = evaluation("town")
    arrays = random_arrays(measured, rng)
    codes, classes = random_records(measured.encoding, 50, rng)
    expected = np.zeros((3, 2, BINS), dtype=np.int64)
    for row, label in zip(codes, classes, strict=True):
        for question in range(3):
            weights = arrays["weights"][question]
            score = float(weights[-1])
            for block, code in zip(measured.encoding.features, row, strict=True):
                score += float(weights[block.start + code])
            answer = arrays["questions"][question, label]
            if answer >= 0:
                bin_ = int(np.searchsorted(arrays["edges"][question], score, side="right"))
                expected[question, answer, bin_] += 1
    vector = measured.join(measured.sums(codes, classes, arrays))
    np.testing.assert_array_equal(measured.split(vector)["scores"], expected)


def test_a_score_does_not_depend_on_the_other_records() -> None:
    rng = np.random.default_rng(4)
    measured = evaluation("visited")
    codes, _ = random_records(measured.encoding, 64, rng)
    weights = rng.normal(0, 1, (1, measured.encoding.width + 1)).astype(np.float32)
    together = measured.scores(codes, {"weights": weights}, 0)
    alone = [
        measured.scores(codes[i : i + 1], {"weights": weights}, 0)[0] for i in range(len(codes))
    ]
    assert together.tolist() == alone


@pytest.mark.parametrize(
    "name, change",
    [
        ("weights", lambda a: a * np.float32("nan")),
        ("weights", lambda a: a + np.float32(2e4)),
        ("weights", lambda a: a.astype(np.float64)),
        ("weights", lambda a: a[:, :-1]),
        ("edges", lambda a: a[:, ::-1]),
        ("edges", lambda a: a + np.float32("inf")),
        ("questions", lambda a: a + 3),
        ("questions", lambda a: a.astype(np.int64)),
        ("groups", lambda a: a - 1),
        ("groups", lambda a: a + 100),
    ],
)
def test_other_arrays_are_refused(name: str, change: Any) -> None:
    measured = evaluation("visited")
    arrays = random_arrays(measured, np.random.default_rng(5))
    arrays["groups"][0] = 0
    measured.check(arrays)
    with pytest.raises(ConfigError):
        measured.check({**arrays, name: change(arrays[name])})


def test_missing_and_further_arrays_are_refused() -> None:
    measured = evaluation("visited")
    arrays = random_arrays(measured, np.random.default_rng(6))
    with pytest.raises(ConfigError, match="takes the arrays"):
        measured.check({name: array for name, array in arrays.items() if name != "edges"})
    with pytest.raises(ConfigError, match="takes the arrays"):
        measured.check({**arrays, "more": arrays["groups"]})
    with pytest.raises(ConfigError, match="length"):
        measured.split(np.zeros(3))


def test_norms_of_the_histograms_are_known_numbers() -> None:
    norms = {h.name: h.l2_norm for h in evaluation("town").histograms}
    assert norms == {"scores": math.sqrt(3), "marginals": math.sqrt(3)}
    norms = {h.name: h.l2_norm for h in evaluation("age").histograms}
    assert norms == {"scores": 1.0, "marginals": math.sqrt(3)}
