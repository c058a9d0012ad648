"""What the coordinator's learners of image networks share: what is asked, and one step of Adam."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import nn

from fedloom.common.artifact import Artifact
from fedloom.common.images.written import TonedImages
from fedloom.common.models.effective_noise import effective_noise, trust_in_training
from fedloom.common.models.image_model import CENTRE, ImageModel
from fedloom.common.models.private_model import count_parameters
from fedloom.common.models.settings import GradientRounds
from fedloom.privacy.answers.opened_images import NoisyImages
from fedloom.privacy.phases import TrainingPhase
from fedloom.server.images.start import centre_of, look_arrays, matched_tones
from fedloom.server.learners.learner import State, section, with_prefix
from fedloom.server.learners.optimisers import adam, falling_rate

__all__ = ["MOMENTS", "WEIGHTS", "ImageNetLearner"]

WEIGHTS, MOMENTS = "weights/", "moments/"
_PUBLISHED = ("class_prior", "probabilities")

Arrays = dict[str, NDArray[Any]]


class ImageNetLearner(ABC):
    """The common part of a learner; see `fedloom.server.learners.learner.Learner`."""

    def __init__(
        self,
        model: ImageModel[nn.Module],
        training: TrainingPhase,
        rounds: GradientRounds,
        num_sites: int,
    ) -> None:
        """Takes the model, the plan's training, and how many sites' noises add up."""
        self._trained, self._phase = model, training
        self._gradient_rounds, self._num_sites = rounds, num_sites

    def request_arrays(self, state: State) -> dict[str, NDArray[np.float32]]:
        """Returns what sites train, and the centre."""
        return {**section(state.arrays, WEIGHTS), CENTRE: state.arrays[CENTRE]}

    def answer_shapes(self) -> dict[str, tuple[int, ...]]:
        """Returns the shapes of what sites train."""
        return self._trained.weight_shapes()

    def _look(self, statistics: NoisyImages) -> tuple[Arrays, dict[str, Any]]:
        """Returns what a look tells, and the first counts of rounds with the trust in them."""
        noise = effective_noise(
            self._gradient_rounds,
            self._phase.noise_multiplier,
            num_parameters=count_parameters(self._trained),
            records=statistics.total(),
            num_sites=self._num_sites,
        )
        arrays = {**look_arrays(statistics), CENTRE: centre_of(statistics)}
        return arrays, {"step": 0, "trust": trust_in_training(noise)}

    def _step(
        self, state: State, gradient: Arrays, *, momentum: float = 0.9, pace: float = 1.0
    ) -> tuple[Arrays, Arrays, int]:
        """Takes a step of Adam; returns the weights, what to keep of it, and its number.

        Args:
          state: before the step.
          gradient: noised sum, by name.
          momentum: of Adam.
          pace: factor of the plan's `server_learning_rate`.
        """
        step = int(state.meta["step"]) + 1
        rounds = self._gradient_rounds
        weights, moments = adam(
            section(state.arrays, WEIGHTS),
            gradient,
            section(state.arrays, MOMENTS),
            learning_rate=pace * falling_rate(rounds.server_learning_rate, step, rounds.num_rounds),
            step=step,
            momentum=momentum,
        )
        return weights, with_prefix(moments, MOMENTS), step

    def _noise_variance(self, rounds: int) -> float:
        """Returns the variance of each number of the sum of so many rounds' gradients."""
        std = self._phase.noise_multiplier * self._gradient_rounds.max_grad_norm
        return rounds * self._num_sites * std**2

    def _published(self, state: State, made: Arrays) -> Artifact:
        """Returns a generator of these arrays, its tones matched to the noisy histograms."""
        arrays: Arrays = {**{name: state.arrays[name] for name in _PUBLISHED}, **made}
        plain = self._artifact(arrays)
        return self._artifact(arrays | matched_tones(self._source(plain).untoned, state.arrays))

    @abstractmethod
    def _artifact(self, arrays: Arrays) -> Artifact:
        """Returns a generator of these arrays."""

    @abstractmethod
    def _source(self, artifact: Artifact) -> TonedImages:
        """Returns what draws images from a generator; its tone curves may be missing."""
