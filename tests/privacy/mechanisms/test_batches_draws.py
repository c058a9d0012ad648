"""What a row is given beside its record: secret, its own, and no matter of its place."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from fedloom.privacy.mechanisms.batches import poisson_batch
from fedloom.privacy.noise import NoiseSource


class Draw:
    """A model whose batch is each row's record and one latent; `draws` is kept to look at."""

    def make_batch(self, features, classes, public, draws) -> dict[str, Tensor]:
        return {
            "record": torch.from_numpy(features[:, 0].astype(np.float64)),
            "latent": draws.normal(len(classes), 1)[:, 0],
            "uniform": draws.uniform(len(classes), 1)[:, 0],
        }

    def loss(self, module, batch):
        return batch["latent"]


def batch(rows: int, *, persons=None, noise=None):
    codes = np.arange(rows, dtype=np.int32)[:, None]
    return poisson_batch(
        Draw(),
        codes,
        np.zeros(rows, dtype=np.int64),
        {},
        sample_rate=1.0,
        noise=noise or NoiseSource(),
        device=torch.device("cpu"),
        persons=persons,
    )


def test_latents_do_not_come_from_a_generator_that_can_be_seeded(monkeypatch):
    """Torch keeps 32 bits of a seed: whoever tried them all would know every latent."""

    def refused(*args, **kwargs):
        raise AssertionError("a seeded generator was made in a private batch")

    monkeypatch.setattr(torch, "Generator", refused)
    made = batch(300).tensors
    assert len(np.unique(made["latent"].numpy())) == 300
    state = torch.random.get_rng_state()
    batch(300)
    assert torch.equal(state, torch.random.get_rng_state())


def test_latents_and_uniforms_have_their_distributions():
    """20,000 draws; six standard errors, false alarm below 1e-8."""
    made = batch(20_000).tensors
    latent, uniform = made["latent"].numpy(), made["uniform"].numpy()
    assert abs(latent.mean()) < 6 / np.sqrt(20_000) and abs(latent.std() - 1) < 0.03
    assert abs(uniform.mean() - 0.5) < 6 * 0.289 / np.sqrt(20_000)
    assert 0.0 <= uniform.min() and uniform.max() <= 1.0


@pytest.mark.parametrize("of_persons", [False, True])
def test_a_place_in_the_batch_tells_nothing_of_the_record(of_persons):
    """The first unit is each of 6 equally often: 3,000 batches, chi-square far below 1e-6."""
    persons = np.repeat(np.arange(6), 2) if of_persons else None
    rows = 12 if of_persons else 6
    noise = NoiseSource.from_insecure_seed(20_260_101)
    firsts = [
        int(batch(rows, persons=persons, noise=noise).tensors["record"][0]) for _ in range(3000)
    ]
    units = np.array(firsts) // (2 if of_persons else 1)
    counts = np.bincount(units, minlength=6)
    assert ((counts - 500) ** 2 / 500).sum() < 45.0


def test_rows_of_a_person_stay_together():
    persons = np.repeat(np.arange(50), 3)
    made = batch(150, persons=persons)
    owners = made.persons.numpy()
    assert (np.diff(owners) != 0).sum() == 49 and (np.bincount(owners) == 3).all()
    records = made.tensors["record"].numpy().astype(int)
    assert all(len(set(records[owners == owner] // 3)) == 1 for owner in range(50))
