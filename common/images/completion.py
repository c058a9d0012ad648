"""What a released generator says of images that are seen in part, or coarsely.

Completion (inpainting) and super-resolution are free: images drawn from the public generator tell
how images of each class vary, and an image given is then read as one more of them. The result
holds what is in the image given; it is as private as that one, and stays with its owner.

A class is a few groups of drawn images, found by k-means, each a factor analyser
(`fedloom.common.images.factor_groups`). Given what is seen, the chance of each group, and within it
the mean and the spread of what is not seen, follow from Gaussian arithmetic.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.cluster.vq import kmeans2
from scipy.special import softmax

from fedloom.common.artifact import Artifact
from fedloom.common.errors import ConfigError
from fedloom.common.images.coder import ImageCoder
from fedloom.common.images.coordinates import Coordinates
from fedloom.common.images.factor_groups import FactorGroup, View, factor_group, posterior_of
from fedloom.common.images.sampler import image_source
from fedloom.common.images.vectors import LEVELS
from fedloom.common.schema import Schema

__all__ = ["Completed", "Completion"]

Array = NDArray[Any]

# Images drawn of each class, and groups of a class.
_DRAWN, _GROUPS = 1_000, 10
# Groups of all classes together.
_MOST_GROUPS = 200
_FEWEST_OF_GROUP = 20
# Groups are found in the lowest frequencies: what is finer tells them apart less than it costs.
_FREQUENCIES = 64
_AT_ONCE = 128


@dataclass(frozen=True, eq=False)
class Completed:
    """Completed images.

    Attributes:
      images: (N, height, width, channels) uint8.
      labels: (N,) text, the likeliest class of each, or the one that was given.
      chances: (N,) of that class, given what is seen, if images were as simple as groups are: too
        sure where little is seen.
    """

    images: Array
    labels: Array
    chances: Array


class Completion:
    """Completes images by what a generator says."""

    def __init__(self, artifact: Artifact, schema: Schema, target: str | None) -> None:
        """Draws from the generator and describes what was drawn; equal generators, equal results.

        Raises:
          SchemaError: its schema describes no images.
          ConfigError: it is no generator of images.
        """
        coder = ImageCoder(schema, target)
        self.encoding, self.shape = coder.encoding, coder.shape
        self._groups: list[FactorGroup] = []
        source, rng = image_source(artifact, coder.shape), np.random.default_rng(0)
        coarse = Coordinates(coder.shape, _FREQUENCIES)
        prior = np.asarray(artifact.arrays["class_prior"], dtype=np.float64)
        used = np.flatnonzero(prior > 0)
        groups = max(1, min(_GROUPS, _MOST_GROUPS // len(used)))
        for label in map(int, used):
            drawn = source.draw(np.full(_DRAWN, label), rng)
            flat = drawn.reshape(_DRAWN, -1).astype(np.float32) / LEVELS
            for rows in _split(coarse.of(drawn), groups, rng):
                self._groups.append(
                    factor_group(label, float(prior[label]) * len(rows) / _DRAWN, flat[rows])
                )

    def complete(
        self,
        images: Array,
        *,
        known: Array | None = None,
        labels: Sequence[str | None] | None = None,
        seed: int | None = None,
    ) -> Completed:
        """Completes images.

        Args:
          images: (N, height, width[, channels]) uint8, of the schema's size or, to be made larger,
            smaller by the same whole factor in both directions.
          known: (N, height, width) bool, which pixels of images of full size are known; None for
            all. Known ones stay as they are.
          labels: class of each image, None or "" where it is not known; None for none.
          seed: draws what is not seen, given what is; None takes its mean.

        Raises:
          ConfigError: sizes, types or labels do not fit the schema.
        """
        given, classes = self._checked(images, known), self._classes(labels, len(images))
        factor = self.shape.height // given.shape[1]
        mask = np.ones(given.shape[:3], dtype=bool) if known is None else known
        rng = None if seed is None else np.random.default_rng(seed)
        view = self._view(factor)
        made: list[Completed] = []
        for rows in _blocks(len(given)):
            levels = given[rows].reshape(rows.stop - rows.start, -1) / LEVELS
            weights = np.repeat(mask[rows].reshape(len(levels), -1), self.shape.channels, axis=1)
            found, chances = self._block(view, levels, weights, classes[rows], rng)
            if factor > 1:
                # What lies below what was seen is added, so that its means are those given.
                found += self._enlarged(levels - view.seen(found), factor)
            else:
                found = np.where(weights, levels, found)
            best = chances.argmax(axis=1)
            made.append(
                Completed(
                    images=np.rint(np.clip(found, 0.0, 1.0) * LEVELS).astype(np.uint8),
                    labels=np.array(self.encoding.class_labels)[best],
                    chances=chances[np.arange(len(best)), best],
                )
            )
        shape = self.shape
        empty = np.zeros((0, shape.num_values), dtype=np.uint8)
        whole = np.concatenate([part.images for part in made] or [empty])
        return Completed(
            images=whole.reshape(-1, shape.height, shape.width, shape.channels),
            labels=np.concatenate([part.labels for part in made] or [np.zeros(0, str)]),
            chances=np.concatenate([part.chances for part in made] or [np.zeros(0)]),
        )

    def _checked(self, images: Array, known: Array | None) -> Array:
        shape = self.shape
        given = images[..., None] if images.ndim == 3 and shape.channels == 1 else images
        whole = f"{shape.height} by {shape.width} pixels of {shape.channels} channel(s)"
        if given.ndim != 4 or given.dtype != np.uint8 or given.shape[3] != shape.channels:
            raise ConfigError(f"images must be an array of uint8, each of {whole} or smaller")
        height, width = given.shape[1:3]
        factor = shape.height // height if height else 0
        if not factor or (height * factor, width * factor) != (shape.height, shape.width):
            raise ConfigError(
                f"images of {height} by {width} pixels are no whole part of {whole}; scale them by "
                "means over areas to a half, a third and so on"
            )
        if known is not None and (
            factor != 1 or known.dtype != bool or known.shape != given.shape[:3]
        ):
            raise ConfigError(
                "`known` must hold true or false for each pixel of images of full size"
            )
        return given

    def _classes(self, labels: Sequence[str | None] | None, count: int) -> Array:
        """Returns the class of each image, -1 where it is not known."""
        if labels is None:
            return np.full(count, -1)
        names, drawn = self.encoding.class_labels, {group.label for group in self._groups}
        numbers = {names[label]: label for label in drawn} | {"": -1}
        try:
            found = np.array([numbers[label or ""] for label in labels], dtype=np.int64)
        except KeyError as error:
            raise ConfigError(f"{error.args[0]!r} is no class that the generator draws") from None
        if len(found) != count:
            raise ConfigError(f'{count} images need {count} labels, "" where one is not known')
        return found

    def _view(self, factor: int) -> View:
        """Returns how images are seen that are smaller by a factor."""
        if factor == 1:
            return View(seen=lambda flat: flat, noise=lambda rest: rest)
        shape = self.shape
        cells = (shape.height // factor, factor, shape.width // factor, factor, shape.channels)

        def means(flat: Array) -> Array:
            found: Array = flat.reshape(len(flat), *cells).mean(axis=(2, 4))
            return found.reshape(len(flat), -1)

        return View(seen=means, noise=lambda rest: means(rest[None])[0] / factor**2)

    def _enlarged(self, flat: Array, factor: int) -> Array:
        """Returns small images with each pixel repeated."""
        shape = self.shape
        small = flat.reshape(-1, shape.height // factor, shape.width // factor, shape.channels)
        large = small.repeat(factor, axis=1).repeat(factor, axis=2)
        return large.reshape(len(flat), -1)

    def _block(
        self,
        view: View,
        levels: Array,
        weights: Array,
        classes: Array,
        rng: np.random.Generator | None,
    ) -> tuple[Array, Array]:
        """Returns flat images (n, P) and the chance of each class (n, C)."""
        posteriors = [posterior_of(group, view, levels, weights) for group in self._groups]
        logs = np.stack([posterior.log_chance for posterior in posteriors], axis=1)
        of = np.array([group.label for group in self._groups])
        logs[(classes[:, None] >= 0) & (of != classes[:, None])] = -np.inf
        shares = softmax(logs, axis=1)
        chances = np.zeros((len(levels), self.encoding.num_classes))
        np.add.at(chances.T, of, shares.T)
        if rng is not None:
            # One group for each image, with its chance.
            reached = shares.cumsum(axis=1)
            reached = reached >= rng.random(len(levels))[:, None] * reached[:, -1:]
            shares = np.eye(len(of))[reached.argmax(axis=1)]
        found = np.zeros((len(levels), self.shape.num_values))
        for number, (group, posterior) in enumerate(zip(self._groups, posteriors, strict=True)):
            share = shares[:, number, None]
            rows = np.flatnonzero(share[:, 0] > 1e-6)
            if not len(rows):
                continue
            made = posterior.drawn(group, rows, rng)
            found[rows] += share[rows] * made
        return found, chances


def _split(coarse: Array, groups: int, rng: np.random.Generator) -> Iterator[Array]:
    """Yields the rows of each group; small ones join the largest."""
    _, found = kmeans2(coarse, groups, minit="++", seed=rng)
    sizes = np.bincount(found, minlength=groups)
    found = np.where(sizes[found] < _FEWEST_OF_GROUP, int(sizes.argmax()), found)
    for number in np.unique(found):
        yield np.flatnonzero(found == number)


def _blocks(count: int) -> Iterator[slice]:
    for start in range(0, count, _AT_ONCE):
        yield slice(start, min(start + _AT_ONCE, count))
