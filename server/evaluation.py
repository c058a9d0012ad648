"""What the coordinator asks of held-back records, and what it reads from the noisy answer.

The request is made from synthetic rows alone: a linear scorer for each question about the label,
bins of its score that hold equally many synthetic rows, and cells of a column joined where there
are many. It is a function of the generator and a public seed, so a run that is resumed asks the
same again.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy.optimize import minimize
from scipy.special import expit

from fedloom.common.artifact import Artifact
from fedloom.common.encoding import Block, Encoding
from fedloom.common.scores import BINS, MAX_WEIGHT, EvaluationQueries
from fedloom.privacy.held_back import evaluation_record

__all__ = ["evaluation_request", "evaluation_result"]

_FIT_ROWS = 20_000
_CHECK_ROWS = 20_000
_RIDGE = 1.0
_MAX_WEIGHT = 30.0
_STEPS = 100
_LEAST_SPREAD = 0.05
_BIN_GROUPS = 10
_CATEGORY_GROUPS = 20

Array = np.ndarray[Any, np.dtype[Any]]


def evaluation_request(
    artifact: Artifact, measured: EvaluationQueries, *, seed: int
) -> dict[str, Array]:
    """Returns the arrays of the request `evaluate`; the same for the same generator and seed.

    Args:
      artifact: the generator whose records are to be judged.
      measured: what is counted.
      seed: public, of the draw of synthetic records.
    """
    features, classes = measured.drawn(artifact, _FIT_ROWS, seed)
    codes = measured.codes(features)
    arrays = {"groups": _groups(measured.encoding, codes)}
    if measured.num_questions:
        questions = _questions(measured, classes)
        numbers = measured.numbers(features)
        fitted = [_fit(measured.encoding, codes, numbers, row[classes]) for row in questions]
        weights, of_numbers = (np.stack(part) for part in zip(*fitted, strict=True))
        arrays |= {"questions": questions, **measured.scorer_arrays(weights, of_numbers)}
        arrays["edges"] = np.stack(
            [
                _edges(measured.scores(features, arrays, number), row[classes])
                for number, row in enumerate(questions)
            ]
        )
    measured.check(arrays)
    return arrays


def evaluation_result(
    artifact: Artifact,
    measured: EvaluationQueries,
    arrays: dict[str, Array],
    vector: Array,
    stds: Sequence[float],
    *,
    hold_back: float,
    seed: int,
) -> dict[str, Any]:
    """Reads the noisy sum of the sites' answers: JSON-able, for `evaluation.json`.

    Args:
      artifact: the generator that was judged.
      measured: what was counted.
      arrays: the request's.
      vector: (length,) float64, the sum over sites, noise in it.
      stds: standard deviation of that noise in each histogram.
      hold_back: chance with which a unit was held back.
      seed: public, the request's; the rows to compare with are drawn from another.
    """
    synthetic = measured.join(
        measured.sums(*measured.drawn(artifact, _CHECK_ROWS, seed + 1), arrays)
    )
    return evaluation_record(
        measured.encoding, arrays, vector, stds, synthetic, hold_back=hold_back
    )


def _questions(measured: EvaluationQueries, classes: Array) -> Array:
    """Which classes each question asks for (1), tells them from (0) or leaves out (-1)."""
    encoding, count = measured.encoding, measured.num_questions
    questions = np.full((count, encoding.num_classes), -1, dtype=np.int32)
    numeric = [block for block in encoding.features if block.name == encoding.target]
    if numeric:
        ordered = encoding.num_classes - (numeric[0].size - numeric[0].num_bins)
        sizes = np.bincount(classes, minlength=encoding.num_classes)[:ordered]
        above = sizes[::-1].cumsum()[::-1][1:] / max(sizes.sum(), 1)
        cut = 1 + int(np.argmin(np.abs(above - 0.5)))
        questions[0, :ordered] = np.arange(ordered) >= cut
        return questions
    known = np.flatnonzero(encoding.class_sampleable)
    questions[:, known] = 0
    for number, label in enumerate(known[-1:] if count == 1 else known):
        questions[number, label] = 1
    return questions


def _fit(encoding: Encoding, codes: Array, numbers: Array, answers: Array) -> tuple[Array, Array]:
    """Fits a logistic regression with a ridge on one-hot cells and numbers.

    A numeric label's own cells get no weight, and rows that the question leaves out do not count.

    Returns:
      (D + 1,) weights of the cells, and last a constant; (K,) weights of the numbers.
    """
    asked = answers >= 0
    truth = answers[asked].astype(np.float64)
    cells = [
        block.start + codes[asked, position]
        for position, block in enumerate(encoding.features)
        if block.name != encoding.target
    ]
    width, shift, scale = (
        encoding.width,
        numbers.mean(axis=0),
        np.maximum(numbers.std(axis=0), _LEAST_SPREAD),
    )
    standard = (numbers[asked] - shift) / scale

    def loss(weights: Array) -> tuple[float, Array]:
        scores = weights[width] + standard @ weights[width + 1 :]
        for row in cells:
            scores += weights[row]
        value = float((np.logaddexp(0.0, scores) - truth * scores).sum())
        slope = expit(scores) - truth
        gradient = _RIDGE * weights
        for row in cells:
            gradient[:width] += np.bincount(row, weights=slope, minlength=width)
        gradient[width] += slope.sum()
        gradient[width + 1 :] += slope @ standard
        return value + _RIDGE / 2 * float(weights @ weights), gradient

    start = np.zeros(width + 1 + numbers.shape[1])
    found = minimize(loss, start, jac=True, method="L-BFGS-B", options={"maxiter": _STEPS}).x
    of_numbers = found[width + 1 :] / scale
    weights = np.clip(found[: width + 1], -_MAX_WEIGHT, _MAX_WEIGHT)
    # The last weight is a constant; a request holds none beyond MAX_WEIGHT.
    constant = weights[width] - float(shift @ of_numbers)
    weights[width] = np.clip(constant, -MAX_WEIGHT, MAX_WEIGHT)
    return weights, of_numbers


def _edges(scores: Array, answers: Array) -> Array:
    """Bins that hold equally much of both answers' rows, each answer weighing one half.

    The edge nearest to 0, where a scorer is undecided, is moved there: accuracy is read off it.
    """
    parts = [scores[answers == answer] for answer in (0, 1)]
    parts = [part for part in parts if len(part)] or [np.zeros(1)]
    values = np.concatenate(parts)
    weights = np.concatenate([np.full(len(part), 1.0 / len(part)) for part in parts])
    order = np.argsort(values, kind="stable")
    reached = np.cumsum(weights[order]) / weights.sum()
    positions = np.searchsorted(reached, np.arange(1, BINS) / BINS)
    edges = values[order][np.minimum(positions, len(values) - 1)].astype(np.float32)
    edges = np.clip(edges, -MAX_WEIGHT, MAX_WEIGHT)
    edges[np.argmin(np.abs(edges))] = 0.0
    return np.sort(edges)


def _groups(encoding: Encoding, codes: Array) -> Array:
    """Joins neighbouring bins, and rare categories, of columns that have many."""
    groups = np.zeros(encoding.width, dtype=np.int32)
    for position, block in enumerate(encoding.features):
        counts = np.bincount(codes[:, position], minlength=block.size)
        groups[block.start : block.start + block.size] = _joined(block, counts)
    return groups


def _joined(block: Block, counts: Array) -> Array:
    cells, bins = np.arange(block.size), block.num_bins
    if block.ordered and bins > _BIN_GROUPS:
        counted = counts[:bins].astype(np.float64)
        middle = (np.cumsum(counted) - counted / 2) / max(counted.sum(), 1.0)
        runs = np.minimum(middle * _BIN_GROUPS, _BIN_GROUPS - 1).astype(np.int64)
        cells[:bins] = np.unique(runs, return_inverse=True)[1]
    elif not block.ordered and bins > _CATEGORY_GROUPS:
        rare = np.argsort(-counts[:bins], kind="stable")[_CATEGORY_GROUPS - 1 :]
        cells[rare] = rare[0]
    return cells
