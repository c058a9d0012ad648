"""Batches of records and of persons: who comes in, with what, in which order."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from fedloom.privacy.mechanisms.batches import poisson_batch
from fedloom.privacy.noise import NoiseSource


class Numbers:
    """A model whose batch is the codes themselves."""

    def make_batch(self, features, classes, public, rng):
        return {"row": torch.from_numpy(features[:, 0].astype(np.int64))}

    def loss(self, module, batch):
        raise NotImplementedError


def drawn(num_rows, noise, sample_rate, persons=None):
    sampled = poisson_batch(
        Numbers(),
        np.arange(num_rows, dtype=np.int32).reshape(-1, 1),
        np.zeros(num_rows, dtype=np.int64),
        {},
        sample_rate=sample_rate,
        noise=noise,
        device=torch.device("cpu"),
        persons=persons,
    )
    owners = None if sampled.persons is None else sampled.persons.numpy()
    return sampled.tensors["row"].numpy(), owners


PERSONS = np.repeat(np.arange(40), np.arange(40) % 4 + 1)


@pytest.mark.parametrize("order", ["sorted", "shuffled"])
def test_a_person_comes_with_all_rows_or_none(order):
    persons = PERSONS.copy()
    if order == "shuffled":
        np.random.default_rng(1).shuffle(persons)
    noise = NoiseSource.from_insecure_seed(3)
    for _ in range(50):
        rows, owners = drawn(len(persons), noise, 0.3, persons)
        assert (persons[rows] == owners).all()
        assert sorted(rows) == np.flatnonzero(np.isin(persons, owners)).tolist()
        assert (np.diff(np.flatnonzero(np.diff(owners))) >= 1).all()
        assert len(np.unique(owners)) == (np.diff(owners) != 0).sum() + (len(owners) > 0)


@pytest.mark.parametrize("per_row", [False, True])
def test_persons_have_one_coin_each(per_row):
    """Person 3 (four rows) at rate 0.3 in 4000 batches, 4.5 deviations: once in 10^5 seeds.

    The twin tosses a coin for each row: the person then comes in part, and in most batches.
    """
    noise = NoiseSource.from_insecure_seed(4)
    met = 0
    for _ in range(4000):
        rows, _ = drawn(len(PERSONS), noise, 0.3, np.arange(len(PERSONS)) if per_row else PERSONS)
        met += bool(np.isin(np.flatnonzero(PERSONS == 3), rows).any())
    away = abs(met - 1200) / math.sqrt(4000 * 0.3 * 0.7)
    assert bool(away < 4.5) is not per_row


def test_rows_beyond_the_hundredth_are_left_out():
    persons = np.repeat([0, 1], [130, 3])
    rows, owners = drawn(133, NoiseSource(), 1.0, persons)
    assert sorted(rows.tolist()) == [*range(100), 130, 131, 132]
    assert (owners == persons[rows]).all() and (np.diff(owners) != 0).sum() == 1


@pytest.mark.parametrize("persons", [None, np.zeros(0, dtype=np.int64)])
def test_nobody_at_all_is_an_empty_batch(persons):
    rows, _ = drawn(0, NoiseSource(), 0.5, persons)
    assert rows.shape == (0,)


@pytest.mark.parametrize("shuffled", [True, False])
def test_records_come_in_random_order(monkeypatch, shuffled):
    """First of three rows, 3000 batches: each 1000 times; 4.5 deviations, once in 10^5 seeds."""
    if not shuffled:
        monkeypatch.setattr(NoiseSource, "permutation", lambda self, count: np.arange(count))
    noise = NoiseSource.from_insecure_seed(5)
    first = np.bincount([drawn(3, noise, 1.0)[0][0] for _ in range(3000)], minlength=3)
    assert bool(abs(first - 1000).max() < 4.5 * math.sqrt(3000 * 2 / 9)) is shuffled
