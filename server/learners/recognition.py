"""Teaches a VAE's encoder to read what its decoder writes: on the decoder's own records, free.

A decoder that starts from statistics needs an encoder that goes with it, else the first noised
gradients would go into learning one. Records drawn from the decoder cost nothing, so the encoder
is trained on as many of them as it takes, by the same loss as at the sites, the decoder fixed.

Source: the sleep phase of Hinton et al. 1995 (Science 268), with the ELBO as its loss.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fedloom.common.models.decoder import class_rows
from fedloom.common.models.draws import SeededDraws
from fedloom.common.models.vae import TABLE, TabularVae, VaeModule
from fedloom.server.learners.devices import fitting

__all__ = ["teach_encoder"]

_STEPS = 150
_BATCH = 512
_LEARNING_RATE = 0.005


def teach_encoder(
    model: TabularVae,
    module: VaeModule,
    table: Tensor,
    class_prior: NDArray[np.float64],
    *,
    seed: int,
    steps: int = _STEPS,
) -> float:
    """Trains the encoder in place on records of the decoder; returns the last mean loss.

    Args:
      model: makes batches and losses.
      module: encoder and decoder; the decoder does not change.
      table: (C, D) the decoder's table, which sites will get too.
      class_prior: (C,) probability of each class.
      seed: for everything that is drawn.
      steps: number of Adam steps.
    """
    draws, numpy_rng = SeededDraws(seed), np.random.default_rng(seed)
    encoder = [
        value for name, value in module.named_parameters() if not name.startswith("decoder.")
    ]
    optimiser = torch.optim.Adam(encoder, lr=_LEARNING_RATE, betas=(0.9, 0.99))
    public = {TABLE: table.numpy()}
    mean = 0.0
    with fitting(module) as device:
        on_device = table.to(device)
        for _ in range(steps):
            classes = numpy_rng.choice(len(table), size=_BATCH, p=class_prior)
            with torch.no_grad():
                latent = draws.normal(_BATCH, model.latent).to(device)
                network = module.decoder(latent, class_rows(classes, len(table)).to(device))
                logits = on_device[torch.from_numpy(classes).to(device)] + network
                codes = model.blocks.sample(logits.cpu(), draws).numpy().astype(np.int32)
            batch = model.make_batch(codes, classes, public, draws)
            losses = model.loss(module, {name: value.to(device) for name, value in batch.items()})
            optimiser.zero_grad()
            losses.mean().backward()
            optimiser.step()
            mean = float(losses.detach().mean())
    return mean
