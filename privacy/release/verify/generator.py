"""Is the generator one that its plan could give, and the one that the sites' answers give?

For the second it is fitted again by a function that the caller hands in (fitting needs torch, and
nothing else in this package does), and compared array by array. Fitting is a fixed function of
plan, run and answers up to rounding: on the same machine with one thread the difference is exactly
0, so another generator differs, however well it fits the answers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from fedloom.common.artifact import Artifact
from fedloom.common.errors import ConfigError, ReleaseError
from fedloom.common.marginals import NoisyMarginals
from fedloom.common.public_counts import PublicCounts
from fedloom.common.sampling import array_shapes
from fedloom.privacy.answers.opened import OpenedRound
from fedloom.privacy.plan import Plan
from fedloom.privacy.release.manifest import Manifest
from fedloom.privacy.release.verify.result import CheckFailed

__all__ = ["REFIT_TOLERANCE", "Prior", "Refit", "check_refit", "must_have_parts", "read_generator"]

REFIT_TOLERANCE = 1e-6
"""Most that a parameter may differ, in units of the greatest of its array.

On the machine that fitted it, with one thread, the difference is 0. Generators are kept in single
precision, whose numbers are up to 1.2e-7 apart: this leaves room for the last three to four bits
and for nothing that a fit could use. What another processor does was not measured.
"""
_REMEDY = (
    "fit again with the publisher's versions, on a like machine with OMP_NUM_THREADS=1; if they "
    "still differ, do not use this release, and tell its publisher"
)

Prior: TypeAlias = PublicCounts | NoisyMarginals | None
"""Counts of a public table, or an earlier release's answers about the same records."""

Refit = Callable[[Plan, str, Mapping[int, OpenedRound], Path | None, Prior], Artifact]
"""Returns the generator that answers give, from plan, run, opened rounds, evidence and prior."""
_NOT_NEGATIVE = ("probabilities", "class_prior", "weights")


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
    shapes = array_shapes(artifact, plan.coder)
    found = {name: array.shape for name, array in artifact.arrays.items()}
    if found != shapes:
        names = sorted(set(found.items()) ^ set(shapes.items()))
        raise ReleaseError(f"the generator's array {names[0][0]!r} is not one of a {artifact.kind}")
    for name, array in artifact.arrays.items():
        if array.dtype.kind != "f" or not np.isfinite(array).all():
            raise ReleaseError(f"the generator's array {name!r} holds what is no number")
        if name in _NOT_NEGATIVE and array.size and ((array < 0).any() or array.sum() <= 0):
            raise ReleaseError(f"the generator's array {name!r} holds no probabilities")
    return artifact, f"{artifact.kind}, {len(found)} arrays, of the plan's kind and sizes"


def must_have_parts(plan: Plan, evidence: Path | None) -> None:
    """Sees to it that there is all that refitting needs.

    Raises:
      ConfigError: the plan has training rounds, and the sites' parts of them are not given.
    """
    if plan.training is not None and evidence is None:
        raise ConfigError(
            f"the {plan.model.kind} of this release learned from training rounds, whose answers "
            "only the evidence holds; give --evidence too, or leave out --refit"
        )


def check_refit(
    generator: Artifact,
    manifest: Manifest,
    plan: Plan,
    opened: Mapping[int, OpenedRound],
    evidence: Path | None,
    refit: Refit,
    public: Prior = None,
) -> str:
    """Fits the generator again, and compares.

    Args:
      generator: of the release.
      manifest: of the release, with `run` and `versions`.
      plan: that was carried out.
      opened: the opened rounds, checked.
      evidence: folder of the sites' own parts, checked; None if the plan has no training.
      refit: fits.
      public: counts of the plan's public table or an earlier release's answers, checked, or None.

    Returns:
      What was found, for people.

    Raises:
      ReleaseError: a parameter differs by more than `REFIT_TOLERANCE`.
    """
    again = refit(plan, manifest.run, opened, evidence, public)
    if (again.kind, again.config) != (generator.kind, generator.config):
        raise _other(f"the answers give a {again.kind} of other sizes", manifest)
    if set(again.arrays) != set(generator.arrays):
        raise _other("the answers give other arrays", manifest)
    greatest = 0.0
    for name, fitted in sorted(again.arrays.items()):
        held = generator.arrays[name]
        if held.shape != fitted.shape:
            raise _other(f"the answers give another shape of {name!r}", manifest)
        difference = _relative_difference(held, fitted)
        if not difference <= REFIT_TOLERANCE:
            raise _other(
                f"the answers give another {name!r}: {difference:.2g} apart, where at most "
                f"{REFIT_TOLERANCE:g} of the greatest number is rounding",
                manifest,
            )
        greatest = max(greatest, difference)
    return (
        f"{len(again.arrays)} arrays, each as the answers give it; greatest difference "
        f"{greatest:.2g} of at most {REFIT_TOLERANCE:g}"
    )


def _relative_difference(
    held: np.ndarray[Any, np.dtype[Any]], fitted: np.ndarray[Any, np.dtype[Any]]
) -> float:
    if not fitted.size:
        return 0.0
    apart = float(np.max(np.abs(held.astype(np.float64) - fitted.astype(np.float64))))
    scale = float(np.max(np.abs(fitted.astype(np.float64))))
    return apart / scale if scale > 0 else apart


def _other(what: str, manifest: Manifest) -> CheckFailed:
    made_with = manifest.versions.coordinator
    told = ", ".join(
        f"{name} {made_with[name]}" for name in ("numpy", "torch") if name in made_with
    )
    by = f"; the publisher fitted with {told}" if told else ""
    return CheckFailed(what + by, file="generator/", remedy=_REMEDY)
