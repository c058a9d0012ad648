"""A small normalising flow: what a Gaussian prior of latents cannot say of them, learned with it.

The prior of `fedloom.common.models.latent_prior` whitens the latents of each class. A flow takes
them from there to N(0, I): affine couplings, each of which scales and shifts one half of the
numbers by what a small network says of the other half and of the class. Networks write zeros at
first, so a fresh flow changes nothing. Its weights are part of the noised gradient, within each
record's one clip, as the Gaussian's are; it needs no sum and no phase of its own.

The divergence of a record's posterior from this prior has no closed form. That from the Gaussian
has, and what the flow changes of it is taken at the latent that was drawn: unbiased, and without
any sampling error where the flow changes nothing.

Source: Dinh et al. 2016 (arXiv:1605.08803), affine couplings.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from fedloom.common.images.net_sizes import FLOW_HIDDEN, FLOW_REACH, flow_halves
from fedloom.common.losses import per_record
from fedloom.common.models.decoder import fresh_linear, joined, padded

__all__ = ["LatentFlow"]


class LatentFlow(nn.Module):
    """Couplings from whitened latents (B, L) to N(0, I), given rows of classes (B, C)."""

    def __init__(self, latent: int, classes: int, couplings: int, rng: torch.Generator) -> None:
        """Draws weights of what reads; what is written is zero.

        Args:
          latent: dimensions, L.
          classes: how many, C.
          couplings: how many; they move the second and the first half in turn.
          rng: of the weights.
        """
        super().__init__()
        self._seen, self._moved = flow_halves(latent)
        inputs, outputs = padded(self._seen + classes), padded(2 * self._moved)
        std = (self._seen + classes) ** -0.5
        self.inner = nn.ModuleList(
            fresh_linear(inputs, FLOW_HIDDEN, rng, weight_std=std) for _ in range(couplings)
        )
        self.outer = nn.ModuleList(
            fresh_linear(FLOW_HIDDEN, outputs, rng, weight_std=0.0) for _ in range(couplings)
        )

    def forward(self, whitened: Tensor, classes: Tensor) -> tuple[Tensor, Tensor]:
        """Returns where latents are moved to, (B, L), and the log determinants, (B,)."""
        numbers, stretched = whitened, torch.zeros_like(whitened[:, 0])
        for number, (inner, outer) in enumerate(zip(self.inner, self.outer, strict=True)):
            if number % 2 == 0:
                seen, moved = numbers[:, : self._seen], numbers[:, self._seen :]
            else:
                moved, seen = numbers[:, : self._moved], numbers[:, self._moved :]
            told = outer(torch.tanh(inner(joined(seen, classes))))
            logs = FLOW_REACH * torch.tanh(told[:, : self._moved] / FLOW_REACH)
            moved = moved * logs.exp() + told[:, self._moved : 2 * self._moved]
            stretched = stretched + logs.sum(1)
            numbers = torch.cat([seen, moved] if number % 2 == 0 else [moved, seen], dim=1)
        return numbers, stretched

    def added(self, whitened: Tensor, classes: Tensor) -> Tensor:
        """Returns what the flow adds to each row's divergence from the Gaussian, (B,).

        Args:
          whitened: (B, L) latents that were drawn from the posteriors, whitened.
          classes: (B, C) rows of classes.
        """
        moved, stretched = self(whitened, classes)
        change = 0.5 * (moved.square() - whitened.square()).sum(1) - stretched
        return per_record(change, len(whitened))
