"""Is a person in the table? A white-box attack on one answer gains no more than is claimed.

As in `test_audit`: a lower bound of mu, wrong with probability at most 0.001 over seeds, against
1 / noise_multiplier; seeds are fixed. The person has five rows whose gradients all point one way.
"""

from __future__ import annotations

import numpy as np
import pytest

import fedloom.privacy.mechanisms.noisy_gradient as gradient_module
from fedloom.privacy.mechanisms.noisy_gradient import noisy_gradient
from fedloom.privacy.noise import NoiseSource

NOISE_MULTIPLIER = 0.8
CLAIM = 1.0 / NOISE_MULTIPLIER
TRIALS = 800
CLIP, UNIT = 2.0, 2.0**-12


def scores(model, table, codes, persons, noise):
    rows = table(*codes)
    answers = [
        noisy_gradient(
            model.private_module(),
            model,
            *rows,
            {},
            sample_rate=1.0,
            noise_multiplier=NOISE_MULTIPLIER,
            max_grad_norm=CLIP,
            noise=noise,
            grid_step=UNIT,
            persons=np.array(persons, dtype=np.int64),
        )
        for _ in range(TRIALS)
    ]
    return np.array([float(answer[0]) * UNIT / CLIP for answer in answers])


@pytest.mark.parametrize("clipped", ["as one", pytest.param("row by row", marks=pytest.mark.slow)])
def test_a_person_gives_away_no_more_than_claimed(canary, table, mu_bound, monkeypatch, clipped):
    """The twin clips each row: five clips."""
    if clipped == "row by row":
        honest = gradient_module.clipped_gradient_sum

        def broken(*args, **settings):
            return honest(*args, **{**settings, "persons": None})

        monkeypatch.setattr(gradient_module, "clipped_gradient_sum", broken)
    noise = NoiseSource.from_insecure_seed(20261122)
    model = canary()
    without = scores(model, table, (1, 2, 2), (1, 1, 2), noise)
    with_it = scores(model, table, (0,) * 5 + (1, 2, 2), (0,) * 5 + (1, 1, 2), noise)
    found = mu_bound(without, with_it)
    if clipped == "as one":
        assert 0.3 * CLAIM < found <= CLAIM
    else:
        assert found > 2.0 * CLAIM
