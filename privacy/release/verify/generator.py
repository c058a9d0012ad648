"""Is the generator of a release one that its plan could give, and nothing beside?"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from fedloom.common.artifact import Artifact
from fedloom.common.errors import ReleaseError
from fedloom.common.sampling import array_shapes
from fedloom.privacy.plan import Plan

__all__ = ["read_generator"]

_NOT_NEGATIVE = ("probabilities", "class_prior")


def read_generator(folder: Path, plan: Plan) -> tuple[Artifact, str]:
    """Reads the generator, and returns it and what was found.

    Args:
      folder: the release.
      plan: that was carried out.

    Raises:
      ReleaseError: it cannot be read, is of another kind or size than the plan's, holds an array
        that sampling does not look at, or a number that is none.
    """
    artifact = Artifact.load(folder / "generator")
    if artifact.kind != plan.model.kind:
        raise ReleaseError(f"the generator is a {artifact.kind!r}, the plan's is another kind")
    planned = plan.model.to_dict()
    asked = [name for name in artifact.config if name not in plan.kind.fitted]
    sizes = [name for name in asked if artifact.config[name] != planned.get(name)]
    if sizes:
        raise ReleaseError(f"the generator's {', '.join(sizes)} are not the plan's")
    shapes = array_shapes(artifact, plan.encoding)
    found = {name: array.shape for name, array in artifact.arrays.items()}
    if found != shapes:
        names = sorted(set(found.items()) ^ set(shapes.items()))
        raise ReleaseError(f"the generator's array {names[0][0]!r} is not one of a {artifact.kind}")
    for name, array in artifact.arrays.items():
        if array.dtype.kind != "f" or not np.isfinite(array).all():
            raise ReleaseError(f"the generator's array {name!r} holds what is no number")
        if name in _NOT_NEGATIVE and ((array < 0).any() or array.sum() <= 0):
            raise ReleaseError(f"the generator's array {name!r} holds no probabilities")
    return artifact, f"{artifact.kind}, {len(found)} arrays, of the plan's kind and sizes"
