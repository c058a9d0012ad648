"""Losses of a critic and of the generator that it judges, one number for each score.

A critic gives records high scores and fakes low ones, so its loss is a function of the score, or
of minus the score: of how far an image is on its right side.

Sources: Lim & Ye 2017 (arXiv:1705.02894) for the hinge; Goodfellow et al. 2014 (arXiv:1406.2661)
for the logistic loss, its generator's in the form that does not saturate; Arjovsky et al. 2017
(arXiv:1701.07875) for the Wasserstein loss, which needs a critic of bounded slope.
"""

from __future__ import annotations

from torch import Tensor, nn

from fedloom.common.vocabulary import Rivalry

__all__ = ["critic_losses", "generator_losses"]


def critic_losses(rivalry: Rivalry, scores: Tensor) -> Tensor:
    """Returns the critic's losses of scores on records; of minus the scores on fakes.

    >>> import torch
    >>> critic_losses(Rivalry.HINGE, torch.tensor([-1.0, 0.0, 3.0]))
    tensor([2., 1., 0.])
    """
    if rivalry is Rivalry.HINGE:
        return nn.functional.relu(1.0 - scores)
    if rivalry is Rivalry.LOGISTIC:
        return nn.functional.softplus(-scores)
    return -scores


def generator_losses(rivalry: Rivalry, scores: Tensor) -> Tensor:
    """Returns the generator's losses of the scores of its fakes."""
    if rivalry is Rivalry.LOGISTIC:
        return nn.functional.softplus(-scores)
    return -scores
