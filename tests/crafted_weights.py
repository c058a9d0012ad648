"""Requests at which the canary of an audit moves a clipped sum as far as it ever may.

A coordinator may ask for a gradient, or for training, at any weights and public arrays. Honest
ones make an audit look better than the mechanism is: the canary's gradient stays below the clip,
or turns as the noised weights move. These weights do neither. All are zero but a few, so that

- the canary's gradient lies in one coordinate (the whole of it in a critic, 0.99 of its norm in a
  `vae`) at several times the clip, whatever latents are drawn;
- every other unit's gradient lies there too, and all together push it half a clip the other way:
  the sum is half a clip with the canary and minus half a clip without. An optimiser that keeps
  nothing but signs of a gradient, like Adam in its first step, then still tells the two apart;
- steps with a small learning rate change nothing of this: each step is the same attack again.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from fedloom.common.models import build_model
from fedloom.common.models.gan import GENERATOR, MARGINALS
from fedloom.common.models.vae import TABLE
from fedloom.privacy.plan import Plan
from tests.audited import CANARY, OTHER, cells_of

__all__ = ["Crafted", "crafted_weights"]

_NEVER = -100.0
_ABOVE_CLIP = 5.0
_OTHERS_CLASS, _CANARYS_CLASS = 0, 1


@dataclass(frozen=True, kw_only=True)
class Crafted:
    """Arrays of a request, and the coordinate of the private weights that the canary moves."""

    arrays: dict[str, np.ndarray]
    coordinate: int


def crafted_weights(plan: Plan, *, others: int, away: bool = False) -> Crafted:
    """Returns such weights for the plan's model.

    Args:
      plan: The plan.
      others: Units beside the canary, at all sites together, of one row each.
      away: Whether the canary moves the coordinate the other way; of a "gan".
    """
    model = build_model(plan.model, plan.encoding)
    shapes = model.request_shapes()
    arrays = {name: np.zeros(shape, dtype=np.float32) for name, shape in shapes.items()}
    assert plan.training is not None
    clip = float(plan.training.settings.max_grad_norm)
    if plan.model.kind == "vae":
        name, place = _vae(plan, arrays, clip / (2 * others))
    else:
        name, place = _gan(plan, arrays, clip, clip / (2 * others), away)
    before = 0
    for parameter, value in model.private_module().named_parameters():
        if parameter == name:
            return Crafted(arrays=arrays, coordinate=before + place)
        before += value.numel()
    raise AssertionError(f"the model has no parameter {name}")


def _vae(plan: Plan, arrays: dict[str, np.ndarray], push: float) -> tuple[str, int]:
    """With all weights zero only the output's bias has a gradient: softmax less the record.

    In the first block the canary's class gives the canary's cell no chance: minus 1 there, and 1
    shared out over all other cells. The others' class gives it the chance `push`, and the others'
    own cell the rest. In later blocks every row is certain of what it has: no gradient.
    """
    canary, other = cells_of(plan, CANARY), cells_of(plan, OTHER)
    first = plan.encoding.features[0]
    table = np.full(arrays[TABLE].shape, _NEVER, dtype=np.float32)
    table[_OTHERS_CLASS, other], table[_CANARYS_CLASS, canary] = 0.0, 0.0
    table[_CANARYS_CLASS, first.start : first.start + first.size] = 0.0
    table[_CANARYS_CLASS, canary[0]] = _NEVER
    table[_OTHERS_CLASS, canary[0]] = math.log(push)
    table[_OTHERS_CLASS, other[0]] = math.log1p(-push)
    arrays[TABLE] = table
    return "decoder.outer.bias", int(canary[0])


def _gan(
    plan: Plan, arrays: dict[str, np.ndarray], clip: float, push: float, away: bool
) -> tuple[str, int]:
    """All scores are zero, so a direction's own score has the gradient (fake^2 - real^2) / 4.

    One direction has weights, on cells of the first block: those of the canary and of the others,
    and one that each class's fakes are certain to have.
    """
    canary, other = cells_of(plan, CANARY)[0], cells_of(plan, OTHER)[0]
    first = plan.encoding.features[0]
    their_fake, its_fake = first.start + 1, first.start + 2
    arrays[MARGINALS][:] = _NEVER  # deviations are then the one-hot rows themselves, scaled
    table = np.full(arrays[MARGINALS].shape, 0.0, dtype=np.float32)
    table[:, first.start : first.start + first.size] = _NEVER
    table[_OTHERS_CLASS, their_fake], table[_CANARYS_CLASS, its_fake] = 0.0, 0.0
    arrays[GENERATOR + "table"] = table
    scale = math.sqrt(len(plan.encoding.features))
    along = arrays["directions.weight"][0]
    along[its_fake if away else canary] = 2.0 * math.sqrt(_ABOVE_CLIP * clip) * scale
    along[other if away else their_fake] = 2.0 * math.sqrt(push) * scale
    return "score.weight", 0
