"""How much of the spread of images is made by warps, and what is left for Gaussians. Free.

A warp that moves by little along mode m adds to the second moments of class c the outer square of
a tangent t(c, m): what the mode changes in the mean image of the class. Classes have unlike means,
so unlike tangents, and if warps make images differ then each class is spread along tangents of its
own. So the variances of the modes follow from how the spreads of classes differ from what all have
in common, by least squares with no variance below zero, every entry by its noise and by how much
classes differ anyway. A mode must stand out of its noise and gives up as much. Where noise hides
how classes differ, where there is one class, and where class means have no shapes that could move
(textures), images are not bent.

Bending comes on top of what the mixture already says, so its part is taken out: images of the
mixture are drawn, bent, and what this adds to the mean and the second moments of a class is taken
from its groups, until bent images have the moments that the sums tell.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedloom.common.images.bends import BENDS, bend_fields, bent_by, mode_frequencies
from fedloom.common.images.coordinates import Coordinates
from fedloom.common.images.generator import ImageGenerator
from fedloom.server.images.algebra import nonnegative, root_of
from fedloom.server.images.groups import ClassMoments
from fedloom.server.images.shrinkage import differences_of

__all__ = ["mean_tangents", "share_of_shapes", "unbent", "bend_scales"]

Array = NDArray[Any]

# Of half an image: tangents are differences over twice that.
_STEP = 0.02
# In standard deviations of noise: of one mode; of all together, their variances falling with the
# square of the frequency.
_CERTAIN_MODE, _CERTAIN = 2.0, 2.0
_DESCENTS = 300
# How often the part of warps is measured and taken out, and on how many images.
_ROUNDS, _DRAWN, _FEWEST = 3, 10_000, 200


def share_of_shapes(means: Array, spreads: Array, shares: Array, frequency: Array) -> float:
    """Returns what share of the squared slopes in images is that of their class's mean, in [0, 1].

    Args:
      means: (C, n) coordinates of class means.
      spreads: (n,) mean squared difference of an image from its class's mean, in each coordinate.
      shares: (C,) of all records.
      frequency: (n,) of each coordinate; slopes grow with it.
    """
    of_means = float(shares @ means**2 @ frequency**2)
    return of_means / max(of_means + float(spreads @ frequency**2), 1e-300)


def mean_tangents(means: Array, coordinates: Coordinates) -> Array:
    """Returns what a unit of each mode changes in the mean image of each class.

    Args:
      means: (C, D) mean vectors; numbers of frames, the last ones, do not move.
      coordinates: of the images.

    Returns:
      (C, modes, D), modes down the image before those across it.
    """
    shape, count = coordinates.shape, coordinates.count
    images = coordinates.images(means[:, :count])
    found = np.zeros((len(means), math.prod(BENDS), means.shape[1]))
    fields = bend_fields(shape.height, shape.width)
    for number, (axis, mode) in enumerate(np.ndindex(*BENDS)):
        moves = np.zeros((len(means), 2, shape.height, shape.width))
        moves[:, axis] = _STEP * fields[mode]
        apart = bent_by(images, moves) - bent_by(images, -moves)
        found[:, number, :count] = coordinates.of(apart) / (2.0 * _STEP)
    return found


def bend_scales(tangents: Array, moments: ClassMoments, shares: Array) -> Array:
    """Returns the standard deviation of each mode, `BENDS`, half an image being 1.

    Args:
      tangents: (C, modes, d) of class means, in the directions of the moments.
      moments: noisy second moments of the classes.
      shares: (C,) of all records.
    """
    told = differences_of(moments.shapes, moments.pooled, moments.noise)
    own = tangents @ told.directions
    squares = np.einsum("cmi,cmj->mcij", own, own)
    squares = squares - np.einsum("c,mcij->mij", shares, squares)[:, None]
    # Entries beside the diagonal stand there twice: each copy counts half.
    weights = 1.0 / np.sqrt((told.noise + told.expected) * (2.0 - np.eye(own.shape[2])))
    columns = (squares * weights).reshape(len(squares), -1)
    wanted = (told.apart * weights).reshape(-1)
    lengths = np.sqrt((columns**2).sum(axis=1))
    used = lengths > 1e-9 * max(float(lengths.max()), 1e-300)
    columns, lengths = columns[used], lengths[used]
    together = np.tile(mode_frequencies() ** -2.0, BENDS[0])[used] @ columns
    stands_out = float(together @ wanted) / max(float(np.linalg.norm(together)), 1e-300)
    variances = np.zeros(len(used))
    if stands_out > _CERTAIN:
        found = _nonnegative_least_squares(
            columns @ columns.T, columns @ wanted - _CERTAIN_MODE * lengths
        )
        variances[used] = found * (1.0 - (_CERTAIN / stands_out) ** 2)
    return np.sqrt(variances).reshape(BENDS)


def _nonnegative_least_squares(gram: Array, right: Array) -> Array:
    """Returns x >= 0 that minimises x' gram x / 2 - right' x, by descent along one axis at a time.

    Args:
      gram: (n, n), with a positive diagonal.
      right: (n,).
    """
    found = np.zeros(len(right))
    for _ in range(_DESCENTS):
        for number in range(len(found)):
            step = (right[number] - gram[number] @ found) / gram[number, number]
            found[number] = max(0.0, found[number] + step)
    return found


def unbent(
    generator: dict[str, Array], spreads: Array, coordinates: Coordinates, seed: int
) -> dict[str, Array]:
    """Returns a generator whose bent images have the moments that its unbent ones had.

    Args:
      generator: arrays of a generator (`fedloom.common.images.generator`), with its warps.
      spreads: (C, K, d, d) covariances of its groups.
      coordinates: of its images.
      seed: of the images that are drawn and bent.

    Returns:
      The arrays, `means` and `roots` replaced. What warps spread by more than the sums tell is not
      taken from anything: no covariance has a negative eigenvalue.
    """
    if not generator["bends"].any():
        return generator
    found, basis = dict(generator), generator["basis"]
    classes, groups = spreads.shape[:2]
    count = max(_DRAWN // classes, _FEWEST)
    for _ in range(_ROUNDS):
        source = ImageGenerator(coordinates.shape, found)
        rng = np.random.default_rng(seed)
        means, roots = generator["means"].copy(), np.zeros_like(generator["roots"])
        for label in range(classes):
            plain = source.vectors(np.full(count, label), rng)
            bent = source.bent_vectors(plain, rng)
            means[label] -= bent.mean(axis=0) - plain.mean(axis=0)
            added = _covariance(bent @ basis) - _covariance(plain @ basis)
            for group in range(groups):
                roots[label, group] = root_of(nonnegative(spreads[label, group] - added))
        found["means"], found["roots"] = means, roots
    return found


def _covariance(points: Array) -> Array:
    """Returns the second moments (d, d) of points (N, d) about their mean."""
    apart = points - points.mean(axis=0)
    found: Array = apart.T @ apart / len(points)
    return found
