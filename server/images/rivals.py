"""What a generator of images plays against: which fakes a step draws, and what they lose."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from fedloom.common.models.image_gan import ImageCritic
from fedloom.common.models.moments import MomentReader
from fedloom.common.models.rivalry import generator_losses
from fedloom.common.vocabulary import Rivalry
from fedloom.server.images.fakes import Drawn
from fedloom.server.images.matching import Moments, matching_loss

__all__ = ["LearnedRival", "MatchedRival", "Rival"]

# Fakes of a step.
_BATCH, _FAKES_OF_MOMENTS = 256, 500


class Rival(Protocol):
    """What judges fakes."""

    def classes(self, rng: np.random.Generator) -> NDArray[np.int64]:
        """Returns the classes of the fakes of a step."""

    def loss(self, drawn: Drawn) -> Tensor:
        """Returns what such fakes lose, one number."""


class LearnedRival:
    """The critic that rounds have taught."""

    def __init__(
        self,
        critic: ImageCritic,
        rivalry: Rivalry,
        shares: NDArray[Any],
        shown: Tensor | None = None,
    ) -> None:
        """Takes the critic, its loss, (C,) shares of classes, and what is left of frequencies."""
        critic.requires_grad_(False)
        self._critic, self._rivalry, self._shares, self._shown = critic, rivalry, shares, shown

    def classes(self, rng: np.random.Generator) -> NDArray[np.int64]:
        """Returns classes as often as they are among records."""
        return rng.choice(len(self._shares), size=_BATCH, p=self._shares)

    def loss(self, drawn: Drawn) -> Tensor:
        """Returns the mean loss of the fakes' scores."""
        scores = self._critic(drawn.images, drawn.classes, self._shown)
        return generator_losses(self._rivalry, scores).mean()


class MatchedRival:
    """The critic that is best for what rounds have told of moments."""

    def __init__(
        self, reader: MomentReader, moments: list[Moments], seen: NDArray[np.int64]
    ) -> None:
        """Takes what reads fakes, the records' moments, and the classes that these are of."""
        self._reader, self._moments, self._seen = reader, moments, seen

    def classes(self, rng: np.random.Generator) -> NDArray[np.int64]:
        """Returns each class that has records as often as the others, in blocks."""
        rows = max(2, _FAKES_OF_MOMENTS // len(self._seen))
        return np.repeat(self._seen, rows)

    def loss(self, drawn: Drawn) -> Tensor:
        """Returns what tells the fakes' moments from the records'."""
        blocks = drawn.images.unflatten(0, (len(self._seen), -1))
        return matching_loss(self._reader, blocks, self._moments)
