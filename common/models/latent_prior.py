"""A Gaussian for the latents of each class, learned in the same rounds as the VAE that it serves.

Latents of one class's records are not spread like N(0, I) when training ends: some dimensions go
together, and each class has a place of its own. Images drawn from N(0, I) then come from latents
that no record has. So the prior given the class is learned too, with a full covariance: its
divergence is part of each record's loss, within the record's one clip, and its weights are part of
the noised gradient. It needs no sum of its own.

A class has a lower triangular matrix W and a vector v: `W z - v` of its latents z is N(0, I). In
these, divergences have no inverse, and a prior of zeros is N(0, I).

Source: Sohn et al. 2015 (a prior given the condition).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from fedloom.common.images.net_sizes import prior_width
from fedloom.common.losses import per_record
from fedloom.common.models.decoder import fresh_linear, joined, padded
from fedloom.common.models.private_model import load_weights

__all__ = ["LatentPrior", "prior_arrays"]

_LOG_RANGE = (-3.0, 3.0)


class LatentPrior(nn.Module):
    """The distribution of latents (B, L) given rows of classes (B, C); N(0, I) at first."""

    def __init__(self, latent: int, classes: int) -> None:
        """Takes the numbers of latent dimensions and of classes."""
        super().__init__()
        self._latent = latent
        self.rows = fresh_linear(
            padded(classes), padded(prior_width(latent)), torch.Generator(), weight_std=0.0
        )

    def whitening(self, classes: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Returns W (B, L, L), v (B, L), and the logarithms of W's diagonal (B, L)."""
        size, told = self._latent, self.rows(joined(classes))
        offset, logs = told[:, :size], told[:, size : 2 * size].clamp(*_LOG_RANGE)
        below = torch.tril_indices(size, size, -1, device=told.device)
        matrix = torch.diag_embed(logs.exp())
        rows = torch.arange(len(told), device=told.device)[:, None]
        beside = told[:, 2 * size : prior_width(size)]
        return matrix.index_put((rows, below[0][None], below[1][None]), beside), offset, logs

    def whitened(self, latents: Tensor, classes: Tensor) -> Tensor:
        """Returns W z - v of latents z (B, L), which are N(0, I) under the prior."""
        matrix, offset, _ = self.whitening(classes)
        return (matrix * latents[:, None, :]).sum(2) - offset

    def divergence(self, mean: Tensor, log_variance: Tensor, classes: Tensor) -> Tensor:
        """Returns KL(N(mean, exp(log_variance)) || the prior of the class) of each row, (B,)."""
        matrix, offset, logs = self.whitening(classes)
        shifted = (matrix * mean[:, None, :]).sum(2) - offset
        spread = (matrix.square() * log_variance.exp()[:, None, :]).sum(2)
        terms = shifted.square() + spread - 1.0 - log_variance - 2.0 * logs
        return per_record(0.5 * terms.sum(1), len(mean))


def prior_arrays(
    weights: Mapping[str, NDArray[Any]], latent: int, classes: int
) -> dict[str, NDArray[np.float32]]:
    """Returns a prior as means and roots: a latent is its class's mean plus the root times N(0, I).

    Args:
      weights: of a `LatentPrior`.
      latent: dimensions, L.
      classes: how many, C.

    Returns:
      `latent_means` (C, L) and `latent_roots` (C, L, L).
    """
    prior = LatentPrior(latent, classes)
    load_weights(prior, weights)
    with torch.no_grad():
        matrix, offset, _ = prior.whitening(torch.eye(classes))
    roots = np.linalg.inv(matrix.double().numpy())
    means = np.einsum("cij,cj->ci", roots, offset.double().numpy())
    return {
        "latent_means": means.astype(np.float32),
        "latent_roots": np.tril(roots).astype(np.float32),
    }
