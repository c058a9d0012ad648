"""Votes for candidate images, tried: what they would add to the sums of `image-mixture`.

    python benchmarks/image_votes.py MNIST.npz --epsilon 1 --epsilon 10

Not part of the product, and no private release: one machine, ordinary random noise of the size
that a study has. Records are the first `--records` training images, and noise is divided by what
they lack to the whole training part. The mixture is fitted to noisy sums; `CELLS` cells of each
class are the groups of its synthetic images in their 40 strongest directions, so they are public
once the mixture is. Each record votes for the cell that it falls into: one of L2 norm 1. The noisy
votes are drawn towards what the mixture expects, as far as noise asks, and synthetic images are
chosen so that cells come as often as votes say (as in private evolution, Lin et al. 2024, with one
generation). Rows: no votes; votes that take a tenth of the budget; votes that are free and
without noise, the most that they can add. The distance is that of `images.py`, to the last 10,000
training images, which take part in nothing else.
"""

from __future__ import annotations

import argparse
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
from images import accuracy, features, frechet, trained
from scipy.optimize import brentq
from scipy.stats import norm

from fedloom.common.images.generator import ImageGenerator
from fedloom.common.images.look import ImageLook
from fedloom.common.images.shape import ImageShape
from fedloom.common.images.sums import L2_NORM
from fedloom.common.images.vectors import image_vectors
from fedloom.privacy.image_measures import COLUMNS_SHARE, LOOK_SHARE, SHARES_OF_SUMS
from fedloom.server.images.algebra import k_means
from fedloom.server.images.fit import ImageFit, NoisyTotal
from fedloom.server.images.learner import fitted_arrays

DELTA, CELLS, DIRECTIONS, DRAWN, COMPARED = 1e-5, 50, 40, 2000, 5000
SUMS = ("class_means", "spread", "class_spread", "group_means", "group_spread")

Array = np.ndarray[Any, Any]


def multiplier(epsilon: float) -> float:
    """Returns the noise of one Gaussian event (Balle and Wang 2018)."""

    def excess(std: float) -> float:
        over = norm.cdf(0.5 / std - epsilon * std)
        return float(over - math.exp(epsilon) * norm.cdf(-0.5 / std - epsilon * std) - DELTA)

    return float(brentq(excess, 0.05, 50.0))


def mixture(images: Array, labels: Array, noise: float, rng: Any) -> tuple[ImageGenerator, Array]:
    """Fits a mixture to noisy sums; returns it and the shares of classes."""
    shape = ImageShape(height=images.shape[1], width=images.shape[2], channels=images.shape[3])
    classes = int(labels.max()) + 1
    columns, look, *others = noise / np.sqrt([COLUMNS_SHARE, LOOK_SHARE, *SHARES_OF_SUMS])
    counts = np.bincount(labels) + rng.normal(0.0, columns, classes)
    totals: list[NoisyTotal] = []
    sizes = {"coordinates": 400, "directions": 90, "groups": 20}
    fit = ImageFit(shape, counts, totals, group_noise=float(others[-1]), **sizes)

    def opened(values: Array, std: float) -> None:
        noisy = values + rng.normal(0.0, std * L2_NORM, values.shape)
        totals.append(NoisyTotal(values=noisy, std=std * L2_NORM))

    opened(ImageLook(shape, classes).sum(images, labels), look)
    vectors = image_vectors(images, fit.coordinates, fit.view.framed)
    for name, std in zip(SUMS, others, strict=True):
        opened(getattr(fit, name).sum(vectors, labels), std)
    prior = np.maximum(counts, 0.0) / np.maximum(counts, 0.0).sum()
    return ImageGenerator(shape, fitted_arrays(fit, prior, 7)), prior


def chosen(
    generator: ImageGenerator, images: Array, labels: Array, wanted: Array, std: float, rng: Any
) -> Array:
    """Draws images of wanted classes, and chooses among three times as many by noisy votes."""
    classes = np.arange(int(labels.max()) + 1)
    drawn = generator.draw(np.repeat(classes, DRAWN), rng).reshape(len(classes) * DRAWN, -1) / 255
    middle = drawn.mean(axis=0)
    basis = np.linalg.svd((drawn - middle)[::4], full_matrices=False)[2][:DIRECTIONS].T
    made = np.zeros((len(wanted), *images.shape[1:]), np.uint8)
    for label in classes:
        points = (drawn[label * DRAWN : (label + 1) * DRAWN] - middle) @ basis
        centres = k_means(points, CELLS, rng)

        def cells(points: Array, centres: Array = centres) -> Array:
            return ((centres**2).sum(axis=1) - 2.0 * points @ centres.T).argmin(axis=1)

        def seen(images: Array) -> Array:
            return (images.reshape(len(images), -1) / 255 - middle) @ basis

        votes = np.bincount(cells(seen(images[labels == label])), minlength=CELLS)
        votes = votes + rng.normal(0.0, std, CELLS)
        expected = np.bincount(cells(points), minlength=CELLS) / DRAWN * max(votes.sum(), 1.0)
        apart, prior = votes - expected, expected**2
        size = max(float((apart**2 - std**2).sum() / prior.sum()), 0.0)
        believed = expected + apart * size * prior / (size * prior + std**2 + 1e-12)
        rate = np.maximum(believed, 0.0) / np.maximum(expected, 1e-9)
        places = np.flatnonzero(wanted == label)
        pool = generator.draw(np.full(3 * len(places), label), rng)
        weights = rate[cells(seen(pool))] + 1e-9
        steps = (rng.random() + np.arange(len(places))) / len(places)
        taken = np.searchsorted(np.cumsum(weights / weights.sum()), steps)
        made[places] = pool[np.minimum(taken, len(pool) - 1)]
    return made


def main() -> None:
    """Runs the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--epsilon", type=float, action="append", required=True)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--records", type=int, default=12_500)
    options = parser.parse_args()
    with np.load(options.data) as arrays:
        images, labels = arrays["train_images"], arrays["train_labels"].astype(int)
    images = images if images.ndim == 4 else images[..., None]
    part = options.records / len(images)
    aside, truth = images[-10_000:], labels[-10_000:]
    images, labels = images[: options.records], labels[: options.records]
    judge = trained(images, labels, 0)
    real = features(judge, aside)
    floor = frechet(features(judge, images), real)
    print(json.dumps({"floor": floor, "judge": accuracy(judge, aside, truth)}), flush=True)
    for epsilon in options.epsilon:
        noise = multiplier(epsilon) * part
        for seed in range(options.seeds):
            for share, std in ((0.0, None), (0.1, noise / math.sqrt(0.1)), (0.0, 0.0)):
                rng = np.random.default_rng(seed)
                generator, prior = mixture(images, labels, noise / math.sqrt(1.0 - share), rng)
                wanted = rng.choice(len(prior), COMPARED, p=prior)
                if std is None:
                    made, told = generator.draw(wanted, rng), "none"
                else:
                    made = chosen(generator, images, labels, wanted, std, rng)
                    told = "a tenth of the budget" if share else "free, no noise"
                distance = frechet(features(judge, made), real)
                line = {"epsilon": epsilon, "seed": seed, "votes": told, "lenet_fid": distance}
                agreed = accuracy(judge, made, wanted)
                print(json.dumps({**line, "agreement": agreed}), flush=True)


if __name__ == "__main__":
    main()
