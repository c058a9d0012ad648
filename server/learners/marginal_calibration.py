"""Keeps a generator at the noisy marginals, whatever its network has learned.

A network shifts the marginals that the table alone would give. The table is corrected, class by
class, until the average of the generator's softmaxes over latents equals the noisy marginals:
a few steps of iterative proportional fitting on one-way tables (Deming & Stephan 1940). It is
post-processing, and it makes collapse of a column impossible.
"""

from __future__ import annotations

import torch
from torch import Tensor

from fedloom.common.models.blocks import Blocks
from fedloom.common.models.decoder import DecoderNet

__all__ = ["matched_table"]

_LATENTS = 8192
_MIN_LATENTS = 256
_STEPS = 8
_MAX_CHANGE = 3.0
_TINY = 1e-12


def matched_table(net: DecoderNet, log_marginals: Tensor, blocks: Blocks, seed: int = 0) -> Tensor:
    """Returns the table (C, D) with which the generator has the given marginals.

    Args:
      net: the generator's network.
      log_marginals: (C, D) log-probabilities that every block should have within each class.
      blocks: layout of the cells.
      seed: for the latents.
    """
    num_classes = len(log_marginals)
    rng = torch.Generator().manual_seed(seed)
    latent = torch.randn(max(_MIN_LATENTS, _LATENTS // num_classes), net.latent, generator=rng)
    rows = []
    with torch.no_grad():
        for label, target in enumerate(log_marginals):
            classes = torch.eye(num_classes)[label].expand(len(latent), -1)
            logits = net(latent, classes)
            row = target.clone()
            for _ in range(_STEPS):
                reached = blocks.log_softmax(logits + row).exp().mean(0)
                change = target - torch.log(reached + _TINY)
                row = row + change.clamp(-_MAX_CHANGE, _MAX_CHANGE)
            rows.append(row)
    return torch.stack(rows)
