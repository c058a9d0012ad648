"""The learned prior of a VAE's latents: its divergence, what is published, and what it learns."""

from __future__ import annotations

import numpy as np
import torch
from torch.distributions import MultivariateNormal, kl_divergence

from fedloom.common.losses import gaussian_kl
from fedloom.common.models.latent_prior import LatentPrior, prior_arrays
from fedloom.common.models.private_model import read_weights

LATENT, CLASSES = 5, 3
ROWS = torch.eye(CLASSES)[[0, 2, 1, 2]]


def stirred(size: float = 0.5) -> LatentPrior:
    prior, rng = LatentPrior(LATENT, CLASSES), torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in prior.parameters():
            parameter.add_(size * torch.randn(parameter.shape, generator=rng))
    return prior


def posterior() -> tuple[torch.Tensor, torch.Tensor]:
    rng = torch.Generator().manual_seed(2)
    return torch.randn(4, LATENT, generator=rng), 0.7 * torch.randn(4, LATENT, generator=rng)


def test_a_fresh_prior_is_the_standard_normal():
    mean, log_variance = posterior()
    found = LatentPrior(LATENT, CLASSES).divergence(mean, log_variance, ROWS)
    torch.testing.assert_close(found, gaussian_kl(mean, log_variance))


def test_the_divergence_is_that_of_the_gaussians_that_are_published():
    prior, (mean, log_variance) = stirred(), posterior()
    arrays = prior_arrays(read_weights(prior), LATENT, CLASSES)
    classes = ROWS.argmax(1).numpy()
    means, roots = (
        torch.from_numpy(arrays[name][classes].astype(np.float64))
        for name in ("latent_means", "latent_roots")
    )
    own = MultivariateNormal(mean.double(), torch.diag_embed(log_variance.double().exp()))
    expected = kl_divergence(own, MultivariateNormal(means, scale_tril=roots))
    found = prior.divergence(mean, log_variance, ROWS).double()
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


def test_a_prior_learns_where_the_latents_of_each_class_lie():
    rng = np.random.default_rng(3)
    root = np.tril(rng.normal(size=(CLASSES, LATENT, LATENT))) * 0.4 + 0.6 * np.eye(LATENT)
    centre = rng.normal(size=(CLASSES, LATENT))
    classes = np.repeat(np.arange(CLASSES), 400)
    draws = rng.standard_normal((len(classes), LATENT))
    latents = centre[classes] + np.einsum("nij,nj->ni", root[classes], draws)
    prior, rows = LatentPrior(LATENT, CLASSES), torch.eye(CLASSES)[classes]
    mean = torch.from_numpy(latents).float()
    narrow = torch.full_like(mean, -12.0)
    optimiser = torch.optim.Adam(prior.parameters(), lr=0.05)
    for _ in range(600):
        optimiser.zero_grad()
        prior.divergence(mean, narrow, rows).mean().backward()
        optimiser.step()
    arrays = prior_arrays(read_weights(prior), LATENT, CLASSES)
    for label in range(CLASSES):
        own = latents[classes == label]
        np.testing.assert_allclose(arrays["latent_means"][label], own.mean(0), atol=0.1)
        spread = arrays["latent_roots"][label] @ arrays["latent_roots"][label].T
        np.testing.assert_allclose(spread, np.cov(own.T), atol=0.15)
