"""Votes for candidate images: what they add to the sums of `image-mixture`, at the same budget.

    python benchmarks/image_votes.py MNIST.npz --epsilon 1 --epsilon 10 --seeds 2
    python benchmarks/image_votes.py MNIST.npz --epsilon 1 --records 4000 --whole 4000

A stand-in and no private release: one machine, ordinary random noise of the size that a study has.
Records are the first `--records` training images; noise is divided by what they lack to `--whole`
records. Mixture, candidates, votes and generator are the product's. Rows: no votes; candidates of
the mixture alone, as they are and varied; rendered text and drawn strokes of
`examples/simulators`. The distance is that of `images.py`, to the last 10,000 training images,
which take part in nothing else; `accuracy` is that of a ridge classifier on 1,000 random features
that learned from the synthetic images, on the same images.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from images import features, frechet, trained
from scipy.optimize import brentq
from scipy.stats import norm

from fedloom.common.images.coordinates import Coordinates
from fedloom.common.images.generator import ImageGenerator
from fedloom.common.images.look import ImageLook
from fedloom.common.images.shape import ImageShape
from fedloom.common.images.sums import L2_NORM
from fedloom.common.images.vectors import FRAME_WIDTH, MOST_COORDINATES, image_vectors
from fedloom.common.images.voted import VotedImages
from fedloom.common.images.votes import directions, nearest
from fedloom.common.models.vote_settings import VoteSettings
from fedloom.privacy.image_measures import COLUMNS_SHARE, LOOK_SHARE, SHARES_OF_SUMS
from fedloom.server.images.fit import ImageFit, NoisyTotal
from fedloom.server.images.learner import fitted_arrays
from fedloom.server.images.simulators import Simulator
from fedloom.server.images.votes import first_candidates, next_candidates, voted_arrays

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "examples" / "simulators"))
from fedloom_drawn_digits import fonts, strokes  # noqa: E402

DELTA, DRAWN, WARP = 1e-5, 5000, VoteSettings(simulator="any").variation
SUMS = ("class_means", "spread", "class_spread", "group_means", "group_spread")
CANDIDATES: dict[str, tuple[Simulator | None, float]] = {
    "the mixture's": (None, 0.0),
    "the mixture's, varied": (None, WARP),
    "rendered text, varied": (fonts.draw, WARP),
    "drawn strokes, varied": (strokes.draw, WARP),
}

Array = np.ndarray[Any, Any]
Draw = Callable[[Array, np.random.Generator], Array]


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
    sizes = {"coordinates": MOST_COORDINATES, "directions": 90, "groups": 20}
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


def voted(
    generator: ImageGenerator,
    images: Array,
    labels: Array,
    std: float,
    options: argparse.Namespace,
    source: tuple[Simulator | None, float],
    seed: int,
) -> tuple[Draw, float]:
    """Asks for votes; returns what draws images then, and the part of them that won votes."""
    rng, (simulator, warp) = np.random.default_rng(seed + 5), source
    texts = [str(label) for label in range(int(labels.max()) + 1)]
    coordinates = Coordinates(generator.shape, MOST_COORDINATES)

    def seen(images: Array) -> Array:
        return directions(image_vectors(images, coordinates, False)[:, :-FRAME_WIDTH])

    points, votes = seen(images), np.zeros(0)
    for number in range(options.rounds):
        if number == 0:
            candidates = first_candidates(
                generator, texts, options.candidates, simulator=simulator, warp=warp, seed=seed
            )
        else:
            candidates = next_candidates(
                generator, candidates, votes, std, warp=warp, seed=seed + number
            )
        counts = [
            np.bincount(nearest(points[labels == label], seen(own)), minlength=options.candidates)
            for label, own in enumerate(candidates)
        ]
        votes = np.stack(counts) + rng.normal(0.0, std, candidates.shape[:2])
    arrays = voted_arrays(candidates, votes, std, warp)
    return VotedImages(generator, arrays).draw, float(arrays["voted_weights"].sum(axis=1).mean())


def learned(made: Array, labels: Array, aside: Array, truth: Array) -> float:
    """Returns the accuracy of a ridge classifier on random features that learned from images."""
    rng, count = np.random.default_rng(0), 1000
    first, others = (part.reshape(len(part), -1) / 255.0 for part in (made, aside))
    middle = first.mean(axis=0)
    size = np.sqrt(((first - middle) ** 2).sum(axis=1).mean())
    turn, shift = rng.normal(size=(first.shape[1], count)) / size, rng.normal(size=count) / 2.0

    def mapped(points: Array) -> Array:
        found = np.maximum((points - middle) @ turn + shift, 0.0)
        return np.concatenate([found, np.ones((len(points), 1))], axis=1)

    inputs, targets = mapped(first), np.eye(int(truth.max()) + 1)[labels]
    ridge = len(first) * 1e-3 * np.eye(count + 1)
    weights = np.linalg.solve(inputs.T @ inputs + ridge, inputs.T @ targets)
    return float(((mapped(others) @ weights).argmax(axis=1) == truth).mean())


def main() -> None:
    """Runs the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--epsilon", type=float, action="append", required=True)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--records", type=int, default=12_500)
    parser.add_argument("--whole", type=int, default=50_000)
    parser.add_argument("--share", type=float, default=0.1)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--candidates", type=int, default=200)
    options = parser.parse_args()
    with np.load(options.data) as arrays:
        images, labels = arrays["train_images"], arrays["train_labels"].astype(int)
    images = images if images.ndim == 4 else images[..., None]
    aside, truth = images[-10_000:], labels[-10_000:]
    judge = trained(images[:12_500], labels[:12_500], 0)
    images, labels = images[: options.records], labels[: options.records]
    real = features(judge, aside)
    floor = frechet(features(judge, images), real)
    own = learned(images[:DRAWN], labels[:DRAWN], aside, truth)
    print(json.dumps({"records": len(images), "floor": floor, "accuracy": own}), flush=True)
    for epsilon in options.epsilon:
        noise = multiplier(epsilon) * len(images) / options.whole
        for seed in range(options.seeds):
            for told, source in {"none": None, **CANDIDATES}.items():
                share = 0.0 if source is None else options.share
                rng = np.random.default_rng(seed)
                generator, prior = mixture(images, labels, noise / math.sqrt(1.0 - share), rng)
                draw, part = generator.draw, 0.0
                if source is not None:
                    std = noise / math.sqrt(share / options.rounds)
                    draw, part = voted(generator, images, labels, std, options, source, seed)
                rng = np.random.default_rng(seed + 77)
                wanted = rng.choice(len(prior), DRAWN, p=prior)
                made = draw(wanted, rng)
                line = {
                    "epsilon": epsilon,
                    "seed": seed,
                    "candidates": told,
                    "lenet_fid": round(frechet(features(judge, made), real), 2),
                    "accuracy": round(learned(made, wanted, aside, truth), 4),
                    "part": round(part, 3),
                }
                print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main()
