"""Simulators: what draws candidate images without any record, by entry point.

A package at the coordinator offers a function in the group `fedloom.simulators`, called with the
text of a class, a number of images, their (height, width, channels) and a seed. It returns that
many images, uint8, or None for a class that it does not know. A simulator costs nothing, on one
condition that no program can check: it was not made by looking at the records.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from fedloom.common.entry_points import SIMULATORS, from_package, installed, load
from fedloom.common.errors import ConfigError
from fedloom.common.images.coder import ImageCoder
from fedloom.common.images.shape import ImageShape
from fedloom.common.models.vote_settings import VoteSettings

__all__ = ["Simulator", "check_coordinator", "simulated", "simulator_of"]

Array = NDArray[Any]
Simulator: TypeAlias = Callable[[str, int, tuple[int, int, int], int], Array | None]


def simulator_of(votes: VoteSettings) -> Simulator | None:
    """Returns the simulator that a plan names; None if it names none.

    Raises:
      ConfigError: it is not installed, or comes from another package or version than the plan says.
    """
    if votes.simulator is None:
        return None
    point = installed(SIMULATORS, votes.simulator)
    if from_package(point) != votes.simulator_from:
        raise ConfigError(
            f"the simulator {votes.simulator!r} comes from {from_package(point)} here, the plan "
            f"names {votes.simulator_from}; install that version"
        )
    found: Simulator = load(point)
    return found


def check_coordinator(coder: ImageCoder) -> None:
    """Refuses a coordinator that lacks the plan's simulator, before anything is asked.

    Raises:
      ConfigError: it does, or has another version of it.
    """
    if coder.votes is not None:
        simulator_of(coder.votes)


def simulated(
    simulator: Simulator, label: str, count: int, shape: ImageShape, seed: int
) -> Array | None:
    """Returns images of a class; None if the simulator does not know it.

    Args:
      simulator: what draws.
      label: the class, as the schema writes it.
      count: of images.
      shape: of an image.
      seed: of the draws.

    Raises:
      ConfigError: it returned anything else, or raised an error.
    """
    pixels = (shape.height, shape.width, shape.channels)
    try:
        made = simulator(label, count, pixels, seed)
    except Exception as error:  # code of others
        raise ConfigError(
            f"the simulator failed for the class {label!r} ({type(error).__name__}: {error}); "
            "correct it, and resume the run"
        ) from error
    if made is None:
        return None
    images = np.asarray(made)
    if images.shape != (count, *pixels) or images.dtype != np.uint8:
        raise ConfigError(
            f"a simulator must return {(count, *pixels)} uint8, it returned {images.shape} "
            f"{images.dtype} for the class {label!r}; correct it"
        )
    return images
