"""What the noisy histograms of `evaluate` say about the synthetic data, with error bars.

Everything here is post-processing of noisy sums and of synthetic rows, in closed form: whoever
holds the same histograms gets the same figures, and `fedloom release verify` does. Two things make
an error bar: the known noise, and that the held-back records are a sample. Where the noise hides
what was to be seen, the figure says so.

Not covered: records of one person count as if they were independent, so the sampling part of an
error bar is too small where a person has several similar records.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from fedloom.common.encoding import Encoding
from fedloom.common.errors import ConfigError
from fedloom.common.scores import BINS, EvaluationQueries

__all__ = [
    "EVALUATION_FORMAT",
    "accuracy",
    "area",
    "evaluation_record",
    "figures_of",
]

EVALUATION_FORMAT = "fedloom-evaluation/1"
_HIDDEN = 0.1
"""An area whose standard deviation is above this is not worth a reading."""
_LEAST = 3.0
"""A number of records below this many standard deviations of its noise is not there to be seen."""

Array = np.ndarray[Any, np.dtype[Any]]


def evaluation_record(
    encoding: Encoding,
    arrays: Mapping[str, Array],
    vector: Array,
    stds: Sequence[float],
    synthetic: Array,
    *,
    hold_back: float,
) -> dict[str, Any]:
    """Writes down an evaluation: its histograms and what they say, as JSON-able values.

    Args:
      encoding: the public encoding.
      arrays: that the sites were asked with.
      vector: (length,) the noisy sum over the sites' held-back records.
      stds: standard deviation of the noise in each histogram of that sum.
      synthetic: (length,) the same counts of fresh synthetic rows, exact.
      hold_back: chance with which a unit was held back.
    """
    measured = EvaluationQueries(encoding)
    record: dict[str, Any] = {
        "format": EVALUATION_FORMAT,
        "hold_back": float(hold_back),
        "bins": BINS,
        "noise_std": {h.name: float(std) for h, std in zip(measured.histograms, stds, strict=True)},
        "held_back": _lists(measured.split(np.asarray(vector, dtype=np.float64))),
        "synthetic": _lists(measured.split(np.asarray(synthetic, dtype=np.int64))),
        "groups": arrays["groups"].tolist(),
        "questions": arrays["questions"].tolist() if measured.num_questions else [],
        "edges": arrays["edges"].tolist() if measured.num_questions else [],
    }
    record["figures"] = figures_of(record, encoding)
    return record


def figures_of(record: Mapping[str, Any], encoding: Encoding) -> dict[str, Any]:
    """Reads an evaluation's histograms.

    Args:
      record: as `evaluation_record` writes it; its "figures" are not looked at.
      encoding: the public encoding.

    Returns:
      `records`: estimated number of held-back records, and the standard deviation of its noise.
      `questions`: for each, the area under the ROC curve of a scorer that was trained on synthetic
      rows, on held-back records and on fresh synthetic rows, its accuracy where scores above 0
      mean yes, and how well its bins are calibrated.
      `columns`: for each, total variation between synthetic rows and held-back records, and its
      mean and standard deviation if noise and sample sizes alone made it.

    Raises:
      ConfigError: the record does not fit the encoding.
    """
    measured = EvaluationQueries(encoding)
    try:
        if record["format"] != EVALUATION_FORMAT or record["bins"] != BINS:
            raise ConfigError(f"an evaluation is not of the format {EVALUATION_FORMAT}")
        held_back = _arrays(record["held_back"], measured)
        synthetic = _arrays(record["synthetic"], measured)
        stds = {name: float(std) for name, std in record["noise_std"].items()}
        groups = np.asarray(record["groups"], dtype=np.int64)
        questions = np.asarray(record["questions"], dtype=np.int64)
        questions = questions.reshape(-1, encoding.num_classes)
        edges = np.asarray(record["edges"], dtype=np.float64).reshape(-1, BINS - 1)
        if groups.shape != (encoding.width,) or not (
            len(questions) == len(edges) == measured.num_questions
        ):
            raise ConfigError("an evaluation does not fit its schema")
        if set(stds) != set(held_back) or not all(0 < s < math.inf for s in stds.values()):
            raise ConfigError("an evaluation states no noise for a histogram")
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ConfigError("an evaluation lacks a part, or one is of the wrong kind") from error
    used = _used_cells(measured, groups)
    total, total_std = _total(measured, held_back["marginals"], stds["marginals"], used)
    columns = _columns(measured, held_back, synthetic, stds["marginals"], used, total)
    return {
        "records": {"estimate": total, "std": total_std},
        "columns": columns,
        "questions": [
            {
                "asks_for": _names(encoding, answers == 1),
                "against": _names(encoding, answers == 0),
                "held_back": area(held_back["scores"][number], stds["scores"]),
                "synthetic": area(synthetic["scores"][number].astype(np.float64), 0.0),
                "accuracy": accuracy(held_back["scores"][number], edges[number], stds["scores"]),
                "calibration": _calibration(
                    held_back["scores"][number], synthetic["scores"][number], stds["scores"]
                ),
            }
            for number, answers in enumerate(questions)
        ],
    }


def area(counts: Array, noise_std: float) -> dict[str, Any]:
    """Estimates the area under the ROC curve from binned scores; ties count one half.

    With independent noise in every cell the numerator is unbiased, since it multiplies counts of
    the two answers only. The standard deviation is that of the delta method for noise and
    Poisson counts, and the noise's own product term.

    Args:
      counts: (2, bins) noisy counts of the answers no and yes, the lowest scores first.
      noise_std: standard deviation of the noise in each cell; 0 for exact counts.

    Returns:
      `auc` in [0, 1], its `std`, and `hidden`: whether the noise leaves nothing to be seen.

    >>> area(np.array([[5.0, 0.0], [0.0, 5.0]]), 0.0)["auc"]
    1.0
    """
    no, yes = counts[0], counts[1]
    below_no, above_yes = np.cumsum(no) - no / 2, yes.sum() - np.cumsum(yes) + yes / 2
    num_no, num_yes = float(no.sum()), float(yes.sum())
    floor = _LEAST * noise_std * math.sqrt(counts.shape[1])
    if min(num_no, num_yes) <= floor:
        return {"auc": 0.5, "std": 0.5, "hidden": True}
    value = float(yes @ below_no) / (num_no * num_yes)
    by_yes = (below_no / num_no - value) / num_yes
    by_no = (above_yes / num_yes - value) / num_no
    variance = (
        float(by_yes**2 @ (np.maximum(yes, 0) + noise_std**2))
        + float(by_no**2 @ (np.maximum(no, 0) + noise_std**2))
        + noise_std**4 * _pairs(counts.shape[1]) / (num_no * num_yes) ** 2
    )
    std = min(math.sqrt(variance), 0.5)
    return {"auc": min(max(value, 0.0), 1.0), "std": std, "hidden": std > _HIDDEN}


def accuracy(counts: Array, edges: Array, noise_std: float) -> dict[str, Any]:
    """Estimates how often the scorer is right if a score of 0 and above means yes.

    Args:
      counts: (2, bins) noisy counts of the answers no and yes, the lowest scores first.
      edges: (bins - 1,) inner edges of the bins; one of them is 0.
      noise_std: standard deviation of the noise in each cell; 0 for exact counts.

    Returns:
      `share` in [0, 1], its `std` by the delta method, and `hidden` as of `area`.

    >>> accuracy(np.array([[5.0, 1.0], [0.0, 4.0]]), np.array([0.0]), 0.0)["share"]
    0.9
    """
    above = np.concatenate([[False], edges >= 0.0])
    right = np.stack([~above, above])
    total = float(counts.sum())
    if total <= _LEAST * noise_std * math.sqrt(counts.size):
        return {"share": 0.5, "std": 0.5, "hidden": True}
    value = float(counts[right].sum()) / total
    slopes = (right - value) / total
    variance = float((slopes**2 * (np.maximum(counts, 0) + noise_std**2)).sum())
    std = min(math.sqrt(variance), 0.5)
    return {"share": min(max(value, 0.0), 1.0), "std": std, "hidden": std > _HIDDEN}


def _pairs(bins: int) -> float:
    """Sum of the squared weights of all pairs of cells in the area's numerator."""
    return bins * (bins - 1) / 2 + bins / 4


def _calibration(held_back: Array, synthetic: Array, noise_std: float) -> list[dict[str, float]]:
    """Shares of the answer yes in four runs of bins: synthetic rows and held-back records."""
    runs = []
    for bins in np.array_split(np.arange(BINS), 4):
        no, yes = held_back[:, bins].sum(axis=1)
        made = synthetic[:, bins].sum(axis=1)
        both, std = float(no + yes), noise_std * math.sqrt(len(bins))
        known = both > _LEAST * std * math.sqrt(2)
        share = min(max(float(yes) / both, 0.0), 1.0) if known else 0.5
        spread = (share**2 + (1 - share) ** 2) * std**2 + both * share * (1 - share)
        runs.append(
            {
                "synthetic": float(made[1]) / max(float(made.sum()), 1.0),
                "held_back": share,
                "std": min(math.sqrt(spread) / both, 0.5) if known else 0.5,
            }
        )
    return runs


def _columns(
    measured: EvaluationQueries,
    held_back: Mapping[str, Array],
    synthetic: Mapping[str, Array],
    noise_std: float,
    used: Mapping[str, Array],
    total: float,
) -> list[dict[str, Any]]:
    noisy, exact = (
        measured.columns(held_back["marginals"]),
        measured.columns(synthetic["marginals"]),
    )
    columns = []
    for name, cells in used.items():
        made = exact[name][cells]
        rows = max(float(made.sum()), 1.0)
        shares = made / rows
        # Noise of the cell, and the two samples' own.
        variance = (noise_std / total) ** 2 + shares * (1 - shares) * (1 / total + 1 / rows)
        columns.append(
            {
                "name": name,
                "distance": min(float(np.abs(shares - noisy[name][cells] / total).sum()) / 2, 1.0),
                "expected": min(float(np.sqrt(2 * variance / math.pi).sum()) / 2, 1.0),
                "std": min(math.sqrt(float(variance.sum()) * (1 - 2 / math.pi)) / 2, 1.0),
            }
        )
    return columns


def _total(
    measured: EvaluationQueries, noisy: Array, noise_std: float, used: Mapping[str, Array]
) -> tuple[float, float]:
    """Estimates the number of held-back records, at least 1: every column's cells sum to it."""
    columns = measured.columns(noisy)
    weights = [1.0 / len(cells) for cells in used.values()]
    sums = [float(columns[name][cells].sum()) for name, cells in used.items()]
    mean = sum(w * s for w, s in zip(weights, sums, strict=True)) / sum(weights)
    return max(mean, 1.0), noise_std / math.sqrt(sum(weights))


def _used_cells(measured: EvaluationQueries, groups: Array) -> dict[str, Array]:
    """The cells of each column that any record can be counted in; the others hold noise alone."""
    encoding = measured.encoding
    used = {
        block.name: np.unique(groups[block.start : block.start + block.size])
        for block in encoding.features
    }
    if any(cells.min() < 0 or cells.max() >= encoding.width for cells in used.values()):
        raise ConfigError("an evaluation does not fit its schema")
    label = measured.columns(np.zeros(measured.histograms[-1].length)).keys() - used.keys()
    return used | {name: np.arange(encoding.num_classes) for name in label}


def _names(encoding: Encoding, chosen: Array) -> list[str]:
    return [label for label, wanted in zip(encoding.class_labels, chosen, strict=True) if wanted]


def _lists(parts: Mapping[str, Array]) -> dict[str, Any]:
    return {name: part.tolist() for name, part in parts.items()}


def _arrays(parts: Mapping[str, Any], measured: EvaluationQueries) -> dict[str, Array]:
    """Reads histograms from lists.

    Raises:
      ConfigError: one is missing or of another length, or holds what is no finite number.
    """
    flat = {name: np.asarray(part, dtype=np.float64).reshape(-1) for name, part in parts.items()}
    if set(flat) != {histogram.name for histogram in measured.histograms}:
        raise ConfigError("an evaluation has other histograms than its schema asks for")
    vector = measured.join(flat)
    if not np.isfinite(vector).all():
        raise ConfigError("an evaluation holds numbers that are not finite")
    return measured.split(vector)
