"""How much of what training learns would be noise, known before anything is spent.

Over a whole training the clipped gradients of N records add up to at most
`sample_rate * N * steps * max_grad_norm` in norm, the noise to
`noise_multiplier * max_grad_norm * sqrt(num_parameters * steps * num_sites)`. Their ratio is the
effective noise: it depends on public numbers and on a declared or noised number of records.
Gradients of records mostly cancel, so little is learned long before the ratio reaches 1.
"""

from __future__ import annotations

import math

from fedloom.common.models.settings import Training

__all__ = ["DROWNED", "effective_noise", "trust_in_training"]

# At and above this a site's answers are mostly noise: measured on tables of 250 to 40,000
# records, where the gain over the noisy marginals fades between 0.05 and 0.3.
DROWNED = 0.2
_HALF_TRUST = 0.1


def effective_noise(
    settings: Training,
    noise_multiplier: float,
    *,
    num_parameters: int,
    records: float,
    num_sites: int = 1,
) -> float:
    """Returns the noise-to-signal ratio of a training.

    Args:
      settings: the plan's rounds.
      noise_multiplier: of the plan's training phase.
      num_parameters: coordinates of one gradient.
      records: declared or noised number of records: of one site, or of all `num_sites`.
      num_sites: sites whose noises add up (per-site trust).

    >>> from fedloom.common.models.registry import VaeWeights
    >>> rounds = VaeWeights(sample_rate=0.1, num_rounds=4, local_steps=25)
    >>> effective_noise(rounds, 2.0, num_parameters=10_000, records=1000.0)
    0.2
    """
    steps = settings.num_rounds * settings.local_steps
    noise = noise_multiplier * math.sqrt(num_parameters * steps * num_sites)
    signal = settings.sample_rate * max(records, 1.0) * steps
    return noise / signal


def trust_in_training(noise: float) -> float:
    """Returns the factor in (0, 1] by which to shrink what was learned at an effective noise.

    Near 0 the generator falls back to the noisy marginals that it started from.

    >>> trust_in_training(0.1)
    0.5
    """
    return 1.0 / (1.0 + (noise / _HALF_TRUST) ** 2)
