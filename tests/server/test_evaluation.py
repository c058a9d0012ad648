from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from fedloom.common.artifact import Artifact
from fedloom.common.encoding import Encoding
from fedloom.common.sampling import sample_codes
from fedloom.common.schema import Schema
from fedloom.common.scores import BINS, EvaluationQueries
from fedloom.server.evaluation import evaluation_request, evaluation_result

COLUMNS: list[dict[str, Any]] = [
    {"name": "age", "kind": "integer", "min": 0, "max": 39, "special": [99]},
    {"name": "town", "kind": "category", "values": [f"town {i}" for i in range(30)]},
    {"name": "sex", "kind": "category", "values": ["female", "male"], "nullable": True},
    {"name": "visited", "kind": "category", "values": ["no", "yes"]},
]


def encoding_of(target: str | None) -> Encoding:
    return Encoding(Schema.from_dict({"column": COLUMNS}), target)


def generator(encoding: Encoding, seed: int = 1) -> Artifact:
    """A mixture of three components a class whose cells have random probabilities."""
    rng = np.random.default_rng(seed)
    probabilities = np.zeros((encoding.num_classes, 3, encoding.width))
    for block in encoding.features:
        cells = rng.gamma(0.5, size=(encoding.num_classes, 3, block.size))
        cells *= np.array(block.sampleable)
        span = slice(block.start, block.start + block.size)
        probabilities[:, :, span] = cells / cells.sum(axis=2, keepdims=True)
    prior = np.arange(1.0, encoding.num_classes + 1) * np.array(encoding.class_sampleable)
    return Artifact(
        kind="mixture",
        config={},
        arrays={"probabilities": probabilities, "class_prior": prior / prior.sum()},
    )


@pytest.mark.parametrize("target", [None, "age", "town", "sex", "visited"])
def test_a_request_fits_what_sites_accept_and_is_the_same_again(target: str | None) -> None:
    encoding = encoding_of(target)
    made = generator(encoding)
    first = evaluation_request(made, EvaluationQueries(encoding), seed=7)
    EvaluationQueries(encoding).check(first)
    for name, array in evaluation_request(made, EvaluationQueries(encoding), seed=7).items():
        np.testing.assert_array_equal(first[name], array)


def test_columns_with_many_cells_are_joined_and_special_values_stay_apart() -> None:
    encoding = encoding_of("visited")
    groups = evaluation_request(generator(encoding), EvaluationQueries(encoding), seed=7)["groups"]
    age, town, sex = (groups[b.start : b.start + b.size] for b in encoding.features)
    assert len(np.unique(age[:40])) <= 10 and (np.diff(age[:40]) >= 0).all()
    assert age[40] == 40 and age[41] == 41
    assert len(np.unique(town)) == 21
    assert sex.tolist() == [0, 1, 2, 3]


def test_a_numeric_label_is_cut_in_the_middle_and_does_not_score_itself() -> None:
    encoding = encoding_of("age")
    arrays = evaluation_request(generator(encoding), EvaluationQueries(encoding), seed=7)
    assert arrays["questions"][0].tolist()[-2:] == [-1, -1]
    assert (np.diff(arrays["questions"][0][:-2]) >= 0).all()
    (age,) = (block for block in encoding.features if block.name == "age")
    assert not arrays["weights"][0, age.start : age.start + age.size].any()


def test_bins_hold_equally_many_rows_of_both_answers() -> None:
    encoding = encoding_of("visited")
    made = generator(encoding)
    arrays = evaluation_request(made, EvaluationQueries(encoding), seed=7)
    measured = EvaluationQueries(encoding)
    counts = measured.split(measured.join(measured.sums(*rows(made, encoding, 1), arrays)))
    shares = (counts["scores"][0] / counts["scores"][0].sum(axis=1, keepdims=True)).mean(axis=0)
    # One edge was moved to 0, so two bins share what they hold differently.
    assert np.sort(np.abs(shares - 1 / BINS))[:-2].max() < 0.02
    assert 0.0 in arrays["edges"]


def rows(made: Artifact, encoding: Encoding, seed: int) -> Any:
    return sample_codes(made, encoding, 20_000, seed=seed)


def one_hot(encoding: Encoding, codes: Any) -> Any:
    table = np.zeros((len(codes), encoding.width))
    for position, block in enumerate(encoding.features):
        table[np.arange(len(codes)), block.start + codes[:, position]] = 1.0
    return table


@pytest.mark.parametrize("target", ["visited", "sex"])
def test_area_from_the_histogram_is_that_of_an_independent_logistic_regression(
    target: str,
) -> None:
    """The scorer is the oracle's; bins cost a few thousandths of the area."""
    encoding = encoding_of(target)
    made = generator(encoding)
    arrays = evaluation_request(made, EvaluationQueries(encoding), seed=7)
    measured = EvaluationQueries(encoding)
    codes, classes = rows(made, encoding, 11)
    vector = measured.join(measured.sums(codes, classes, arrays)).astype(np.float64)
    result = evaluation_result(made, measured, arrays, vector, [1e-6] * 2, hold_back=0.1, seed=7)
    train_codes, train_classes = rows(made, encoding, 7)
    for number, question in enumerate(result["figures"]["questions"]):
        answers = arrays["questions"][number]
        oracle = LogisticRegression(max_iter=500).fit(
            one_hot(encoding, train_codes), answers[train_classes]
        )
        expected = roc_auc_score(
            answers[classes], oracle.decision_function(one_hot(encoding, codes))
        )
        assert question["held_back"]["auc"] == pytest.approx(expected, abs=0.006)
        right = (oracle.predict(one_hot(encoding, codes)) == answers[classes]).mean()
        assert question["accuracy"]["share"] == pytest.approx(right, abs=0.01)
        assert question["synthetic"]["auc"] == pytest.approx(expected, abs=0.02)
