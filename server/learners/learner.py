"""What the coordinator keeps between rounds, and what every learner must offer.

A learner is post-processing: it sees noisy statistics, noised answers and public numbers, and
costs no privacy. Its `State` is the whole of what it knows, so that a run can stop after any
round: given a state and a seed, every method is deterministic, and a state that went through a
checkpoint makes the same next request, bit for bit.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from fedloom.common.artifact import Artifact

__all__ = ["Learner", "State", "UntrainedLearner", "section", "with_prefix"]


@dataclass(frozen=True, kw_only=True)
class State:
    """Everything that a learner knows after a round.

    Attributes:
      arrays: named arrays, as safetensors keeps them.
      meta: plain JSON values; those under "report" go to the run's metrics.
    """

    arrays: dict[str, NDArray[Any]]
    meta: dict[str, Any] = field(default_factory=dict)


class Learner(Protocol):
    """Turns noisy answers into a generator."""

    def initialise(self, statistics: Any, seed: int) -> State:
        """Returns the state after the statistics phase; it can be published already.

        Args:
          statistics: as the `statistics` part of the model's kind makes them.
          seed: public.
        """

    def request_arrays(self, state: State) -> dict[str, NDArray[np.float32]]:
        """Returns the arrays of the next request: weights and `public/...` constants."""

    def answer_shapes(self) -> dict[str, tuple[int, ...]]:
        """Returns the shape of every array of a site's answer to a training round."""

    def update(
        self, state: State, aggregate: dict[str, NDArray[Any]], normaliser: float, seed: int
    ) -> State:
        """Returns the state after a training round.

        Args:
          state: before the round.
          aggregate: exchange "weights": the average of the sites' weights; "gradients": the sum
            of their noised gradient sums.
          normaliser: expected number of records behind a gradient sum, public or noised.
          seed: public; the same for the same round of the same run.
        """

    def export(self, state: State) -> Artifact:
        """Returns the generator as it stands."""


class UntrainedLearner:
    """The part of a learner that no training follows: there is nothing to ask and to update."""

    def request_arrays(self, state: State) -> dict[str, NDArray[np.float32]]:
        """Returns nothing: there are no training rounds."""
        return {}

    def answer_shapes(self) -> dict[str, tuple[int, ...]]:
        """Returns nothing: there are no training rounds."""
        return {}

    def update(
        self, state: State, aggregate: dict[str, NDArray[Any]], normaliser: float, seed: int
    ) -> State:
        """Returns the state unchanged: there are no training rounds."""
        return state


def section(arrays: Mapping[str, NDArray[Any]], prefix: str) -> dict[str, NDArray[Any]]:
    """Returns the arrays whose names start with a prefix, without it.

    >>> section({"a/x": np.ones(1), "b/x": np.zeros(1)}, "a/")
    {'x': array([1.])}
    """
    return {
        name.removeprefix(prefix): value
        for name, value in arrays.items()
        if name.startswith(prefix)
    }


def with_prefix(arrays: Mapping[str, NDArray[Any]], prefix: str) -> dict[str, NDArray[Any]]:
    """Returns the arrays with a prefix before their names."""
    return {prefix + name: value for name, value in arrays.items()}
