"""What `evaluate` counts on held-back records: binned scores, and which cell of each column.

Held-back records took part in no other query, so these counts show how well the synthetic data
carry over to records that they were not made from. The coordinator sends public arrays, made
from the synthetic rows alone; a record is then counted as follows.

- "scores" (only where classes can be told apart): every question asks whether a record is of
  certain classes, and a linear function of the record's one-hot cells, and of what else its kind
  has (`fedloom.common.images.scores`: pixels), is its score. A record adds
  one to the cell (question, answer, bin of the score) of each of the Q questions, or nothing
  where the question leaves its class out: at most Q ones, norm sqrt(Q).
- "marginals": a record adds one to one cell of each column: exactly m ones, or m + 1 with a
  categorical label, norm the square root of that.

Each histogram is one Gaussian mechanism with its own noise; `l2_norm` is its sensitivity when one
record is added or removed, whatever the arrays hold. For that, what a record adds may depend on
nothing but the record and the arrays: a score is a sum in double precision in a fixed order, and
its bin is the number of edges that it reaches, compared one by one.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from fedloom.common.arrays import check_shapes
from fedloom.common.artifact import Artifact
from fedloom.common.encoding import Encoding
from fedloom.common.errors import ConfigError
from fedloom.common.sampling import sample_codes

__all__ = ["BINS", "MAX_WEIGHT", "EvaluationQueries", "Histogram"]

BINS = 12
"""Score bins a question and answer; more tell a finer curve, and add more noise to its area."""
MAX_WEIGHT = 1e4

Array = np.ndarray[Any, np.dtype[Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Histogram:
    """One noisy sum of `evaluate`.

    Attributes:
      name: "scores" or "marginals".
      length: number of cells.
      l2_norm: most that one record adds, in the L2 norm.
    """

    name: str
    length: int
    l2_norm: float


class EvaluationQueries:
    """The histograms of one encoding, and how records are counted into them.

    Records here are rows of a table: their features are their codes, (N, m). A kind of record
    that has more than columns is a subclass.

    Attributes:
      histograms: in the order in which the answer holds them.
      num_questions: Q; 0 where there are no classes to tell apart, 1 for two classes and for a
        numeric target (above or below a cut), else one a class (that class or another).
    """

    def __init__(self, encoding: Encoding) -> None:
        """Takes the layout from a public encoding."""
        self.encoding = encoding
        self.num_questions = _num_questions(encoding)
        names = {block.name for block in encoding.features}
        self._counts_classes = encoding.target is not None and encoding.target not in names
        cells = encoding.width + (encoding.num_classes if self._counts_classes else 0)
        ones = len(encoding.features) + int(self._counts_classes)
        histograms = [Histogram(name="marginals", length=cells, l2_norm=math.sqrt(ones))]
        if self.num_questions:
            scores = Histogram(
                name="scores",
                length=self.num_questions * 2 * BINS,
                l2_norm=math.sqrt(self.num_questions),
            )
            histograms.insert(0, scores)
        self.histograms = tuple(histograms)

    @property
    def length(self) -> int:
        """Length of the answer: all histograms, one after another."""
        return sum(histogram.length for histogram in self.histograms)

    def request_arrays(self) -> dict[str, tuple[tuple[int, ...], str]]:
        """Returns shape and type of each array of a request.

        `groups` (D,) says for each cell of each block, counted from the block's start, as which
        cell of that block it is counted. `questions` (Q, C) holds 1 for the classes that a
        question asks for, 0 for those that it tells them from, -1 for classes left out.
        `weights` (Q, D + 1) holds a weight for each cell and, last, a constant. `edges`
        (Q, BINS - 1) are the inner edges of the bins of the score.
        """
        arrays: dict[str, tuple[tuple[int, ...], str]] = {
            "groups": ((self.encoding.width,), "int32")
        }
        if self.num_questions:
            count = self.num_questions
            arrays["questions"] = ((count, self.encoding.num_classes), "int32")
            arrays["weights"] = ((count, self.encoding.width + 1), "float32")
            arrays["edges"] = ((count, BINS - 1), "float32")
        return arrays

    def check(self, arrays: Mapping[str, Array]) -> None:
        """Checks the arrays of a request.

        Raises:
          ConfigError: a name, type, shape or value is not what `request_arrays` says.
        """
        check_shapes("evaluate", arrays, self.request_arrays())
        for block in self.encoding.features:
            groups = arrays["groups"][block.start : block.start + block.size]
            if groups.min() < 0 or groups.max() >= block.size:
                raise ConfigError(f"groups of column '{block.name}' must be cells of its block")
        if not self.num_questions:
            return
        if not np.isin(arrays["questions"], (-1, 0, 1)).all():
            raise ConfigError("questions must hold -1, 0 and 1 alone")
        for name in ("weights", "edges"):
            if not (np.abs(arrays[name]) <= MAX_WEIGHT).all():
                raise ConfigError(f"{name} must be finite and at most {MAX_WEIGHT:g}")
        if (np.diff(arrays["edges"], axis=1) < 0).any():
            raise ConfigError("edges must not decrease")

    def drawn(self, artifact: Artifact, count: int, seed: int) -> tuple[Array, Array]:
        """Draws synthetic records, the same for the same seed: features (N, ...), classes (N,)."""
        return sample_codes(artifact, self.encoding, count, seed=seed)

    def codes(self, features: Array) -> Array:
        """Returns the codes (N, m) of the columns of records."""
        return features

    def numbers(self, features: Array) -> Array:
        """Returns what else than cells a scorer is fitted on, (N, K) float64; nothing here."""
        return np.zeros((len(features), 0))

    def scorer_arrays(self, weights: Array, of_numbers: Array) -> dict[str, Array]:
        """Returns fitted scorers as arrays of a request.

        Args:
          weights: (Q, D + 1) of the cells, and last a constant.
          of_numbers: (Q, K) of the `numbers`.
        """
        return {"weights": weights.astype(np.float32)}

    def sums(
        self, features: Array, classes: Array, arrays: Mapping[str, Array]
    ) -> dict[str, Array]:
        """Returns the exact histograms of records, int64, by name.

        Args:
          features: (N, ...) coded records.
          classes: (N,) class of each record.
          arrays: checked by `check`.
        """
        sums = {"marginals": self._marginals(self.codes(features), classes, arrays["groups"])}
        if self.num_questions:
            parts = [
                self._question(features, classes, arrays, number)
                for number in range(self.num_questions)
            ]
            sums["scores"] = np.concatenate(parts)
        return sums

    def join(self, sums: Mapping[str, Array]) -> Array:
        """Returns the histograms one after another, as an answer holds them."""
        return np.concatenate([sums[histogram.name] for histogram in self.histograms])

    def split(self, vector: Array) -> dict[str, Array]:
        """Returns the histograms of an answer by name: "scores" (Q, 2, BINS), "marginals" flat.

        Raises:
          ConfigError: the vector has another length.
        """
        if vector.shape != (self.length,):
            raise ConfigError(
                f"an evaluation of this schema has length {self.length}, got {vector.shape}"
            )
        ends = np.cumsum([histogram.length for histogram in self.histograms])[:-1]
        parts = np.split(vector, ends)
        found = {
            histogram.name: part for histogram, part in zip(self.histograms, parts, strict=True)
        }
        if self.num_questions:
            found["scores"] = found["scores"].reshape(self.num_questions, 2, BINS)
        return found

    def columns(self, marginals: Array) -> dict[str, Array]:
        """Returns the counts of each column's cells, the label's classes under its own name."""
        found = {
            block.name: marginals[block.start : block.start + block.size]
            for block in self.encoding.features
        }
        if self._counts_classes:
            found[str(self.encoding.target)] = marginals[self.encoding.width :]
        return found

    def scores(self, features: Array, arrays: Mapping[str, Array], number: int) -> Array:
        """Returns a question's score of each record, (N,) float64, each by itself.

        Args:
          features: (N, ...) coded records.
          arrays: of the request, its scorers.
          number: of the question.
        """
        codes, weights = self.codes(features), arrays["weights"][number]
        total = np.full(len(codes), float(weights[-1]), dtype=np.float64)
        for position, block in enumerate(self.encoding.features):
            part = weights[block.start : block.start + block.size].astype(np.float64)
            total += part[codes[:, position]]
        return total

    def _question(
        self, features: Array, classes: Array, arrays: Mapping[str, Array], number: int
    ) -> Array:
        scores = self.scores(features, arrays, number)
        bins = np.zeros(len(scores), dtype=np.int64)
        for edge in arrays["edges"][number].astype(np.float64):
            bins += scores >= edge
        answers = arrays["questions"][number][classes].astype(np.int64)
        asked = answers >= 0
        return np.bincount(answers[asked] * BINS + bins[asked], minlength=2 * BINS)

    def _marginals(self, feature_codes: Array, classes: Array, groups: Array) -> Array:
        parts = []
        for position, block in enumerate(self.encoding.features):
            joined = groups[block.start : block.start + block.size]
            parts.append(np.bincount(joined[feature_codes[:, position]], minlength=block.size))
        if self._counts_classes:
            parts.append(np.bincount(classes, minlength=self.encoding.num_classes))
        return np.concatenate(parts).astype(np.int64)


def _num_questions(encoding: Encoding) -> int:
    """Returns how many questions are asked about the label."""
    if encoding.target is None:
        return 0
    for block in encoding.features:
        if block.name == encoding.target:
            return int(block.num_bins > 1)
    known = sum(encoding.class_sampleable)
    return int(known == 2) if known <= 2 else known
