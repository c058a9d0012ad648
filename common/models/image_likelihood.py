"""What a VAE's decoder says of images: how likely each value is, given logits for all of them.

Two likelihoods. `bernoulli`: a value in [0, 1] counts as a probability; its loss is the cross
entropy. `discretised`: a logistic distribution about the decoded value, summed over each of 256
levels; the first and the last level hold what is beyond them. Its width is learned too: for each
class a smooth field over the image, told by the lowest frequencies, in the same gradient as all
else. Widths serve the loss alone; what is published, and drawn, is the decoded value.

Source: Salimans et al. 2017 (arXiv:1701.05517), the discretised logistic likelihood.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from fedloom.common.images.net_sizes import WIDTHS
from fedloom.common.images.shape import ImageShape
from fedloom.common.losses import per_record
from fedloom.common.models.decoder import fresh_linear, joined, padded
from fedloom.common.models.image_networks import Frequencies

__all__ = ["LogisticWidths", "bernoulli_loss", "discretised_loss"]

_FIRST_LOG_WIDTH = -2.0
_LOG_WIDTH_RANGE = (-5.0, 1.0)
_HALF_LEVEL = 0.5 / 255.0


class LogisticWidths(nn.Module):
    """Logarithms of the widths of all values of an image, given its class; one width at first."""

    def __init__(self, shape: ImageShape, classes: int) -> None:
        """Takes the shape of images and the number of classes."""
        super().__init__()
        self._frequencies = Frequencies(shape, WIDTHS)
        # Frequencies have unit length: so one number changes a width by about as much.
        self._scale = shape.num_values**0.5
        self.rows = fresh_linear(padded(classes), padded(WIDTHS), torch.Generator(), weight_std=0.0)

    def forward(self, classes: Tensor) -> Tensor:
        """Returns (B, height * width * channels), channels last, of rows of classes (B, C)."""
        field = self._scale * self._frequencies.images(self.rows(joined(classes)))
        widths: Tensor = (_FIRST_LOG_WIDTH + field).clamp(*_LOG_WIDTH_RANGE)
        return widths


def bernoulli_loss(logits: Tensor, truth: Tensor) -> Tensor:
    """Returns the cross entropies of values (B, n) in [0, 1], summed over each record, (B,)."""
    entropy = nn.functional.binary_cross_entropy_with_logits(logits, truth, reduction="none")
    return per_record(entropy.sum(1), len(truth))


def discretised_loss(logits: Tensor, truth: Tensor, log_widths: Tensor) -> Tensor:
    """Returns minus the log chance of each record's levels, (B,).

    Args:
      logits: (B, n); their logistic function is the middle of each value's distribution.
      truth: (B, n) values in [0, 1]; between levels, the bin is the one about the value.
      log_widths: (B, n) logarithms of the logistic distributions' scales.
    """
    narrow, away = torch.exp(-log_widths), truth - torch.sigmoid(logits)
    above, below = (away + _HALF_LEVEL) * narrow, (away - _HALF_LEVEL) * narrow
    up_to, beyond = nn.functional.logsigmoid(above), nn.functional.logsigmoid(-below)
    # s(a) - s(b) = s(a) s(-b) (1 - exp(b - a)), which loses no digits far from the middle.
    within = up_to + beyond + torch.log(-torch.expm1(-2.0 * _HALF_LEVEL * narrow))
    chance = torch.where(truth <= _HALF_LEVEL, up_to, within)
    chance = torch.where(truth >= 1.0 - _HALF_LEVEL, beyond, chance)
    return per_record(-chance.sum(1), len(truth))
