"""Makes the generator of images from noisy sums: no gradient of any record is needed."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedloom.common.artifact import Artifact
from fedloom.common.images.generator import ImageGenerator
from fedloom.common.images.look import TONES
from fedloom.common.images.tone import CURVE, apply_tone, tone_curve
from fedloom.common.models.image_settings import ImageMixtureSettings
from fedloom.common.models.registry import ModelSettings
from fedloom.common.records import Coder
from fedloom.privacy.answers.opened_images import NoisyImages
from fedloom.privacy.phases import TrainingPhase
from fedloom.server.images.algebra import root_of
from fedloom.server.images.bends import unbent
from fedloom.server.images.design import image_fit
from fedloom.server.images.fit import ImageFit
from fedloom.server.images.tones import own_tones, shared_tones
from fedloom.server.images.votes import voted_arrays
from fedloom.server.learners.class_marginals import class_prior, log_marginals
from fedloom.server.learners.learner import State, UntrainedLearner
from fedloom.server.learners.mixture import sampleable

__all__ = ["ImageMixtureLearner", "columns_of", "fitted_arrays", "mixture_arrays"]

Array = NDArray[Any]

# Images that the tone curves are fitted on, of all classes together.
_TONED = 4000


class ImageMixtureLearner(UntrainedLearner):
    """Learns an `image-mixture` from statistics; see `fedloom.server.learners.learner.Learner`."""

    def __init__(
        self,
        model: ModelSettings,
        training: TrainingPhase | None,
        coder: Coder,
        *,
        num_sites: int = 1,
    ) -> None:
        """Takes the plan's model; all else follows from the statistics."""
        assert isinstance(model, ImageMixtureSettings)
        self._votes = model.votes

    def initialise(self, statistics: NoisyImages, seed: int) -> State:
        """Fits the generator; nothing remains for training rounds."""
        arrays = mixture_arrays(statistics, seed)
        if self._votes is not None:
            last = statistics.votes[-1]
            candidates = last.request_arrays["candidates"]
            votes = last.values().reshape(candidates.shape[:2])
            arrays |= voted_arrays(candidates, votes, last.stds[0], self._votes.variation)
        return State(arrays=arrays)

    def export(self, state: State) -> Artifact:
        """Returns the generator."""
        _, groups, directions = state.arrays["centres"].shape
        config = {"directions": int(directions), "groups": int(groups)}
        if self._votes is not None:
            config["voted"] = int(state.arrays["voted_weights"].shape[1])
        return Artifact(
            kind="image-mixture",
            config=config,
            arrays=dict(state.arrays),
        )


def mixture_arrays(statistics: NoisyImages, seed: int) -> dict[str, Array]:
    """Returns the arrays of the mixture that all sums over images give.

    Args:
      statistics: all seven sums.
      seed: of the images that tones are matched on.
    """
    arrays = fitted_arrays(image_fit(statistics), class_prior(statistics), seed)
    return {**arrays, "probabilities": columns_of(statistics).astype(np.float32)}


def fitted_arrays(fit: ImageFit, prior: Array, seed: int) -> dict[str, Array]:
    """Returns the arrays of a mixture that say what images are like, without columns beside them.

    Args:
      fit: with all its sums.
      prior: (C,) shares of the classes.
      seed: of the images that warps and tones are measured on.
    """
    groups = fit.group_shapes
    generator = {
        "class_prior": prior,
        "means": fit.means,
        "grain": fit.grain,
        "basis": fit.basis,
        "weights": groups.weights,
        "centres": groups.centres,
        "roots": np.stack([[root_of(own) for own in of_class] for of_class in groups.spreads]),
        "bends": fit.bends,
        "framed": np.array([float(fit.view.framed)]),
    }
    generator = unbent(generator, groups.spreads, fit.coordinates, seed)
    arrays = {name: value.astype(np.float32) for name, value in generator.items()}
    return {**arrays, **_tone(fit, arrays, prior, seed)}


def columns_of(statistics: NoisyImages) -> Array:
    """Returns the probabilities (C, D) of the columns' cells within each class."""
    encoding = statistics.encoding
    if not encoding.features:
        return np.zeros((encoding.num_classes, 0))
    return sampleable(np.exp(log_marginals(statistics)), encoding)


def _tone(fit: ImageFit, arrays: dict[str, Array], prior: Array, seed: int) -> dict[str, Array]:
    """Returns the curves that give drawn images the noisy histogram of values."""
    rng = np.random.default_rng(seed)
    sizes = np.maximum(np.rint(prior / prior.sum() * _TONED), 1).astype(int)
    classes = np.repeat(np.arange(len(sizes)), sizes)
    drawn = ImageGenerator(fit.shape, arrays).untoned(classes, rng)
    shared = shared_tones(fit.look, fit.counts)
    shape = (len(sizes), fit.shape.channels, CURVE + 1)
    places, values = np.zeros(shape, np.float32), np.zeros(shape, np.float32)
    for channel in range(fit.shape.channels):
        light = drawn[..., channel]
        common = tone_curve(light.reshape(-1), shared[channel])
        for label, number in enumerate(fit.counts):
            own = light[classes == label].reshape(-1)
            histogram = own_tones(
                fit.look.tones[label, channel],
                _histogram(apply_tone(own, *common)),
                float(number),
                fit.look.stds[0],
            )
            places[label, channel], values[label, channel] = tone_curve(own, histogram)
    return {"tone_places": places, "tone_values": values}


def _histogram(values: Array) -> Array:
    levels = np.rint(values * 255.0).astype(np.int64)
    return np.bincount(levels * TONES // 256, minlength=TONES) / len(values)
